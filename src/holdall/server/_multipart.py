"""multipart/form-data as a stream: the parts one after another, each read while it arrives.

>>> async def upload(request):
...     async for part in FormData.of(request):
...         if part.name == "file":
...             async for chunk in part:
...                 ...
...         else:
...             value = await part.text()

Only the data of one read from the connection is in memory. The unread rest of a part is skipped when the next one is
requested. If the loop ends normally, the body was complete.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Self
from urllib.parse import unquote_to_bytes

import anyio
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from holdall.server._errors import APIError

__all__ = ["FormData", "Part", "described_form", "read_on"]

IDLE_SECONDS = 120.0
"""How long a client may pause in the middle of a body."""
_MOST_PARTS = 64
_MOST_FIELD_BYTES = 64 * 1024
# Enough for a name of 4096 non-ASCII characters, and the rest of the header.
_MOST_HEADER_BYTES = 32 * 1024
_MOST_TRAILING_BYTES = 64 * 1024
_PARAMETER = re.compile(rb';\s*([\w!#$&+.^`|~*-]+)\s*=\s*("(?:[^"\\]|\\.)*"|[^;"]*)', re.DOTALL)
# RFC 8187: a character set, an optional language, and the text. Every client supports UTF-8.
_EXTENDED = re.compile(rb"utf-8'[^']*'(.*)", re.DOTALL | re.IGNORECASE).fullmatch
_ESCAPED = re.compile(rb'\\(["\\])')
# How browsers and httpx escape the three characters that a quoted name cannot contain.
_BROWSERS = {b"%22": b'"', b"%0D": b"\r", b"%0A": b"\n"}
_END = object()
_PART_END = object()


def described_form(required: list[str], properties: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The form in the OpenAPI document, which cannot be derived since the form is parsed manually; `more` is added to
    its schema.
    """
    schema = {"type": "object", "required": required, "properties": properties, **more}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


class Part:
    """One part of a form. Iterating over it yields its data as it arrives."""

    def __init__(self, form: FormData) -> None:
        self.name = ""
        self.filename: str | None = None
        """Verbatim; None if the part is a plain field."""
        self.content_type: str | None = None
        self._form = form
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._ended:
            event = await self._form.next_event()
            if event is not _PART_END:
                chunk: bytes = event
                return chunk
            self._ended = True
        raise StopAsyncIteration

    async def text(self) -> str:
        """The whole value of a plain field, at most 64 KiB."""
        value = bytearray()
        async for chunk in self:
            value += chunk
            if len(value) > _MOST_FIELD_BYTES:
                raise APIError(400, f"The field is longer than {_MOST_FIELD_BYTES} bytes.", param=self.name)
        return _decoded(bytes(value), self.name)

    async def skip(self) -> None:
        """Read and drop the rest of the part, at most 64 KiB."""
        size = 0
        async for chunk in self:
            size += len(chunk)
            if size > _MOST_FIELD_BYTES:
                raise APIError(400, "The form has a large part that is no known field.", param=self.name)


class FormData:
    """The parts of a body, in order. For one task at a time."""

    def __init__(self, content_type: str, body: AsyncIterator[bytes]) -> None:
        """A form with this Content-Type header. Raises `APIError` if the body is not a form; so does reading it, if the
        body is malformed or ends early.
        """
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if kind != b"multipart/form-data" or not boundary:
            raise APIError(400, "The body must be multipart/form-data, with its boundary in the Content-Type header.")
        self._body = aiter(body)
        self._events: deque[Any] = deque()
        self._parts = 0
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._closed = False
        self._trailing = 0
        self._part: Part | None = None
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part_begin,
                    "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
                    "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers_finished,
                    "on_part_data": lambda data, start, end: self._events.append(data[start:end]),
                    "on_part_end": lambda: self._events.append(_PART_END),
                    "on_end": self._on_end,
                },
                max_header_size=_MOST_HEADER_BYTES,
            )
        except FormParserError:
            raise APIError(400, "The boundary of the multipart body is too long.") from None

    @classmethod
    def of(cls, request: Request) -> Self:
        """The form in a request's body."""
        return cls(request.headers.get("content-type", ""), request.stream())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Part:
        if self._part is not None:
            await self._part.skip()
        event = await self.next_event()
        if event is _END:
            raise StopAsyncIteration
        part: Part = event
        self._part = part
        return part

    async def next_event(self) -> Any:
        """The beginning of a part, data of it, its end, or the end of the body."""
        while not self._events:
            await self._feed()
        return self._events.popleft()

    async def _feed(self) -> None:
        chunk = await read_on(self._body)
        if chunk is None:
            if not self._closed:
                raise APIError(400, "The multipart body is incomplete: its closing boundary is missing.")
            self._events.append(_END)
            return
        if self._closed:
            self._trailing += len(chunk)
            if self._trailing > _MOST_TRAILING_BYTES:
                raise APIError(400, "The multipart body goes on after its closing boundary.")
            return
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise APIError(400, "The multipart body is malformed.") from None

    def _on_part_begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise APIError(400, f"The form has more than {_MOST_PARTS} parts.")
        self._headers = {}

    def _on_header_end(self) -> None:
        name, value = self._header
        self._headers[bytes(name).lower()] = bytes(value)
        self._header = (bytearray(), bytearray())

    def _on_headers_finished(self) -> None:
        part = Part(self)
        disposition = self._headers.get(b"content-disposition", b"")
        parameters = _parameters(disposition)
        if not disposition.lower().startswith(b"form-data") or b"name" not in parameters:
            raise APIError(400, "A part of the multipart body has no name in its Content-Disposition header.")
        if self._headers.get(b"content-transfer-encoding", b"binary").lower() not in {b"binary", b"8bit", b"7bit"}:
            raise APIError(400, "A part of the multipart body has a Content-Transfer-Encoding; send its bytes as is.")
        part.name = _decoded(parameters[b"name"], "name")
        # RFC 7578 does not allow the extended form, but .NET's clients send it, in addition to a plain one that
        # contains the same name encoded by RFC 2047, which other clients do not use.
        if extended := _EXTENDED(parameters.get(b"filename*", b"")):
            part.filename = _decoded(unquote_to_bytes(extended[1]), part.name)
        elif b"filename" in parameters:
            part.filename = _decoded(parameters[b"filename"], part.name)
        elif b"filename*" in parameters:
            raise APIError(400, "The file name is neither plain nor UTF-8.", param=part.name)
        if b"content-type" in self._headers:
            part.content_type = self._headers[b"content-type"].decode("latin-1")
        self._events.append(part)

    def _on_end(self) -> None:
        self._closed = True


async def read_on(body: AsyncIterator[bytes]) -> bytes | None:
    """The next chunk of a body; None at its end. Raises `APIError` if the client sends nothing for too long."""
    with anyio.move_on_after(IDLE_SECONDS):
        return await anext(body, None)
    raise APIError(408, "The body stopped coming; send it again.")


def _parameters(header: bytes) -> dict[bytes, bytes]:
    return {match[1].lower(): _unquoted(match[2].strip()) for match in _PARAMETER.finditer(header)}


def _unquoted(value: bytes) -> bytes:
    if not value.startswith(b'"'):
        return value
    value = _ESCAPED.sub(rb"\1", value[1:-1])
    for written, meant in _BROWSERS.items():
        value = value.replace(written, meant)
    return value


def _decoded(value: bytes, param: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise APIError(400, "The text is not UTF-8.", param=param) from None
