"""Uploads in parts: how they are stored, and how exactly one file results from each.

An upload, its parts and its end are entries of a separate store (`holdall.server._places`), so that any worker can
continue an upload. The record of the upload `upload_X` is `file-X`, a part is `file-X-<part>`, and its end is
`file-X-end-0`.

To complete an upload, a worker writes a new file with a new id, which is not visible yet; then claims the end, which
only the first worker can do; then publishes its file; then seals the end with the next claim. The client is told of the
file only after that. A worker that comes second waits for the file that the claim names, and seals it as well. If the
first worker died before it published its file, the second one makes the next claim, for a file of its own.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import re
import secrets
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import anyio
from anyio import to_thread
from pydantic import BaseModel, BeforeValidator, Field
from pydantic_core import PydanticKnownError

from holdall._sources import CHUNK_BYTES
from holdall.aio import AsyncFileStore
from holdall.aio._upload import AsyncUpload
from holdall.errors import FileNotFound, FileTooLarge, HoldallError, StorageUnavailable
from holdall.model import FileObject
from holdall.options import DEFAULT_MAX_BYTES
from holdall.server._ends import CANCELLED, COMPLETED, COMPLETING, End, Ends, is_end
from holdall.server._errors import APIError, not_found
from holdall.server._models import INPUT_PURPOSES, file_body
from holdall.server._multipart import Part
from holdall.server._places import clock_of, entries, ids_that_begin, inside
from holdall.server._quota import covering
from holdall.server._receiving import ExpiresAfter, expiry_of, gathered, purpose_of, too_large

__all__ = ["MAX_PART_BYTES", "MAX_UPLOAD_BYTES", "Completion", "NewUpload", "Uploads"]

LIFE_SECONDS = 3600
MAX_PART_BYTES = 64 * 1024 * 1024
MAX_UPLOAD_BYTES = 8 * 1024**3
"""The largest upload of the API, and of a server for which neither it nor its store has a limit configured."""
PATIENCE_SECONDS = 5.0
"""How long to wait for the file of the worker that claimed an end, before that worker is considered dead."""
# Longer than an upload is valid: a completion that began in time may still be reading, and a later request can still be
# told its result.
_KEPT_SECONDS = 2 * LIFE_SECONDS
_LONGEST_PAUSE_SECONDS = 0.5
# For each running completion. With smaller reads, switching between threads would cost more.
_READ_BYTES = 4 * CHUNK_BYTES
_UPLOAD = re.compile(r"upload_([0-9a-f]{32})").fullmatch
_PART = re.compile(r"part_([0-9a-f]{32})").fullmatch

_log = logging.getLogger("holdall.server")


def _no_bool(value: Any) -> Any:
    # Not `strict`, which would also refuse a whole number with a decimal point, as some clients send it.
    if isinstance(value, bool):
        raise PydanticKnownError("int_type")
    return value


class NewUpload(BaseModel):
    """The body of a request to begin an upload."""

    bytes: Annotated[int, BeforeValidator(_no_bool)] = Field(ge=0, description="The size of the whole file.")
    filename: str = Field(min_length=1, max_length=4096)
    mime_type: str = Field(pattern=r"^[\x21-\x7e][\x20-\x7e]{0,254}$")
    purpose: str = Field(json_schema_extra={"enum": [str(purpose) for purpose in INPUT_PURPOSES]})
    expires_after: ExpiresAfter | None = Field(default=None, description="When the file is to go, once it is there.")


class Completion(BaseModel):
    """The body of a request to complete an upload: the parts of the file, in order."""

    part_ids: list[str] = Field(max_length=10_000)
    md5: str | None = Field(default=None, description="The MD5 of the whole file in hexadecimal, to be compared.")


class Uploads:
    """The uploads to one store."""

    def __init__(self, files: AsyncFileStore, uploads: AsyncFileStore, *, most: int | None = None) -> None:
        """`most` limits the size of an upload; by default the store's own limit, if configured, or that of the API."""
        self._files = files
        self._uploads = uploads
        own = None if files.max_bytes == DEFAULT_MAX_BYTES else files.max_bytes
        self._ends = Ends(uploads)
        self._most = next(limit for limit in (most, own, MAX_UPLOAD_BYTES) if limit is not None)
        self._clock = clock_of(inside(files))

    async def create(self, wanted: NewUpload) -> dict[str, Any]:
        """Begin an upload."""
        purpose = purpose_of(wanted.purpose)
        if wanted.bytes > self._limit():
            raise too_large("bytes")
        record = await self._uploads.create(
            wanted.filename,
            b"",
            purpose=purpose,
            content_type=wanted.mime_type,
            expires_after=_KEPT_SECONDS,
            metadata={"bytes": wanted.bytes, "expires_after": expiry_of(wanted.expires_after, purpose)},
        )
        return _upload_body(record, "pending")

    async def taking_parts(self, upload_id: str) -> FileObject:
        """The record of an upload that has not ended."""
        record = await self._record(upload_id)
        end = await self._ends.of(record)
        if end is not None:
            raise _ended(record, end)
        await self._check_time(record)
        return record

    async def begin_part(self, record: FileObject) -> AsyncUpload:
        """Begin a part, which is not visible before it is finished."""
        return await self._uploads.begin(
            "part",
            purpose="upload_part",
            max_bytes=MAX_PART_BYTES,
            expires_after=self._rest(record),
            file_id=f"{record.id}-{secrets.token_hex(16)}",
        )

    async def receive_part(self, incoming: AsyncUpload, part: Part) -> None:
        """Store the bytes of a part as they arrive."""
        try:
            async for chunk in gathered(part):
                await incoming.write(chunk)
        except FileTooLarge:
            raise too_large("data") from None

    async def finish_part(self, record: FileObject, incoming: AsyncUpload) -> dict[str, Any]:
        """Publish a part, unless the upload has ended in the meantime."""
        part = await incoming.finish()
        end = await self._ends.of(record)
        if end is not None:
            await self._forget(part.id)
            raise _ended(record, end)
        return {
            "id": "part_" + part.id.rpartition("-")[2],
            "created_at": part.created_at,
            "object": "upload.part",
            "upload_id": _upload_id(record),
        }

    async def complete(self, upload_id: str, wanted: Completion) -> dict[str, Any]:
        """Create the file. A repeated or concurrent request gets the file that was already created."""
        record = await self._record(upload_id)
        file, number = await self._outcome(record, wanted)
        if file is None:
            if number == 0:
                await self._check_time(record)
            file = await self._make(record, wanted, number)
        else:
            # The worker that created the file may have died before it removed the parts.
            await self._remove_parts(record)
        return _upload_body(record, "completed", file)

    async def cancel(self, upload_id: str) -> dict[str, Any]:
        """Cancel an upload. A repeated request gets the same response."""
        record = await self._record(upload_id)
        end = await self._ends.of(record)
        if end is None:
            await self._check_time(record)
            await self._claim(record, End(0, CANCELLED))
            end = await self._ends.of(record)
        if end is not None and end.state != CANCELLED:
            raise _ended(record, end)
        await self._remove_parts(record)
        return _upload_body(record, "cancelled")

    async def _make(self, record: FileObject, wanted: Completion, number: int) -> FileObject:
        parts = await self._parts(record, wanted.part_ids)
        if (total := sum(part.bytes for part in parts)) != _size(record):
            message = f"The parts have {total} bytes, the upload was to have {_size(record)}."
            raise APIError(400, message, param="part_ids", code="invalid_value")
        try:
            file = await self._assemble(record, parts, wanted, number)
        except FileNotFound:
            file = None  # another worker has completed the upload and removed the parts, or this one's file is gone
        if file is None:
            file, _ = await self._outcome(record, wanted)
        if file is None:
            raise StorageUnavailable(f"{_upload_id(record)} is being completed elsewhere", operation="create")
        return file

    async def _assemble(
        self, record: FileObject, parts: list[FileObject], wanted: Completion, number: int
    ) -> FileObject | None:
        """The file; None if another request ended the upload."""
        begun = await self._files.begin(
            record.filename,
            purpose=record.purpose,
            content_type=record.content_type,
            max_bytes=self._limit(),
            expires_after=(record.metadata or {}).get("expires_after"),
        )
        async with begun as target, contextlib.aclosing(self._chunks(parts)) as chunks:
            with covering(inside(self._files).backend, target.file_id, [part.id for part in parts]):
                digest = None if wanted.md5 is None else hashlib.md5(usedforsecurity=False)
                async for chunk in chunks:
                    if digest is not None:
                        await to_thread.run_sync(digest.update, chunk)
                    await target.write(chunk)
                if digest is not None and digest.hexdigest() != (wanted.md5 or "").lower():
                    message = "The md5 of the parts is not the one given."
                    raise APIError(400, message, param="md5", code="invalid_value")
                if number and await self._is_there(record):
                    return None  # the worker that was considered dead was only slow
                claim = End(number, COMPLETING, target.file_id, _fingerprint(wanted))
                if not await self._claim(record, claim):
                    return None
                file = await target.finish()
                if not await self._seal(record, claim):
                    # This worker was so slow that another considered it dead, and has created the file or is about to.
                    await self._files.delete(file.id)
                    return None
                await self._remove_parts(record)
                return file

    async def _is_there(self, record: FileObject) -> bool:
        end = await self._ends.of(record)
        return end is not None and await self._found(end) is not None

    async def _found(self, end: End) -> FileObject | None:
        with contextlib.suppress(FileNotFound):
            return await self._files.get(end.file_id or "")
        return None

    async def _chunks(self, parts: list[FileObject]) -> AsyncGenerator[bytes, None]:
        for part in parts:
            async with await self._uploads.open(part.id) as stream:
                while chunk := await stream.read(_READ_BYTES):
                    yield chunk

    async def _outcome(self, record: FileObject, wanted: Completion) -> tuple[FileObject | None, int]:
        """The file of an upload, waiting for it if necessary. None if there is no file; then with the number of the
        claim to make: either there is no claim yet, or the worker that made the last one is considered dead.

        Raises `APIError` if the upload has ended otherwise.
        """
        seen: End | None = None
        give_up, pause = 0.0, 0.01
        while (end := await self._ends.of(record)) is not None:
            if end.state == CANCELLED:
                raise _ended(record, end)
            if end.wanted != _fingerprint(wanted):
                message = "The upload was completed with other parts, or another md5."
                raise APIError(400, message, param="part_ids", code="invalid_value")
            file = await self._found(end)
            if end.state == COMPLETED:
                if file is None:
                    raise APIError(400, "The upload was completed, and its file is gone.", param="upload_id")
                return file, end.number
            if file is not None:
                await self._seal(record, end)
                continue
            if end != seen:
                seen, give_up = end, anyio.current_time() + PATIENCE_SECONDS
            if anyio.current_time() >= give_up:
                return None, end.number + 1
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        return None, 0

    async def _record(self, upload_id: str) -> FileObject:
        match = _UPLOAD(upload_id)
        if match is not None:
            with contextlib.suppress(FileNotFound):
                return await self._uploads.get(f"file-{match[1]}")
        raise not_found("Upload", upload_id, "upload_id")

    async def _check_time(self, record: FileObject) -> None:
        if self._clock() >= record.created_at + LIFE_SECONDS:
            await self._remove_parts(record)
            raise _ended(record, End(0, "expired"))

    async def _claim(self, record: FileObject, end: End) -> bool:
        return await self._ends.claim(record, end, keep_seconds=self._rest(record))

    async def _seal(self, record: FileObject, claim: End) -> bool:
        """Seal the end with this claim, whose file must exist. Returns whether this claim is the one that counts."""
        end = await self._ends.of(record)
        if end != claim:  # some storages let a second claim replace the first without an error
            return end == claim.sealed()
        return await self._claim(record, claim.sealed())

    async def _parts(self, record: FileObject, part_ids: list[str]) -> list[FileObject]:
        if len(set(part_ids)) < len(part_ids):
            raise APIError(400, "A part is named more than once.", param="part_ids", code="invalid_value")
        wanted = _part_ids(record, part_ids)
        found = await entries(self._uploads, wanted)
        if len(found) < len(part_ids):
            raise APIError(400, "The upload has no such part.", param="part_ids", code="invalid_value")
        return [found[part_id] for part_id in wanted]

    async def _remove_parts(self, record: FileObject) -> None:
        """Remove the remains of an upload, as far as possible; the rest expires."""
        try:
            found = await ids_that_begin(self._uploads, f"{record.id}-")
        except HoldallError:
            _log.warning("could not remove the parts of %s; they expire", _upload_id(record), exc_info=True)
            return
        async with anyio.create_task_group() as tasks:
            for part_id in found:
                if not is_end(part_id):
                    tasks.start_soon(self._forget, part_id)

    async def _forget(self, part_id: str) -> None:
        try:
            await self._uploads.delete(part_id)
        except FileNotFound:
            pass
        except HoldallError:
            _log.warning("could not remove a part of an upload; it expires", exc_info=True)

    def _limit(self) -> int:
        return inside(self._files)._limit(self._most)  # noqa: SLF001 - a class of this package

    def _rest(self, record: FileObject) -> int:
        """For how many more seconds the entries of an upload are kept."""
        return max(1, math.ceil((record.expires_at or 0) - self._clock()))


