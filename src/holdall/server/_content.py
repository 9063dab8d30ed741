"""File content over HTTP: conditional and range requests by RFC 9110, in bounded memory."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from email.utils import formatdate, parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

import anyio
from fastapi import Request
from fastapi.responses import Response
from starlette.datastructures import Headers

from holdall._sources import CHUNK_BYTES
from holdall.backend import Capability
from holdall.model import FileObject
from holdall.server._errors import APIError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from holdall.aio import AsyncFileReader, AsyncFileStore

__all__ = ["Plan", "content_headers", "content_response", "disposition", "etag", "plan"]

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE).fullmatch
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_SHA256 = re.compile(r"[0-9a-f]{64}").fullmatch
_MEDIA_TYPE = re.compile(r"[\x21-\x7e][\x20-\x7e]*").fullmatch
_YEAR_9999 = 253_370_764_800  # the last year that a date can express
_MOST_DIGITS = 19  # of a file's size; a number with more digits exceeds every size


@dataclass(frozen=True, slots=True)
class Plan:
    """How to respond: the status, and which bytes."""

    status: int
    start: int = 0
    stop: int = 0


def etag(file: FileObject) -> str:
    """A strong validator. Files are immutable, so the id is used if no SHA-256 is recorded."""
    return f'"{file.sha256 if file.sha256 and _SHA256(file.sha256) else file.id}"'


def disposition(filename: str) -> str:
    """A Content-Disposition header for a file of any name, by RFC 6266 and RFC 8187.

    The plain form is for clients that do not support the extended one; it has an underscore for each character that it
    cannot contain.
    """
    plain = re.sub(r'[^\x20-\x7e]|["\\%]', "_", filename)
    header = f'attachment; filename="{plain}"'
    return header if plain == filename else f"{header}; filename*=UTF-8''{quote(filename, safe='')}"


def plan(method: str, headers: Headers, file: FileObject) -> Plan:
    """Evaluates the request's conditions and range, in the order of RFC 9110, 13.2.2."""
    whole = Plan(200, 0, file.bytes)
    tag = etag(file)
    if (matching := _list(headers, "if-match")) is not None:
        if not _matches(tag, matching, weakly=False):
            return Plan(412)
    elif (since := _date(headers.get("if-unmodified-since"))) is not None and file.created_at > since:
        return Plan(412)
    if (matching := _list(headers, "if-none-match")) is not None:
        if _matches(tag, matching, weakly=True):
            return Plan(304)
    elif (since := _date(headers.get("if-modified-since"))) is not None and file.created_at <= since:
        return Plan(304)
    if method != "GET" or "range" not in headers or not _range_applies(headers.get("if-range"), tag, file):
        return whole
    return _ranged(headers["range"], file.bytes) or whole


def content_headers(file: FileObject) -> dict[str, str]:
    """The headers of every response about a file's content. Values that a header cannot express are left out: the
    metadata may come from another program.
    """
    media_type = file.content_type if file.content_type and _MEDIA_TYPE(file.content_type) else None
    dated = {"Last-Modified": formatdate(file.created_at, usegmt=True)} if file.created_at < _YEAR_9999 else {}
    return dated | {
        "ETag": etag(file),
        "Accept-Ranges": "bytes",
        # A file can be deleted at any time: caches may keep it, but must revalidate.
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(file.filename),
        "Content-Type": media_type or "application/octet-stream",
        # An uploaded page must never run with the origin of this site.
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "X-Content-Type-Options": "nosniff",
    }


