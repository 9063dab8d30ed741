"""Every failure is told in the envelope, with its status, and says nothing of where or how files are kept."""

from __future__ import annotations

import contextlib
import errno
import json
import logging

import httpx
import openai
import pytest
from fastapi import APIRouter, HTTPException
from starlette.requests import Request
from tests.fakes import Failing
from tests.server._serving import begin_upload, serving, until

import holdall
from holdall import FileStore
from holdall.server import create_app
from holdall.server._access_log import LOGGER
from holdall.server._errors import APIError, respond
from holdall.server._quota import QuotaExceeded

SECRET = "/srv/secret-place"
MEMBERS = {"message", "type", "param", "code"}


def _told(error):
    request = Request(
        {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b"", "server": None}
    )
    answer = respond(request, error)
    body = json.loads(answer.body)
    assert set(body) == {"error"}
    assert set(body["error"]) == MEMBERS
    assert body["error"]["message"]
    return answer, body["error"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (holdall.FileNotFound(SECRET, file_id="file-1", backend=SECRET), 404),
        (holdall.InvalidFileId(SECRET), 404),
        (holdall.FileTooLarge(SECRET), 413),
        (holdall.InvalidRequest(SECRET, backend=SECRET), 503),
        (holdall.CorruptMetadata(SECRET), 500),
        (holdall.IntegrityError(SECRET, operation="create"), 400),
        (holdall.IntegrityError(SECRET, operation="read"), 500),
        (holdall.StorageError(SECRET), 500),
        (holdall.AccessDenied(SECRET), 500),
        (holdall.StorageFull(SECRET), 507),
        (QuotaExceeded(SECRET), 507),
        (holdall.StorageUnavailable(SECRET), 503),
        (holdall.NotSupported(SECRET), 501),
        (holdall.PluginLoadError(SECRET), 500),
        (RuntimeError(SECRET), 500),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_an_error_has_its_status_and_keeps_its_secrets(error, status, caplog):
    """No message of the storage reaches the client; what is not the client's doing is in the log, with all of it."""
    answer, told = _told(error)

    assert answer.status_code == status
    assert SECRET not in answer.body.decode() + str(answer.headers)
    assert told["type"] == ("server_error" if status >= 500 else "invalid_request_error")
    assert (SECRET in caplog.text) == (status >= 500)
    assert ("retry-after" in answer.headers) == (status == 503)
    # The SDK repeats every 5xx, body and all, unless it is told not to.
    assert (answer.headers.get("x-should-retry") == "false") == (status in {501, 507})


@pytest.mark.parametrize(
    ("error", "traceback"),
    [
        (holdall.AccessDenied("read-only"), False),
        (holdall.StorageFull("full"), False),
        (holdall.StorageUnavailable("away"), False),
        (holdall.StorageError("a bug in the backend"), True),
        (RuntimeError("a bug here"), True),
    ],
)
def test_only_the_unexpected_is_logged_with_a_traceback(error, traceback, caplog):
    """What every upload would repeat while a disk is full or read-only is one line."""
    _told(error)
    (record,) = caplog.records
    assert record.getMessage() == f"GET '/x' failed: {error}"
    assert bool(record.exc_info) == traceback


def test_what_an_applications_own_code_raises_is_told_as_it_says():
    """The detail of an HTTPException is its author's text, of whatever status; its headers are kept."""
    answer, told = _told(HTTPException(403, "not yours", headers={"X-Why": "because"}))
    assert (answer.status_code, told["message"], answer.headers["x-why"]) == (403, "not yours", "because")
    answer, told = _told(HTTPException(429, {"anything": 1}))
    assert (answer.status_code, "429" in told["message"]) == (429, True)
    assert _told(HTTPException(499))[0].status_code == 499
    answer, told = _told(APIError(418, "teapot", param="p", code="c"))
    assert (answer.status_code, told["param"], told["code"]) == (418, "p", "c")


@pytest.mark.parametrize(
    ("method", "path", "status", "param"),
    [
        ("GET", "/nowhere", 404, None),
        ("GET", "/v1/nowhere", 404, None),
        ("PUT", "/v1/files", 405, None),
        ("POST", "/v1/files/file-1", 405, None),
        ("POST", "/v1/files/file-1/content", 405, None),
        ("DELETE", "/v1/files/file-1/content", 405, None),
        ("DELETE", "/v1/files/a%2Fb/content", 404, "id"),
        ("GET", "/v1/files?limit=0", 400, "limit"),
        ("GET", "/v1/files?limit=10001", 400, "limit"),
        ("GET", "/v1/files?limit=many", 400, "limit"),
        ("GET", "/v1/files?limit=", 400, "limit"),
        ("GET", "/v1/files?order=sideways", 400, "order"),
        ("GET", "/v1/files?after=nonsense", 400, "after"),
        ("GET", "/v1/files?after=file-elsewhere", 400, "after"),
        ("GET", "/v1/files?purpose=", 400, "purpose"),
        ("GET", "/v1/files?purpose=%0a", 400, "purpose"),
        ("GET", "/v1/files?purpose=batch%0a", 400, "purpose"),
        ("GET", "/v1/files?after=file-1%0a", 400, "after"),
        ("GET", "/v1/files/file-1", 404, "id"),
        ("DELETE", "/v1/files/file-1", 404, "id"),
        ("GET", "/v1/files/file-1/content", 404, "id"),
        ("GET", "/v1/files/file-1/contents", 404, "id"),
        ("POST", "/v1/files", 400, None),
        ("GET", "/v1/uploads", 405, None),
        ("DELETE", "/v1/uploads/upload_1/parts", 405, None),
        ("POST", "/v1/uploads/upload_1", 404, "upload_id"),
        ("POST", "/v1/uploads/upload_1/parts/part_1", 404, "upload_id"),
        ("POST", "/v1/uploads/upload_1/cancel", 404, "upload_id"),
        ("POST", "/v1/uploads", 400, None),
    ],
)
def test_the_frameworks_errors_are_told_alike(served, method, path, status, param):
    """What it cannot route or read is in the envelope, too; 405 names what the path can do."""
    answer = httpx.request(method, served.url + path)

    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == MEMBERS
    assert answer.json()["error"]["param"] == param
    if status == 405:
        assert answer.headers["allow"] == {"/v1/files": "GET, POST", "/v1/files/file-1": "DELETE, GET"}.get(
            path, "POST" if "uploads" in path else "GET, HEAD"
        )


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_head_and_options_are_no_way_around(served, method):
    """A method that a path lacks has no body of the framework's own."""
    answer = httpx.request(method, f"{served.url}/v1/files/file-1")
    assert answer.status_code in {404, 405}
    assert answer.headers["content-type"] == "application/json"


FAULTS = {
    "stage": lambda client: client.files.create(file=("a", b"x"), purpose="batch"),
    "write": lambda client: client.files.create(file=("a", b"x" * 600_000), purpose="batch"),
    "publish": lambda client: client.files.create(file=("a", b"x"), purpose="batch"),
    "read_meta": lambda client: client.files.retrieve("file-1"),
    "open_data": lambda client: client.files.content(client.files.list().data[0].id),
    "list_ids": lambda client: client.files.list(),
    "remove": lambda client: client.files.delete(client.files.list().data[0].id),
}
NEW = {"bytes": 1, "filename": "a", "mime_type": "a/b", "purpose": "batch"}


def _begun(client):
    upload = client.uploads.create(**NEW)
    part = client.uploads.parts.create(upload.id, data=b"x")
    return client, upload.id, part.id


UPLOAD_FAULTS = [
    ("stage", lambda client, *_: client.uploads.create(**NEW)),
    ("publish", lambda client, *_: client.uploads.create(**NEW)),
    ("read_meta", lambda client, upload, _: client.uploads.parts.create(upload, data=b"x")),
    ("write", lambda client, upload, _: client.uploads.parts.create(upload, data=b"x")),
    ("publish", lambda client, upload, _: client.uploads.parts.create(upload, data=b"x")),
    ("read_meta", lambda client, upload, part: client.uploads.complete(upload, part_ids=[part])),
    ("open_data", lambda client, upload, part: client.uploads.complete(upload, part_ids=[part])),
    ("stage", lambda client, upload, part: client.uploads.complete(upload, part_ids=[part])),
    ("write", lambda client, upload, part: client.uploads.complete(upload, part_ids=[part])),
    ("publish", lambda client, upload, part: client.uploads.complete(upload, part_ids=[part])),
    ("publish", lambda client, upload, _: client.uploads.cancel(upload)),
]


def test_a_file_that_is_there_is_never_told_to_be_missing(served):
    """Its path has no HEAD, which is 405, as of a file that is not there; 404 would be a lie."""
    form = {"files": {"file": ("a", b"x")}, "data": {"purpose": "batch"}}
    made = httpx.post(f"{served.url}/v1/files", **form).json()["id"]
    for file_id in (made, "file-1", "a%2Fb"):
        answer = httpx.head(f"{served.url}/v1/files/{file_id}")
        assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET")


@pytest.mark.parametrize("path", ["/", "/v1", "/files", "/v2/files"])
def test_a_path_outside_the_api_is_answered_with_where_the_api_is(served, path):
    """Most often, the `base_url` of a client lacks the prefix."""
    answer = httpx.post(served.url + path)

    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"Invalid URL (POST {path}); the API is below /v1"
    inside = httpx.post(f"{served.url}/v1/nothing").json()["error"]["message"]
    assert inside == "Invalid URL (POST /v1/nothing)"


def test_a_404_of_a_route_beside_the_api_is_its_own():
    """The application's own routers say what does not exist."""
    router = APIRouter()

    @router.get("/thing")
    def thing():
        raise HTTPException(404)

    with serving(create_app("memory://", routers=[router])) as running:
        assert httpx.get(f"{running.url}/thing").json()["error"]["message"] == "Not Found"


@pytest.mark.parametrize("path", ["/v1/files/", "/v1/uploads/"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "PUT"])
def test_a_slash_at_the_end_is_another_path(served, method, path):
    """404 that names it, for every method: it is neither a file without an id, nor redirected, nor the collection."""
    answer = httpx.request(method, served.url + path)

    assert answer.status_code == 404
    assert answer.json()["error"] == {
        "message": f"Invalid URL ({method} {path})",
        "type": "invalid_request_error",
        "param": None,
        "code": None,
    }


@pytest.mark.parametrize(
    ("size", "status"),
    [("1", 200), ("1.0", 200), ("true", 400), ("false", 400), ("1.5", 400), ("null", 400), ("[1]", 400), ("-1", 400)],
)
def test_the_size_of_an_upload_is_a_whole_number(served, size, status):
    """However it is written; what is none is 400 that names the member, and no upload has begun."""
    body = f'{{"bytes": {size}, "filename": "a", "mime_type": "a/b", "purpose": "batch"}}'
    answer = httpx.post(f"{served.url}/v1/uploads", content=body)

    assert answer.status_code == status, answer.text
    if status == 400:
        assert answer.json()["error"]["param"] == "bytes"


@pytest.mark.parametrize("body", ["[]", "null", "7"])
def test_a_body_that_is_no_object_is_told_to_be_that(served, body):
    """Nothing in it has a name to be told."""
    told = httpx.post(f"{served.url}/v1/uploads", content=body).json()["error"]
    assert (told["message"], told["param"]) == ("Invalid body: Input should be an object", None)


@pytest.mark.parametrize("verb", FAULTS)
def test_a_failing_storage_is_told_and_not_shown(verb, caplog):
    """Whatever the storage does wrong, wherever: full is 507, away is 503, all else 500, each without its words."""
    backend = Failing()
    store = FileStore(backend)
    store.create("a", b"x", purpose="batch")
    with serving(create_app(store)) as running:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0)
        for number, status in ((errno.ENOSPC, 507), (errno.ECONNREFUSED, 503), (errno.EIO, 500), (errno.EACCES, 500)):
            backend.failures[verb] = OSError(number, f"the words of {SECRET}")
            with pytest.raises(openai.APIStatusError) as failed:
                FAULTS[verb](client)
            assert failed.value.status_code == status
            assert set(failed.value.body) == MEMBERS
            assert SECRET not in failed.value.response.text
        backend.failures.clear()
        client.files.create(file=("b", b"x"), purpose="batch")
        assert len(client.files.list().data) == 2
    assert SECRET in caplog.text


