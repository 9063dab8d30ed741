"""JSON bodies, read without the framework, which would load a body of any size into memory before authentication."""

from __future__ import annotations

from typing import Any, TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from holdall.server._errors import APIError
from holdall.server._multipart import read_on

__all__ = ["described", "json_body"]

MOST_BYTES = 1024 * 1024

M = TypeVar("M", bound=BaseModel)


async def json_body(request: Request, model: type[M]) -> M:
    """The body as this model. Raises `APIError` if it is too large or stops arriving, and validation errors."""
    text = bytearray()
    body = aiter(request.stream())
    while (chunk := await read_on(body)) is not None:
        text += chunk
        if len(text) > MOST_BYTES:
            raise APIError(413, f"The body is longer than {MOST_BYTES} bytes.", code="body_too_large")
    try:
        return model.model_validate_json(bytes(text))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        if found[0]["type"] == "json_invalid":
            raise APIError(400, "The body is not JSON.") from None
        raise RequestValidationError(found) from None


def described(model: type[BaseModel], **more: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI description of a body that `json_body` reads; `more` is added to the schemas of its fields."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})
    for field, also in more.items():
        schema["properties"][field] |= also
    content = {"application/json": {"schema": _whole(schema, parts)}}
    return {"requestBody": {"required": True, "content": content}}


def _whole(schema: Any, parts: dict[str, Any]) -> Any:
    """The schema with its references replaced by the definitions, which the document does not contain."""
    if isinstance(schema, list):
        return [_whole(item, parts) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _whole(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {name: _whole(value, parts) for name, value in schema.items()}
