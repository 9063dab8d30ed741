"""Bodies of JSON, read by hand: the framework would take one of any size into memory, before it asks who sent it."""

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
    """The body as this model. Raises `APIError` if it is too large or stops coming, and for what is wrong with it."""
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
    """What OpenAPI is to say of a body that `json_body` reads; `more` is what it is to say of fields besides."""
    schema = model.model_json_schema()
    parts = schema.pop("$defs", {})
    for field, also in more.items():
        schema["properties"][field] |= also
    content = {"application/json": {"schema": _whole(schema, parts)}}
    return {"requestBody": {"required": True, "content": content}}


def _whole(schema: Any, parts: dict[str, Any]) -> Any:
    """The schema with its parts where they are used: in the document, it has no place of its own to refer to."""
    if isinstance(schema, list):
        return [_whole(item, parts) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _whole(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {name: _whole(value, parts) for name, value in schema.items()}