@pytest.mark.parametrize(("verb", "call"), UPLOAD_FAULTS)
def test_a_failing_storage_is_told_by_uploads_alike_and_what_failed_can_be_repeated(verb, call, caplog):
    """The same statuses, and the upload goes on as if nothing had been."""
    backend = Failing()
    with serving(create_app(FileStore(backend))) as running:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0)
        begun = _begun(client)
        for number, status in ((errno.ENOSPC, 507), (errno.ECONNREFUSED, 503), (errno.EIO, 500)):
            backend.failures[verb] = OSError(number, f"the words of {SECRET}")
            with pytest.raises(openai.APIStatusError) as failed:
                call(*begun)
            assert failed.value.status_code == status
            assert set(failed.value.body) == MEMBERS
            assert SECRET not in failed.value.response.text
            assert ("retry-after" in failed.value.response.headers) == (status == 503)
        backend.failures.clear()
        assert client.files.list().data == []
        call(*begun)
        assert len(client.files.list().data) <= 1


@pytest.mark.parametrize("verb", ["list_ids", "remove"])
def test_parts_that_cannot_be_removed_are_no_failure_of_the_upload(verb, caplog):
    """They expire; the file is there, and the operator is told."""
    backend = Failing()
    with serving(create_app(FileStore(backend))) as running:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0)
        _, completed, part = _begun(client)
        _, cancelled, _ = _begun(client)
        backend.failures[verb] = OSError(errno.EIO, "no")
        assert client.uploads.complete(completed, part_ids=[part]).status == "completed"
        assert client.uploads.cancel(cancelled).status == "cancelled"
    assert "expire" in caplog.text


