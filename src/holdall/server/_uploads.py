"""The Uploads API: a large file in parts, on any storage.

An upload and its parts are entries of a store of their own, so that any worker can go on with it. What comes of
`upload_X` is the file `file-X`: whoever completes it again, or at the same time elsewhere, cannot make a second one.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel, Field

from holdall._sources import CHUNK_BYTES
from holdall.aio import AsyncFileStore
from holdall.errors import FileNotFound, StorageError
from holdall.model import FileObject
from holdall.server._errors import APIError, not_found
from holdall.server._models import file_body
from holdall.server._multipart import FormData
from holdall.server._receiving import ExpiresAfter, expiry_of, purpose_of
from holdall.server._route import FilesRoute, until_answered
from holdall.server._tenants import Stores
from holdall.url import StoreURL

__all__ = ["Beside", "create_uploads_router", "uploads_url"]

LIFE_SECONDS = 3600
MAX_PART_BYTES = 64 * 1024 * 1024
MAX_UPLOAD_BYTES = 8 * 1024**3
# Longer than an upload lives: a completion that began in time goes on reading, and what ended can still be told.
_KEPT_SECONDS = 2 * LIFE_SECONDS
_READ_BYTES = 16 * CHUNK_BYTES
_UPLOAD = re.compile(r"upload_([0-9a-f]{32})").fullmatch
_PART = re.compile(r"part_([0-9a-f]{32})").fullmatch
_SCOPE = "holdall.uploads"

Lease = Callable[[Any], contextlib.AbstractAsyncContextManager[AsyncFileStore]]


class _Create(BaseModel):
    bytes: int = Field(ge=0, le=MAX_UPLOAD_BYTES)
    filename: str = Field(min_length=1, max_length=4096)
    mime_type: str = Field(pattern=r"^[\x21-\x7e][\x20-\x7e]{0,254}$")
    purpose: str
    expires_after: ExpiresAfter | None = None


class _Complete(BaseModel):
    part_ids: list[str] = Field(max_length=10_000)
    md5: str | None = None


def create_uploads_router(files: Lease, uploads: Lease, *, authenticate: Callable[..., Any]) -> APIRouter:
    """The routes `/uploads…`. `files` and `uploads` lease the stores of who asks: of whole files, and of parts."""

    async def resolve(request: Request, who: Any = Depends(authenticate)) -> None:  # noqa: B008 - FastAPI's way
        stack = until_answered(request)
        stores = [await stack.enter_async_context(lease(who)) for lease in (files, uploads)]
        request.scope[_SCOPE] = _Uploads(*stores)

    router = APIRouter(route_class=FilesRoute, dependencies=[Depends(resolve)], include_in_schema=False)
    router.add_api_route("/uploads", _create, methods=["POST"])
    router.add_api_route("/uploads/{upload_id}/parts", _add_part, methods=["POST"])
    router.add_api_route("/uploads/{upload_id}/complete", _complete, methods=["POST"])
    router.add_api_route("/uploads/{upload_id}/cancel", _cancel, methods=["POST"])
    return router


async def _create(request: Request, wanted: Annotated[_Create, Body()]) -> dict[str, Any]:
    return await _of(request).create(wanted)


async def _add_part(request: Request, upload_id: str) -> dict[str, Any]:
    return await _of(request).add_part(upload_id, FormData.of(request))


async def _complete(request: Request, upload_id: str, wanted: Annotated[_Complete, Body()]) -> dict[str, Any]:
    return await _of(request).complete(upload_id, wanted)


async def _cancel(request: Request, upload_id: str) -> dict[str, Any]:
    return await _of(request).cancel(upload_id)


def _of(request: Request) -> _Uploads:
    found: _Uploads = request.scope[_SCOPE]
    return found


class _Uploads:
    """The uploads of one tenant."""

    def __init__(self, files: AsyncFileStore, uploads: AsyncFileStore) -> None:
        self._files = files
        self._uploads = uploads

    async def create(self, wanted: _Create) -> dict[str, Any]:
        purpose = purpose_of(wanted.purpose)
        record = await self._uploads.create(
            wanted.filename,
            b"",
            purpose=purpose,
            content_type=wanted.mime_type,
            expires_after=_KEPT_SECONDS,
            metadata={"bytes": wanted.bytes, "expires_after": expiry_of(wanted.expires_after, purpose)},
        )
        return _upload_body(record, "pending")

    async def add_part(self, upload_id: str, form: FormData) -> dict[str, Any]:
        record = await self._pending(upload_id)
        async for part in form:
            if part.name == "data":
                begun = await self._uploads.begin(
                    "part",
                    purpose="upload_part",
                    max_bytes=MAX_PART_BYTES,
                    expires_after=_KEPT_SECONDS,
                    metadata={"upload": record.id},
                )
                async with begun as incoming:
                    async for chunk in part:
                        await incoming.write(chunk)
                    async for _ in form:
                        pass  # the part counts only if the body was whole
                    file = await incoming.finish()
                return {
                    "id": "part_" + file.id.removeprefix("file-"),
                    "created_at": file.created_at,
                    "object": "upload.part",
                    "upload_id": upload_id,
                }
        raise APIError(400, "Missing required parameter: 'data'.", param="data", code="missing_required_parameter")

    async def complete(self, upload_id: str, wanted: _Complete) -> dict[str, Any]:
        record = await self._record(upload_id)
        with contextlib.suppress(FileNotFound):
            # Again, since the answer got lost.
            return _upload_body(record, "completed", await self._files.get(record.id))
        await self._pending(upload_id)
        parts = [await self._part(part_id, record) for part_id in wanted.part_ids]
        meant, total = _size(record), sum(part.bytes for part in parts)
        if total != meant:
            raise APIError(400, f"The parts have {total} bytes, the upload was to have {meant}.", param="part_ids")
        file = await self._assemble(record, parts, wanted.md5)
        for part in parts:
            with contextlib.suppress(FileNotFound, StorageError):
                await self._uploads.delete(part.id)
        return _upload_body(record, "completed", file)

    async def cancel(self, upload_id: str) -> dict[str, Any]:
        record = await self._record(upload_id)
        if (state := await self._claim(record, "cancelled")) != "cancelled":
            raise _ended(upload_id, state)
        return _upload_body(record, "cancelled")

    async def _assemble(self, record: FileObject, parts: list[FileObject], md5: str | None) -> FileObject:
        digest = hashlib.md5(usedforsecurity=False)
        lifetime = (record.metadata or {}).get("expires_after")
        if lifetime is not None:
            lifetime += max(0, int(time.time()) - record.created_at)  # counted from now, not from the id's time
        begun = await self._files.begin(
            record.filename,
            purpose=record.purpose,
            content_type=record.content_type,
            max_bytes=MAX_UPLOAD_BYTES,
            expires_after=lifetime,
            expected_bytes=_size(record),
            file_id=record.id,
        )
        async with begun as target:
            async for chunk in self._chunks(parts):
                digest.update(chunk)
                await target.write(chunk)
            if md5 is not None and md5.lower() != digest.hexdigest():
                raise APIError(400, "The md5 of the parts is not the one given.", param="md5", code="invalid_value")
            if (state := await self._claim(record, "completed")) != "completed":
                raise _ended("upload_" + record.id.removeprefix("file-"), state)
            try:
                return await target.finish()
            except StorageError:
                # Somebody else may have completed it meanwhile; if not, this is what went wrong.
                with contextlib.suppress(FileNotFound):
                    return await self._files.get(record.id)
                raise

    async def _chunks(self, parts: list[FileObject]) -> AsyncIterator[bytes]:
        for part in parts:
            async with await self._uploads.open(part.id) as stream:
                while chunk := await stream.read(_READ_BYTES):
                    yield chunk

    async def _claim(self, record: FileObject, state: str) -> str:
        """How the upload ends: as the first who claimed it says, where the storage can tell who was first."""
        end = f"{record.id}-end"
        try:
            begun = await self._uploads.begin(state, purpose="upload_end", expires_after=_KEPT_SECONDS, file_id=end)
            async with begun as claim:
                await claim.finish()
        except StorageError:
            with contextlib.suppress(FileNotFound):
                return (await self._uploads.get(end)).filename
            raise
        return state

    async def _record(self, upload_id: str) -> FileObject:
        match = _UPLOAD(upload_id)
        if match is not None:
            with contextlib.suppress(FileNotFound):
                record = await self._uploads.get(f"file-{match[1]}")
                if "bytes" in (record.metadata or {}):
                    return record
        raise not_found("Upload", upload_id, "upload_id")

    async def _pending(self, upload_id: str) -> FileObject:
        record = await self._record(upload_id)
        with contextlib.suppress(FileNotFound):
            end = await self._uploads.get(f"{record.id}-end")
            if end.filename == "cancelled":
                raise _ended(upload_id, "cancelled")
        if time.time() >= record.created_at + LIFE_SECONDS:
            raise _ended(upload_id, "expired")
        return record

    async def _part(self, part_id: str, record: FileObject) -> FileObject:
        match = _PART(part_id)
        if match is not None:
            with contextlib.suppress(FileNotFound):
                part = await self._uploads.get(f"file-{match[1]}")
                if (part.metadata or {}).get("upload") == record.id:
                    return part
        raise APIError(400, "The upload has no such part.", param="part_ids", code="invalid_value")


def _size(record: FileObject) -> int:
    return int((record.metadata or {})["bytes"])


def _ended(upload_id: str, state: str) -> APIError:
    return APIError(400, f"The upload {upload_id} is {state}; begin another.", param="upload_id")


def _upload_body(record: FileObject, status: str, file: FileObject | None = None) -> dict[str, Any]:
    return {
        "id": "upload_" + record.id.removeprefix("file-"),
        "object": "upload",
        "bytes": _size(record),
        "created_at": record.created_at,
        "expires_at": record.created_at + LIFE_SECONDS,
        "filename": record.filename,
        "purpose": str(record.purpose),
        "status": status,
        "file": None if file is None else file_body(file),
    }


class Beside:
    """The stores of uploads in progress: below the URL of the files, in `.uploads`, opened with the first upload."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._lock = anyio.Lock()
        self._opened = False

    @contextlib.asynccontextmanager
    async def lease(self, tenant: str | None) -> AsyncIterator[AsyncFileStore]:
        """The store of a tenant's uploads."""
        await self._open()
        async with self._stores.lease(tenant) as store:
            yield store

    def tenants(self) -> list[str | None]:
        """See `Stores.tenants`."""
        return self._stores.tenants()

    @contextlib.asynccontextmanager
    async def apart(self, tenant: str | None) -> AsyncIterator[AsyncFileStore]:
        """See `Stores.apart`."""
        await self._open()
        async with self._stores.apart(tenant) as store:
            yield store

    async def close(self) -> None:
        """Close them, if they were opened."""
        if self._opened:
            await self._stores.__aexit__()

    async def _open(self) -> None:
        async with self._lock:
            if not self._opened:
                await self._stores.__aenter__()
                self._opened = True


def uploads_url(url: StoreURL) -> StoreURL:
    """Where the uploads of a store are: nowhere in its listings."""
    private = url.scheme == "memory" and not (url.host + url.path).strip("/")
    return url if private else url.child(".uploads")
