"""Errors in the format of the Files API: a status, and an envelope that always has all four members.

The texts of responses are written here. The messages of holdall's own errors contain paths and URLs of the storage:
they are for the operator's log, never for the client.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pydantic_core
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from holdall.errors import (
    AccessDenied,
    FileNotFound,
    FileTooLarge,
    HoldallError,
    IntegrityError,
    InvalidRequest,
    NotSupported,
    StorageFull,
    StorageUnavailable,
)
from holdall.server._keys import TENANT
from holdall.server._quota import QuotaExceeded

__all__ = [
    "RETRY_AFTER_SECONDS",
    "APIError",
    "error_response",
    "invalid_url",
    "missing_parameter",
    "not_found",
    "respond",
]

_log = logging.getLogger("holdall.server")

RETRY_AFTER_SECONDS = 1
# The SDK would retry every 5xx by default, which would send the whole body again; it obeys this header.
_NO_RETRY = {"x-should-retry": "false"}
_SHOWN_CHARACTERS = 140
_PARTS = frozenset({"body", "cookie", "header", "path", "query"})


class APIError(Exception):
    """An error that is sent to the client as it is."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = dict(headers or {})


def error_response(error: APIError) -> Response:
    """The response with the envelope."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    body = {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}
    return Response(pydantic_core.to_json(body), error.status, headers=error.headers, media_type="application/json")


def respond(request: Request, error: Exception) -> Response:
    """The response to any exception. Errors that the client cannot have caused are logged, the unexpected ones with a
    traceback.
    """
    told = _translated(error, str(request.path_params.get("file_id", "")))
    if told.status >= 500:
        tenant = request.scope.get(TENANT)
        whose = "" if tenant is None else f" of {tenant}"
        # The path is the client's text: %r escapes line breaks, so that it stays on one line of the log.
        _log.error("%s %r%s failed: %s", request.method, request.url.path, whose, error, exc_info=_trace(error))
    return error_response(told)


def not_found(what: str, given: str, param: str) -> APIError:
    """The error for an id that is malformed or does not exist; clients cannot tell the two apart."""
    return APIError(404, f"No such {what} object: {_shown(given)}", param=param)


def missing_parameter(name: str) -> APIError:
    """The error for a request without something that it needs."""
    return APIError(400, f"Missing required parameter: '{name}'.", param=name, code="missing_required_parameter")


def invalid_url(request: Request, hint: str = "") -> APIError:
    """The error for a path that does not exist."""
    return APIError(404, f"Invalid URL ({request.method} {_shown(request.url.path)}){hint}")


def _shown(given: str) -> str:
    return given if len(given) <= _SHOWN_CHARACTERS else given[:_SHOWN_CHARACTERS] + "…"


def _trace(error: Exception) -> Exception | None:
    # For a full, read-only or unreachable storage, the message suffices; a traceback is for errors in the program.
    return None if isinstance(error, (APIError, AccessDenied, StorageFull, StorageUnavailable)) else error


def _translated(error: Exception, file_id: str) -> APIError:
    if isinstance(error, APIError):
        return error
    if isinstance(error, HoldallError):
        return _of_the_store(error, file_id)
    if isinstance(error, RequestValidationError):
        return _of_an_argument(error)
    if isinstance(error, HTTPException):
        return _of_the_framework(error)
    if isinstance(error, ClientDisconnect):
        return APIError(400, "The request ended before its body was complete.")
    return APIError(500, "The server had an error while processing your request.")


def _of_the_store(error: HoldallError, file_id: str) -> APIError:  # noqa: PLR0911 - one case for each error
    match error:
        case FileNotFound():
            return not_found("File", error.file_id or file_id, "id")
        case FileTooLarge():
            return APIError(413, "The file is larger than this server accepts.", param="file", code="file_too_large")
        case InvalidRequest() if error.backend is None:
            # It concerns only an argument, and explains the mistake.
            return APIError(400, str(error))
        case InvalidRequest():
            return _unavailable()  # the store was closed: the server is about to stop
        case IntegrityError() if error.operation == "create":
            return APIError(400, "The bytes received are not the ones announced; send them again.", param="file")
        case QuotaExceeded():
            message = "Your storage quota is used up; delete files to make room."
            return APIError(507, message, code="quota_exceeded", headers=_NO_RETRY)
        case StorageFull():
            return APIError(507, "The storage is full.", code="storage_full", headers=_NO_RETRY)
        case StorageUnavailable():
            return _unavailable()
        case NotSupported():
            return APIError(501, "The storage of this server cannot do that.", code="not_supported", headers=_NO_RETRY)
        case _:
            return APIError(500, "The storage failed.", code="storage_error")


def _unavailable() -> APIError:
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)}
    return APIError(503, "The storage is unavailable; try again.", code="storage_unavailable", headers=headers)


def _of_an_argument(error: RequestValidationError) -> APIError:
    first: Mapping[str, Any] = error.errors()[0]
    names = [part for part in first["loc"] if isinstance(part, str)]
    # FastAPI begins with the part of the request that it looked at; a body that we parsed ourselves has no such name.
    param = ".".join(names[1:] if names[:1] and names[0] in _PARTS else names) or None
    if first["type"] == "missing" and param is not None:
        return missing_parameter(param)
    what = "body" if param is None else f"value for {param!r}"
    return APIError(400, f"Invalid {what}: {first['msg']}", param=param, code="invalid_value")


def _of_the_framework(error: HTTPException) -> APIError:
    plain = isinstance(error.detail, str) and error.detail
    message = error.detail if plain else f"The request failed with {error.status_code}."
    return APIError(error.status_code, message, headers=error.headers)
