"""The id of a request: the client's own if it is well-formed. It is in every response, and in log records."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar

__all__ = ["HEADER", "current_request_id", "request_id_of"]

HEADER = b"x-request-id"

# Accepts the ids that proxies and tracing tools generate, but nothing that could end a line, a field or a header.
_SANE = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}").fullmatch

current_request_id: ContextVar[str | None] = ContextVar("holdall_request_id", default=None)
"""The id of the request that this task or thread is processing."""


def request_id_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The client's id in these headers; a new one if there is none, or a malformed one."""
    given = next((value for name, value in headers if name == HEADER), b"")
    return given.decode() if _SANE(given) else f"req_{secrets.token_hex(16)}"