def test_what_is_no_id_is_named_as_it_was_given(served):
    """An id that is none is answered like one of nothing, by every verb."""
    for given in ("nope", "file-1", "file-%22x"):
        for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
            answer = httpx.request(method, f"{served.url}/v1/files/{given}{path}")
            assert answer.status_code == 404
            assert answer.json()["error"]["message"] == f"No such File object: {given.replace('%22', chr(34))}"


def test_what_the_sdk_repeats_by_itself_is_done_once(monkeypatch):
    """With its retries on, each call of an upload fails at first, and at the end there is one file."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)

    class FailingOnce(Failing):
        def fail_at(self, verb):
            try:
                super().fail_at(verb)
            finally:
                self.failures.pop(verb, None)

    backend = FailingOnce()
    with serving(create_app(FileStore(backend))) as running:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x")

        def failing_once(call, *args, **options):
            backend.failures["publish"] = OSError(errno.EIO, "once")
            return call(*args, **options)

        upload = failing_once(client.uploads.create, **NEW)
        part = failing_once(client.uploads.parts.create, upload.id, data=b"x")
        done = failing_once(client.uploads.complete, upload.id, part_ids=[part.id])
        assert failing_once(client.uploads.complete, upload.id, part_ids=[part.id]) == done
        file = failing_once(client.files.create, file=("a", b"x"), purpose="batch")
        assert sorted(f.id for f in client.files.list()) == sorted([done.file.id, file.id])


def test_a_download_that_fails_half_way_is_no_whole_file(caplog):
    """The connection ends before the announced length: no client takes what it has for the file."""

    class Breaking(Failing):
        def open_data(self, file_id, start=0, stop=None):
            stream = super().open_data(file_id, start, stop)
            stream.truncate(400_000)
            return stream

    store = FileStore(Breaking())
    file = store.create("a", b"x" * 1_000_000, purpose="batch")
    caplog.set_level(logging.CRITICAL, "uvicorn.error")
    with serving(create_app(store)) as running, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{running.url}/v1/files/{file.id}/content")


def test_a_request_that_is_given_up_because_the_server_stops_is_told_so(tmp_path, caplog):
    """503 in the envelope, to be sent again; nothing is stored, and the access log says what became of it."""
    caplog.set_level(logging.INFO, LOGGER)
    with contextlib.ExitStack() as stack:
        with serving(create_app(str(tmp_path)), grace=0) as running:
            connection = stack.enter_context(running.connect())
            begin_upload(connection, b"x" * 2_000_000, sent=1_000_000)
            until(lambda: list(tmp_path.glob(".staging/*/data.bin")))
        with connection.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
    told = json.loads(body)["error"]
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nretry-after: " in head.lower()
    assert (set(told), told["type"], told["code"]) == (MEMBERS, "server_error", "server_stopping")
    assert list(tmp_path.glob("file-*")) + list(tmp_path.glob(".staging/*")) == []
    (record,) = (record for record in caplog.records if record.name == LOGGER)
    assert (record.status, record.aborted) == (503, True)