def _size(record: FileObject) -> int:
    return int((record.metadata or {})["bytes"])


def _upload_id(record: FileObject) -> str:
    return "upload_" + record.id.partition("-")[2]


def _part_ids(record: FileObject, part_ids: list[str]) -> list[str]:
    """The ids of the parts in the storage, without those that are malformed."""
    return [f"{record.id}-{match[1]}" for match in map(_PART, part_ids) if match is not None]


def _fingerprint(wanted: Completion) -> str:
    """Equal for repeated requests, and of constant size, however many parts there are."""
    return hashlib.sha256("\n".join([(wanted.md5 or "").lower(), *wanted.part_ids]).encode()).hexdigest()


def _ended(record: FileObject, end: End) -> APIError:
    state = "being completed" if end.state == COMPLETING else end.state
    return APIError(400, f"The upload {_upload_id(record)} is {state}; begin another.", param="upload_id")


def _upload_body(record: FileObject, status: str, file: FileObject | None = None) -> dict[str, Any]:
    return {
        "id": _upload_id(record),
        "object": "upload",
        "bytes": _size(record),
        "created_at": record.created_at,
        "expires_at": record.created_at + LIFE_SECONDS,
        "filename": record.filename,
        "purpose": str(record.purpose),
        "status": status,
        "file": None if file is None else file_body(file),
    }
