"""From a form to a stored file: fields may precede or follow the data, and the data is streamed into the store."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from holdall._sources import CHUNK_BYTES
from holdall.aio import AsyncFileStore
from holdall.aio._upload import AsyncUpload
from holdall.model import FileObject, FilePurpose
from holdall.server._errors import APIError, missing_parameter
from holdall.server._models import INPUT_PURPOSES
from holdall.server._multipart import FormData, Part
from holdall.server._places import inside

__all__ = ["ExpiresAfter", "check_length", "expiry_of", "gathered", "purpose_of", "receive_file", "too_large"]

BATCH_SECONDS = 30 * 24 * 3600
"""How long a file for a batch is kept by default; all others do not expire."""
# An allowance for the boundaries, headers and fields of the form.
_FORM_BYTES = 1024 * 1024
_MEDIA_TYPE = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,254}").fullmatch
# Also matches a dot instead of brackets, as some clients send it: this is not the API's format, and gets an error.
_MEMBER = re.compile(r"expires_after(?:\[(.*)\]|.+)", re.DOTALL).fullmatch


class ExpiresAfter(BaseModel):
    """When the file expires: in seconds after its creation."""

    model_config = ConfigDict(extra="forbid")

    anchor: str = Field(pattern="^created_at$")
    seconds: int = Field(ge=3600, le=2_592_000)


async def receive_file(request: Request, store: AsyncFileStore) -> FileObject:
    """Store the file of a form as it arrives. Nothing is stored unless the body is complete and valid."""
    check_length(request, store.max_bytes, "file")
    fields: dict[str, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        incoming: _Incoming | None = None
        async for part in FormData.of(request):
            if part.name == "file":
                if incoming is not None:
                    raise APIError(400, "The form has more than one file.", param="file")
                incoming = _Incoming(store, part, stack)
                await incoming.take_all(part)
            elif part.name in {"purpose", "expires_after"} or _MEMBER(part.name):
                if part.name in fields:
                    raise APIError(400, "The form has this field more than once.", param=part.name)
                fields[part.name] = await part.text()
                if part.name == "purpose":
                    # Checked before the data arrives, if the field comes first, so that nobody sends gigabytes to learn
                    # of a typo.
                    purpose_of(fields["purpose"])
        if incoming is None:
            raise missing_parameter("file")
        purpose = purpose_of(fields.get("purpose"))
        return await incoming.finish(purpose, _expiry(fields, purpose))


def purpose_of(text: Any) -> FilePurpose:
    """The purpose that a client gave. Purposes of files that a service creates are refused."""
    if text is None:
        raise missing_parameter("purpose")
    if text not in INPUT_PURPOSES:
        allowed = ", ".join(INPUT_PURPOSES)
        raise APIError(400, f"Invalid purpose; it must be one of: {allowed}.", param="purpose", code="invalid_value")
    return FilePurpose(text)


def expiry_of(given: ExpiresAfter | None, purpose: FilePurpose) -> int | None:
    """After how many seconds a file expires; None: never."""
    if given is not None:
        return given.seconds
    return BATCH_SECONDS if purpose is FilePurpose.BATCH else None


def _expiry(fields: dict[str, str], purpose: FilePurpose) -> int | None:
    whole = fields.get("expires_after")
    # Unknown members are included, to be refused: a client that sends one expects the file to expire.
    named = [found for found in map(_MEMBER, fields) if found]
    if whole is None and not named:
        return expiry_of(None, purpose)
    if whole is not None and named:
        raise APIError(
            400,
            f"The form has both 'expires_after' and '{named[0][0]}'; send one of the two forms.",
            param="expires_after",
            code="invalid_value",
        )
    try:
        if whole is not None:
            return expiry_of(ExpiresAfter.model_validate_json(whole), purpose)
        members = {found[1] or found[0]: fields[found[0]] for found in named}
        return expiry_of(ExpiresAfter.model_validate(members), purpose)
    except ValidationError:
        raise APIError(
            400,
            "Invalid expires_after: expires_after[anchor] must be 'created_at', and expires_after[seconds] "
            "from 3600 to 2592000.",
            param="expires_after",
            code="invalid_value",
        ) from None


def check_length(request: Request, most: int, param: str) -> None:
    """Refuse a body whose declared length is too large. A body without a length is limited while it is read."""
    length = request.headers.get("content-length", "")
    # No file has a size of more than 18 digits, and Python refuses to parse very long numbers.
    if length.isdecimal() and (len(length) > 18 or int(length) > most + _FORM_BYTES):
        raise too_large(param)


def too_large(param: str) -> APIError:
    """The error for data that exceeds the limit."""
    return APIError(413, "The file is larger than this server accepts.", param=param, code="file_too_large")


async def gathered(part: Part) -> AsyncIterator[bytearray]:
    """The data of a part as it arrives, combined into larger pieces. Each piece is overwritten by the next."""
    waiting = bytearray()
    async for chunk in part:
        waiting += chunk
        if len(waiting) >= CHUNK_BYTES:
            yield waiting
            waiting.clear()
    if waiting:
        yield waiting


class _Incoming:
    """The data of one file. A small file is stored in one call when it is complete; a large one is streamed."""

    def __init__(self, store: AsyncFileStore, part: Part, stack: contextlib.AsyncExitStack) -> None:
        if not part.filename:
            raise APIError(400, "The file has no filename.", param="file")
        most = inside(store).backend.limits.max_filename_chars
        if len(part.filename) > most:
            # The store would refuse it, too, but only the form knows which of its fields has the name.
            raise APIError(400, f"The filename has more than {most} characters.", param="file", code="invalid_value")
        self._store = store
        self._filename = part.filename
        self._content_type = part.content_type if part.content_type and _MEDIA_TYPE(part.content_type) else None
        self._stack = stack
        self._waiting = bytearray()
        self._upload: AsyncUpload | None = None

    async def take_all(self, part: Part) -> None:
        async for chunk in part:
            self._waiting += chunk
            if len(self._waiting) >= CHUNK_BYTES:
                await self._write()

    async def finish(self, purpose: FilePurpose, expires_after: int | None) -> FileObject:
        if self._upload is None:
            return await self._store.create(
                self._filename,
                self._waiting,
                purpose=purpose,
                expires_after=expires_after,
                content_type=self._content_type,
            )
        if self._waiting:
            await self._write()
        return await self._upload.finish(purpose=purpose, expires_after=expires_after)

    async def _write(self) -> None:
        if self._upload is None:
            # The purpose may follow the data: this one is replaced by `finish`.
            begun = await self._store.begin(
                self._filename, purpose=FilePurpose.USER_DATA, content_type=self._content_type
            )
            self._upload = await self._stack.enter_async_context(begun)
        await self._upload.write(self._waiting)
        self._waiting.clear()
