"""The store that applications call. Everything that must be the same on every backend is implemented here, once."""

from __future__ import annotations

import datetime as dt
import io
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from holdall import _arguments as arguments
from holdall import ids
from holdall._guard import Guard
from holdall._listing import Listing, page_of
from holdall._metadata import DEFAULT_REMEMBERED, Metadata
from holdall._reader import RangeReader, open_range, read_exactly
from holdall._sources import chunks, size_hint
from holdall._upload import Upload, too_large
from holdall.backend import Capability
from holdall.errors import CorruptMetadata, FileNotFound, InvalidRequest, attempted
from holdall.model import FileObject, FilePage, FilePurpose, has_expired
from holdall.options import DEFAULT_MAX_BYTES
from holdall.upkeep import DEFAULT_GRACE_SECONDS, SweepReport, VerifyReport, sweep_store, verify_store

if TYPE_CHECKING:
    from types import TracebackType

    from holdall._sources import Source
    from holdall.backend import Backend
    from holdall.url import StoreURL

__all__ = ["FileStore"]

_log = logging.getLogger("holdall")
_Batches = Iterator[list[FileObject]]

_READ_BUFFER_BYTES = 128 * 1024
# The first batch of an iteration is small, since the caller may stop soon.
_ITERATED_FIRST = 100