async def content_response(
    request: Request, store: AsyncFileStore, file: FileObject, *, redirect_seconds: int | None = None
) -> Response:
    """The response to GET or HEAD.

    Whole files are delegated where possible: to the storage, by a redirect to a signed URL, if that is configured
    (`redirect_seconds`); or to a server that sends local files itself (`http.response.pathsend`).
    """
    how = plan(request.method, request.headers, file)
    if how.status == 412:
        raise APIError(412, "The file is not the one that the request's conditions ask for.")
    headers = content_headers(file)
    if how.status == 416:
        raise APIError(
            416,
            f"The range lies outside of the file, which has {file.bytes} bytes.",
            headers={"Content-Range": f"bytes */{file.bytes}", "Accept-Ranges": "bytes"},
        )
    if how.status == 304:
        kept = ("ETag", "Last-Modified", "Cache-Control")
        return Response(status_code=304, headers={name: headers[name] for name in kept if name in headers})
    size = how.stop - how.start
    headers["Content-Length"] = str(size)
    if how.status == 206:
        headers["Content-Range"] = f"bytes {how.start}-{how.stop - 1}/{file.bytes}"
    if request.method == "HEAD":
        return Response(status_code=how.status, headers=headers)
    if how.status == 200 and redirect_seconds and Capability.SIGNED_URLS in store.capabilities:
        url = await store.signed_url(file.id, redirect_seconds)
        return Response(status_code=307, headers={"Location": url, "Cache-Control": "no-store"})
    if size <= CHUNK_BYTES:
        content = await store.get_content(file.id, how.start, how.stop)
        return Response(content, how.status, headers=headers)
    if how.status == 200 and _sends_paths(request) and Capability.LOCAL_PATHS in store.capabilities:
        return _Path(await store.local_path(file.id), headers)
    reader = await store.open(file.id)
    try:
        await reader.seek(how.start)
    except BaseException:
        await reader.aclose()
        raise
    return _Streamed(reader, size, how.status, headers)


def _sends_paths(request: Request) -> bool:
    return "http.response.pathsend" in (request.scope.get("extensions") or {})


class _Path(Response):
    """A local file, which the server sends itself, without copying its content through this process's memory."""

    def __init__(self, path: str, headers: dict[str, str]) -> None:
        super().__init__(headers=headers)
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.pathsend", "path": self._path})


class _Streamed(Response):
    """Bytes from a stream, which is closed when all are sent or the client has disconnected."""

    def __init__(self, reader: AsyncFileReader, size: int, status: int, headers: dict[str, str]) -> None:
        super().__init__(status_code=status, headers=headers)
        self._reader = reader
        self._size = size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._reader, anyio.create_task_group() as tasks:
            tasks.start_soon(_until_gone, receive, tasks.cancel_scope)
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            left = self._size
            while left:
                chunk = await self._reader.read(min(left, CHUNK_BYTES))
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})
            tasks.cancel_scope.cancel()


async def _until_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()


def _list(headers: Headers, name: str) -> str | None:
    values = headers.getlist(name)
    return ", ".join(values) if values else None


def _matches(tag: str, given: str, *, weakly: bool) -> bool:
    if given.strip() == "*":
        return True
    tags = _ETAG.findall(given)
    return tag in ([t.removeprefix("W/") for t in tags] if weakly else tags)


def _range_applies(condition: str | None, tag: str, file: FileObject) -> bool:
    if condition is None:
        return True
    return condition.strip() == tag or _date(condition) == file.created_at


def _date(text: str | None) -> float | None:
    """Unix seconds; None for an invalid date, whose header is then ignored."""
    if not text:
        return None
    try:
        moment = parsedate_to_datetime(text)
        # The asctime format, which RFC 9110 also allows, contains no zone: it is UTC, not local time.
        return (moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment).timestamp()
    except (ValueError, OverflowError):
        return None


def _ranged(text: str, size: int) -> Plan | None:
    """The requested range. None: send the whole file, as for several ranges, or an invalid or non-byte range."""
    match = _RANGE(text)
    if match is None or not (match[1] or match[2]):
        return None
    first, last = _number(match[1]), _number(match[2])
    if first is None:
        if not last:
            return Plan(416)
        return Plan(206, max(0, size - last), size) if size else None
    if last is not None and last < first:
        return None
    if first >= size:
        return Plan(416)
    return Plan(206, first, size if last is None else min(last + 1, size))


def _number(digits: str) -> int | None:
    if not digits:
        return None
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
