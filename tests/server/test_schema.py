"""The OpenAPI document: valid, and true of what the server takes and answers."""

from __future__ import annotations

import contextlib

import httpx
import hypothesis
import pytest
import schemathesis
from openai.types import FileObject, Upload
from openai.types.uploads import UploadPart
from schemathesis import checks
from tests.server._serving import serving

from holdall.server import Keys, create_app

KEY = "key-of-the-schema"


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    """A server with a key, whose document is read from it, as a client would."""
    root = tmp_path_factory.mktemp("described")
    with serving(create_app(f"file://{root}?fsync=false", keys=Keys(f"schema:{KEY}"))) as running:
        yield running


# For servers that refuse what the document does not mention; this one passes over such fields. And no document can say
# which ids stand for a place in a listing.
EXCLUDED = [checks.negative_data_rejection]
OPERATIONS = [
    ("POST", "/v1/files"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/{file_id}"),
    ("DELETE", "/v1/files/{file_id}"),
    ("GET", "/v1/files/{file_id}/content"),
    ("POST", "/v1/uploads"),
    ("POST", "/v1/uploads/{upload_id}/parts"),
    ("POST", "/v1/uploads/{upload_id}/complete"),
    ("POST", "/v1/uploads/{upload_id}/cancel"),
    ("GET", "/healthz"),
    ("GET", "/readyz"),
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_the_server_does_what_its_document_says(described, method, path):
    """Of any request that the document allows, and many that it does not: each answer is one that it describes."""
    api = schemathesis.openapi.from_url(f"{described.url}/openapi.json")
    # Not by its decorator, which reaches into pytest's insides.
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    operation = api[path][method]
    seen = set()
    for mode in modes:

        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        @hypothesis.settings(max_examples=20, deadline=None, suppress_health_check=list(hypothesis.HealthCheck))
        def holds(case):
            answer = case.call_and_validate(
                headers={"Authorization": f"Bearer {KEY}"},
                excluded_checks=[*EXCLUDED, *([checks.positive_data_acceptance] if "after" in case.query else [])],
            )
            seen.add(answer.status_code)

        with contextlib.suppress(hypothesis.errors.Unsatisfiable):
            holds()
    assert seen


def test_the_document_describes_the_form_the_models_and_the_keys(described):
    """What is parsed by hand is described by hand: the form's fields, each model, errors, and how to authenticate."""
    document = httpx.get(f"{described.url}/openapi.json").json()
    form = document["paths"]["/v1/files"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert form["required"] == ["file", "purpose"]
    assert form["properties"]["purpose"]["enum"] == ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
    assert set(document["components"]["schemas"]["File"]["properties"]) == set(FileObject.model_fields)
    assert document["components"]["securitySchemes"]
    assert set(document["paths"]) == {
        "/v1/files", "/v1/files/{file_id}", "/v1/files/{file_id}/content", "/healthz", "/readyz", "/v1/uploads",
        *(f"/v1/uploads/{{upload_id}}/{what}" for what in ("parts", "complete", "cancel")),
    }  # fmt: skip
    part = document["paths"]["/v1/uploads/{upload_id}/parts"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert part["schema"]["required"] == ["data"]
    upload = document["paths"]["/v1/uploads"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert upload["required"] == ["bytes", "filename", "mime_type", "purpose"]
    assert set(document["components"]["schemas"]["Upload"]["properties"]) == set(Upload.model_fields)
    assert set(document["components"]["schemas"]["UploadPart"]["properties"]) == set(UploadPart.model_fields)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert "422" not in operation["responses"]
            if path.startswith("/v1"):
                assert {"4XX", "5XX"} <= set(operation["responses"])
                assert operation["security"]
    assert httpx.get(f"{described.url}/docs").status_code == 200