class FileStore:
    """Uploaded files, each with its metadata, on one backend.

    Safe to use from many threads. A context manager; iterating it yields all files, oldest first, page by page.
    Every method raises `StorageError` if the storage fails, and `InvalidRequest` after `close`.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        url: StoreURL | None = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        clock: Callable[[], float] = time.time,
        remember: int = DEFAULT_REMEMBERED,
    ) -> None:
        """A store on `backend`. Most callers want `holdall.open_store`.

        `max_bytes` is the largest file, in bytes. `clock` returns Unix seconds; replace it to test expiry.
        `remember` is the largest number of files whose metadata, about 1 KiB each, is cached in memory; 0: none.
        """
        self._backend = arguments.instance("backend", backend, "read_meta", "holdall.open_store")
        self._url = url
        self._max_bytes = arguments.limit(max_bytes)
        self._clock = clock
        self._minter = ids.DEFAULT_MINTER if clock is time.time else ids.IdMinter(clock)
        self._name = str(url) if url is not None else type(backend).__name__
        self._closed = False
        self._close_lock = threading.Lock()
        self.remember = remember

    @property
    def url(self) -> StoreURL | None:
        """Where this store is; opening it again reaches the same files. None if it was made without one."""
        return self._url

    @property
    def backend(self) -> Backend:
        """The backend, for tools. It knows nothing of expiry or limits: applications use the store."""
        return self._backend

    @property
    def capabilities(self) -> Capability:
        """What the backend promises."""
        return self._backend.capabilities

    @property
    def max_bytes(self) -> int:
        """The largest file that `create` takes unless told otherwise, in bytes."""
        return self._max_bytes

    @property
    def remember(self) -> int:
        """The largest number of files whose metadata is cached in memory. Setting it empties the cache."""
        return self._metadata.most

    @remember.setter
    def remember(self, most: int) -> None:
        self._metadata = Metadata(self._backend, arguments.remembered(most))
        self._listing = Listing(self._backend, self._metadata)

    def create(
        self,
        filename: str,
        data: Source,
        *,
        purpose: FilePurpose | str,
        max_bytes: int | None = None,
        expires_after: float | dt.timedelta | None = None,
        content_type: str | None = None,
        metadata: dict[str, Any] | None = None,
        expected_bytes: int | None = None,
        expected_sha256: str | None = None,
    ) -> FileObject:
        """Store a new file and return what was stored. Once this returns, every reader sees all of it.

        If anything goes wrong, nothing is stored: if the source raises (its exception is passed on unchanged), if a
        limit is exceeded, or if the bytes are not the expected ones. The only exception is an interrupt
        (`KeyboardInterrupt`) that arrives after the file was published, while this call is returning.

        `data` is bytes, a binary file (only `.read(n)` is called), an `os.PathLike`, or an iterable of bytes. It is
        read once, in bounded memory, and neither rewound nor closed. `filename` is kept verbatim, at most 4096
        characters. `purpose` is a `FilePurpose`, its text, or a purpose of the caller's own: 1 to 64 visible ASCII
        characters. `max_bytes` replaces the store's limit. `expires_after` is in whole seconds, counted from
        `created_at`. `content_type` is 1 to 255 visible ASCII characters. `metadata` is a JSON object, at most 64 KiB
        as compact JSON. `expected_bytes` and `expected_sha256` (hexadecimal) are compared with what was read.

        Raises `InvalidRequest` before anything is read, `FileTooLarge`, and `IntegrityError`.
        """
        self._check_open("create")
        hint, limit = size_hint(data), self._limit(max_bytes)
        if hint is not None and hint > limit:
            raise too_large(arguments.filename(filename, self._backend.limits.max_filename_chars), limit)
        # Before the upload begins: data of an unsupported type is refused before anything is staged.
        source = chunks(data)
        try:
            with self.begin(
                filename,
                purpose=purpose,
                max_bytes=max_bytes,
                expires_after=expires_after,
                content_type=content_type,
                metadata=metadata,
                expected_bytes=expected_bytes,
                expected_sha256=expected_sha256,
            ) as upload:
                for chunk in source:
                    upload.append(chunk)
                return upload.finish()
        finally:
            source.close()

    def begin(
        self,
        filename: str,
        *,
        purpose: FilePurpose | str,
        max_bytes: int | None = None,
        expires_after: float | dt.timedelta | None = None,
        content_type: str | None = None,
        metadata: dict[str, Any] | None = None,
        expected_bytes: int | None = None,
        expected_sha256: str | None = None,
        file_id: str | None = None,
    ) -> Upload:
        """Begin an upload into which the caller pushes the data, instead of `create` pulling it from a source.

        The arguments are those of `create`, and are checked at once. Nothing is visible before `Upload.finish`. An
        upload that is not finished must be discarded; leaving it as a context manager does that.

        `file_id` is an id that was generated before, so that a retry does not create a second file: if it is taken,
        `finish` raises `StorageError`, provided that the storage can tell. `created_at` is then the time at which the
        id was generated. Never give an id to another file, even after a delete: stores may have cached the first one.
        """
        self._check_open("create")
        limit = self._limit(max_bytes)
        fields: dict[str, Any] = {
            "filename": arguments.filename(filename, self._backend.limits.max_filename_chars),
            "purpose": arguments.purpose(purpose),
            "content_type": arguments.content_type(content_type),
            "metadata": arguments.metadata(metadata),
        }
        lifetime = arguments.lifetime(expires_after)
        sha256 = arguments.sha256(expected_sha256)
        size = arguments.size(expected_bytes)
        if size is not None and size > limit:
            raise too_large(filename, limit)
        file_id, created_at = self._minter.mint() if file_id is None else ids.adopt(file_id, self._clock())
        fields |= {
            "id": file_id,
            "created_at": created_at,
            "expires_at": None if lifetime is None else created_at + lifetime,
        }
        guard = Guard(self._name, "create", file_id)
        with guard:
            staged = self._backend.stage(file_id)
        return Upload(
            staged,
            guard,
            fields,
            limit=limit,
            expected_bytes=size,
            expected_sha256=sha256,
            on_published=self._listing.published,
        )

    def get(self, file_id: str) -> FileObject:
        """The metadata of a file. Raises `FileNotFound`, `CorruptMetadata`."""
        return self._get(file_id, "get")

    def is_quick(self, file_id: str, max_bytes: int | None = None) -> bool:
        """Whether `get` of this id takes only microseconds, so that an event loop may call it without a thread.

        With `max_bytes`: whether that also holds for `get_content`, because the file is no larger. It holds if the
        storage is memory or a local disk, and the metadata is cached.
        """
        if not self._backend.quick or not isinstance(file_id, str) or (file := self._metadata.last(file_id)) is None:
            return False
        return max_bytes is None or file.bytes <= max_bytes

    def list(
        self,
        *,
        purpose: FilePurpose | str | None = None,
        after: str | None = None,
        limit: int | None = None,
        order: str = "asc",
    ) -> FilePage:
        """A page of files in the order of (`created_at`, `id`), or reversed with `order="desc"`.

        `after` is the id of the last file of the previous page; if holdall generated it, it also works after that file
        was deleted. `limit` is 1 to 10 000; None means all. A page is empty only if nothing more matches. Corrupt
        entries are skipped and logged once; `verify` reports them.

        Raises `InvalidRequest` if `after` is not an id, or if its position in the order is not known.
        """
        self._check_open("list")
        wanted = arguments.page_limit(limit)
        only = None if purpose is None else arguments.purpose(purpose)
        if after is not None and not ids.is_valid(after):
            raise InvalidRequest("cannot list: after is not a file id", operation="list")
        # One more than the page tells whether another follows.
        hint = None if wanted is None else wanted + 1
        return page_of(self._walk(purpose=only, after=after, order=order, hint=hint), wanted)

    def __iter__(self) -> Iterator[FileObject]:
        self._check_open("list")
        return itertools.chain.from_iterable(self._walk(hint=_ITERATED_FIRST))

    def get_content(self, file_id: str, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes of a file from `start` up to but not including `stop`; past the end is clipped.

        Raises `FileNotFound`; `InvalidRequest` if not `0 <= start <= stop` or if `start` is past the end;
        `IntegrityError` if the data is shorter than the metadata says or missing.
        """
        file = self._get(file_id, "read")
        start, stop = arguments.byte_range(start, stop, file.bytes)
        with Guard(self._name, "read", file_id), self._open_data(file, start, stop) as stream:
            # Even an empty range of damaged data is an error, but it transfers nothing.
            return read_exactly(stream, stop - start, file_id) if start < stop else b""

    def open(self, file_id: str) -> BinaryIO:
        """A file as a buffered, seekable stream that reads from the storage as it is read.

        The caller closes it; closing early costs nothing. If the file is deleted while it is open, reading continues or
        raises `FileNotFound`, but never returns wrong bytes. Raises `FileNotFound` at once if the file is absent.
        """
        file = self._get(file_id, "open")
        guard = Guard(self._name, "read", file_id)
        raw = RangeReader(file_id, file.bytes, lambda start: self._open_data(file, start, file.bytes), guard)
        return io.BufferedReader(raw, buffer_size=_READ_BUFFER_BYTES)

    def local_path(self, file_id: str) -> str:
        """The path of a local file that holds the bytes, for reading only. `NotSupported` where there is none."""
        self._get(file_id, "local_path")
        with Guard(self._name, "local_path", file_id):
            return self._backend.local_path(file_id)

    def signed_url(self, file_id: str, expires_in: int) -> str:
        """A URL from which anybody can read the bytes for `expires_in` seconds. `NotSupported` where there is none.

        `expires_in` is a whole number, 1 or more, up to what the storage allows (S3: 7 days); otherwise
        `InvalidRequest`. The URL may outlive the file's `expires_at`, which the storage does not know.
        """
        seconds = arguments.validity(expires_in)
        self._get(file_id, "signed_url")
        with Guard(self._name, "signed_url", file_id):
            return self._backend.signed_url(file_id, seconds)

    def delete(self, file_id: str) -> None:
        """Delete a file, even one with corrupt metadata. Of several concurrent deletes of one file, one succeeds and
        the others get `FileNotFound`, if the backend declares `EXCLUSIVE_REMOVE`.
        """
        self._check_open("delete")
        last = self._metadata.last(ids.check_id(file_id, "delete"))
        # The metadata is read only to see whether the file expired; `remove` itself tells whether it exists.
        if last is None or has_expired(last, self._clock()):
            try:
                self._get(file_id, "delete")
            except CorruptMetadata:
                _log.info("deleting %s, whose metadata is corrupt", file_id)
        try:
            with Guard(self._name, "delete", file_id):
                self._backend.remove(file_id)
        finally:
            self._metadata.forget(file_id)

    def sweep(self, *, older_than: float | dt.timedelta = DEFAULT_GRACE_SECONDS, dry_run: bool = False) -> SweepReport:
        """Remove expired files, and leftovers of interrupted writes and deletes.

        Leftovers younger than `older_than` seconds are kept: they may belong to an upload in progress elsewhere.
        With `dry_run` nothing is removed. Safe to run at any time, in several processes at once.
        """
        self._check_open("sweep")
        grace = arguments.seconds("older_than", older_than)
        return sweep_store(self._backend, self._name, now=self._clock(), grace_seconds=grace, dry_run=dry_run)

    def verify(
        self,
        *,
        older_than: float | dt.timedelta = DEFAULT_GRACE_SECONDS,
        on_file: Callable[[str, int], None] | None = None,
    ) -> VerifyReport:
        """Read every file in full, compare it with its size and SHA-256, and report all damage. Changes nothing.

        The report includes the leftovers that `sweep` with the same `older_than` would remove. `on_file` is called with
        the id and size of each file once it has been read.
        """
        self._check_open("verify")
        grace = arguments.seconds("older_than", older_than)
        return verify_store(self._backend, self._name, now=self._clock(), grace_seconds=grace, on_file=on_file)

    def close(self) -> None:
        """Finish pending work and release all resources. A second call does nothing."""
        with self._close_lock:
            if self._closed:
                return
            self._closed = True
        with Guard(self._name, "close"):
            self._backend.close()

    def __enter__(self) -> Self:
        self._check_open("enter")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<FileStore {self._name}{' (closed)' if self._closed else ''}>"

    def _check_open(self, operation: str) -> None:
        if self._closed:
            why = f"cannot {attempted(operation)}: this store was closed; open it again"
            raise InvalidRequest(why, operation=operation, backend=self._name)

    def _limit(self, max_bytes: int | None) -> int:
        limit = self._max_bytes if max_bytes is None else arguments.limit(max_bytes)
        most = self._backend.limits.max_file_bytes
        return limit if most is None else min(limit, most)

    def _get(self, file_id: str, operation: str) -> FileObject:
        self._check_open(operation)
        ids.check_id(file_id, operation)
        # Not as a context manager, which would take a tenth of the time of a local read.
        try:
            file = self._metadata.read(file_id)
        except Exception as error:
            Guard(self._name, operation, file_id).translate(error)
            raise
        if has_expired(file, self._clock()):
            why = f"cannot {attempted(operation, file_id)}: it expired"
            raise FileNotFound(why, operation=operation, file_id=file_id, backend=self._name)
        return file

    def _open_data(self, file: FileObject, start: int, stop: int) -> BinaryIO:
        with Guard(self._name, "read", file.id):
            return open_range(self._backend, file.id, start, stop)

    def _walk(self, *, hint: int | None, order: str = "asc", **which: str | None) -> _Batches:
        batches = self._listing.walk(self._clock(), order=arguments.order(order), hint=hint, **which)
        return self._guarded(batches)

    def _guarded(self, batches: _Batches) -> _Batches:
        guard = Guard(self._name, "list")
        while True:
            self._check_open("list")
            with guard:
                batch = next(batches, None)
            if batch is None:
                return
            yield batch
