"""Copying a whole store to another, keeping the id and metadata of each file."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdall._guard import Guard
from holdall._sources import CHUNK_BYTES
from holdall._upload import not_cleaned_up
from holdall.errors import (
    AccessDenied,
    CorruptMetadata,
    FileNotFound,
    HoldallError,
    IntegrityError,
    InvalidRequest,
    StorageFull,
    StorageUnavailable,
)
from holdall.model import FileObject, decode_meta, has_expired

if TYPE_CHECKING:
    from holdall.backend import StagedFile
    from holdall.store import FileStore
    from holdall.url import StoreURL

__all__ = ["CopyFailure", "CopyReport", "copy_store"]


# Errors of the target that would occur for every further file as well.
_TROUBLE = (AccessDenied, StorageFull, StorageUnavailable)


@dataclass(frozen=True, slots=True)
class CopyFailure:
    """A file that is not in the target as it is in the source."""

    file_id: str
    reason: str
    """A sentence for a person."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """What `copy_store` did."""

    copied: int
    """Files that were missing or damaged in the target before, and are there now."""
    skipped: int
    """Files that were in the target already, which was verified by reading them there."""
    expired: int
    """Files of the source that had expired; they are not copied."""
    bytes: int
    """The size of the copied files together."""
    failures: tuple[CopyFailure, ...]

    @property
    def ok(self) -> bool:
        """Whether every file of the source that has not expired is in the target."""
        return not self.failures


def copy_store(
    source: FileStore,
    target: FileStore,
    *,
    on_file: Callable[[str, int], None] | None = None,
    on_bytes: Callable[[int], None] | None = None,
    clock: Callable[[], float] = time.time,
) -> CopyReport:
    """Copy every file of `source` to `target`, keeping its id and its metadata byte for byte. Removes nothing there.

    A file counts as copied once it has been read back from the target with the SHA-256 of what was read from the
    source; a copy that differs is removed again. To resume after an interruption, run it again: files that are already
    in the target are read there, and skipped if they are intact and equal. A damaged entry of the target is replaced
    once the source's is known to be intact; an intact but different one is never touched, but reported.

    If several copies run into one target at once, a file that another one stored first counts as already there. Files
    of other stores in the same storage, such as those of tenants, are skipped, as `FileStore.list` skips them.

    One bad file does not stop the rest: the report says what is wrong with it, and nothing is published for it.
    `max_bytes` of the target store limits uploads, and does not apply here; the limit of its backend does.

    `on_file` is called with the id and size of each processed file (size 0 if it failed or had expired), `on_bytes`
    with the number of bytes just written. `clock` returns Unix seconds, and decides which files have expired. Memory
    use does not depend on the size or number of the files.

    Raises `InvalidRequest` if both are the same store; `StorageFull`, `AccessDenied` or `StorageUnavailable` if the
    target fails in this way, since every further file would fail too (files copied before remain); and `StorageError`
    if the source cannot be listed.
    """
    if _is_same(source, target):
        raise InvalidRequest(
            f"cannot copy {_name(source)} to itself; give two different stores", operation="copy", backend=_name(source)
        )
    return _Copy(source, target, on_bytes, clock).run(on_file)


class _NotCopied(Exception):
    """This file cannot be copied; the text says why."""


class _Gone(Exception):
    """The file is not, or no longer, in the source: there is nothing to copy."""


class _Copy:
    def __init__(
        self, source: FileStore, target: FileStore, on_bytes: Callable[[int], None] | None, clock: Callable[[], float]
    ) -> None:
        self._source, self._source_name = source.backend, _name(source)
        self._target, self._target_name = target.backend, _name(target)
        self._on_bytes = on_bytes
        self._clock = clock
        self._copied = self._skipped = self._expired = self._bytes = 0

    def run(self, on_file: Callable[[str, int], None] | None) -> CopyReport:
        failures: list[CopyFailure] = []
        for file_id in self._ids():
            size = 0
            try:
                size = self._copy(file_id)
            except _Gone:
                continue
            except _TROUBLE:
                # An error of the target: errors of the source have been turned into _NotCopied.
                raise
            except (_NotCopied, HoldallError) as error:
                failures.append(CopyFailure(file_id, str(error)))
            if on_file is not None:
                on_file(file_id, size)
        return CopyReport(self._copied, self._skipped, self._expired, self._bytes, tuple(failures))

    def _ids(self) -> Iterator[str]:
        guard = Guard(self._source_name, "copy")
        with guard:
            ids = iter(self._source.list_ids())
        while True:
            with guard:
                file_id = next(ids, None)
            if file_id is None:
                return
            yield file_id

    def _copy(self, file_id: str) -> int:
        """Process one file. Returns its size, or 0 if it has expired."""
        meta = self._source_meta(file_id)
        try:
            file = decode_meta(meta, file_id)
        except FileNotFound as error:
            # It belongs to another store in the same storage, and is skipped as in listings.
            raise _Gone from error
        if has_expired(file, self._clock()):
            self._expired += 1
            return 0
        self._check_limits(file)
        if self._is_there(file, meta):
            self._skipped += 1
            return file.bytes
        try:
            digest = self._write(file, meta)
        except _TROUBLE:
            raise
        except HoldallError:
            if not self._came_meanwhile(file, meta):
                raise
            self._skipped += 1
            return file.bytes
        self._read_back(file_id, meta, digest)
        self._copied += 1
        self._bytes += file.bytes
        return file.bytes

    def _source_meta(self, file_id: str) -> bytes:
        try:
            with Guard(self._source_name, "read", file_id):
                return self._source.read_meta(file_id)
        except FileNotFound as error:
            raise _Gone from error
        except HoldallError as error:
            raise _NotCopied(str(error)) from error

    def _source_chunks(self, file: FileObject) -> Generator[bytes, None, None]:
        """The source's data. Raises `_NotCopied` at the end if it is not intact."""
        size, digest = 0, hashlib.sha256()
        try:
            with Guard(self._source_name, "read", file.id), self._source.open_data(file.id) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    size += len(chunk)
                    digest.update(chunk)
                    yield chunk
        except FileNotFound as error:
            self._source_meta(file.id)
            raise _NotCopied(f"the data of {file.id} is missing in the source") from error
        except HoldallError as error:
            raise _NotCopied(str(error)) from error
        if size != file.bytes:
            raise _NotCopied(f"{file.id} is damaged in the source: it has {size} bytes instead of {file.bytes}")
        if file.sha256 is not None and digest.hexdigest() != file.sha256:
            raise _NotCopied(f"{file.id} is damaged in the source: its SHA-256 is {digest.hexdigest()}")

    def _is_there(self, file: FileObject, meta: bytes) -> bool:
        """Whether the target has an equal file. Removes a damaged entry with this id; raises for a different one."""
        there, digest = self._in_target(file.id)
        if there is None:
            return False
        if digest is None:
            # The source is read completely before anything is removed: if both files are damaged, neither may be lost.
            # Staging the new file before removing the old one would be cheaper, but not every storage keeps a staged
            # file separate from the entry.
            self._source_digest(file)
            # In the meantime, a concurrent copy into the same target may have replaced it.
            there, digest = self._in_target(file.id)
            if there is None or digest is None:
                self._remove(file.id)
                return False
        if other := self._difference(file, meta, there, digest):
            raise _NotCopied(f"the target has a file {file.id} with different {other}; delete one of the two")
        return True

    def _came_meanwhile(self, file: FileObject, meta: bytes) -> bool:
        """Whether a concurrent copy into the same target has stored an equal file first."""
        there, digest = self._in_target(file.id)
        return there is not None and digest is not None and not self._difference(file, meta, there, digest)

    def _difference(self, file: FileObject, meta: bytes, there: bytes, digest: str) -> str | None:
        """How an intact entry of the target with this metadata and SHA-256 differs from the file; None if equal."""
        if not _same_document(meta, there):
            return "metadata"
        return None if digest == (file.sha256 or self._source_digest(file)) else "bytes"

    def _source_digest(self, file: FileObject) -> str:
        digest = hashlib.sha256()
        for chunk in self._source_chunks(file):
            digest.update(chunk)
        return digest.hexdigest()

    def _target_meta(self, file_id: str) -> bytes | None:
        try:
            with Guard(self._target_name, "read", file_id):
                return self._target.read_meta(file_id)
        except FileNotFound:
            return None

    def _in_target(self, file_id: str) -> tuple[bytes | None, str | None]:
        """The metadata and SHA-256 of the target's entry. Both None if there is no entry; only the SHA-256 None if it
        is damaged.

        Raises if the entry cannot be read: this does not prove damage, so the entry must not be removed.
        """
        meta = self._target_meta(file_id)
        if meta is None:
            return None, None
        try:
            file = decode_meta(meta, file_id)
            size, digest = self._target_digest(file_id)
        except (CorruptMetadata, IntegrityError, FileNotFound):
            return meta, None
        return meta, digest if size == file.bytes and file.sha256 in {None, digest} else None

    def _target_digest(self, file_id: str) -> tuple[int, str]:
        size, digest = 0, hashlib.sha256()
        with Guard(self._target_name, "read", file_id), self._target.open_data(file_id) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                size += len(chunk)
                digest.update(chunk)
        return size, digest.hexdigest()

    def _check_limits(self, file: FileObject) -> None:
        limits = self._target.limits
        if limits.max_file_bytes is not None and file.bytes > limits.max_file_bytes:
            raise _NotCopied(f"{file.id} has {file.bytes} bytes; the target accepts at most {limits.max_file_bytes}")
        if len(file.filename) > limits.max_filename_chars:
            raise _NotCopied(
                f"the name of {file.id} exceeds the target's limit of {limits.max_filename_chars} characters"
            )

    def _write(self, file: FileObject, meta: bytes) -> str:
        """Publish the source's data and metadata in the target. Returns the SHA-256 of the data that was read."""
        guard = Guard(self._target_name, "copy", file.id)
        digest = hashlib.sha256()
        with guard:
            staged = self._target.stage(file.id)
        try:
            # Closes the source at once if the target fails, instead of when the generator is garbage-collected.
            with contextlib.closing(self._source_chunks(file)) as chunks:
                for chunk in chunks:
                    digest.update(chunk)
                    with guard:
                        staged.write(chunk)
                    if self._on_bytes is not None:
                        self._on_bytes(len(chunk))
            with guard:
                staged.publish(meta)
        except BaseException:
            _discard(staged, file.id)
            raise
        return digest.hexdigest()

    def _read_back(self, file_id: str, meta: bytes, digest: str) -> None:
        try:
            _, found = self._target_digest(file_id)
            if found == digest and self._target_meta(file_id) == meta:
                return
            reason = f"{file_id} came back from the target with different bytes than were written"
        except _TROUBLE:
            raise
        except HoldallError as error:
            reason = f"{file_id} could not be read back from the target: {error}"
        self._remove(file_id)
        raise _NotCopied(f"{reason}; it was removed there")

    def _remove(self, file_id: str) -> None:
        with contextlib.suppress(FileNotFound), Guard(self._target_name, "remove", file_id):
            self._target.remove(file_id)


def _discard(staged: StagedFile, file_id: str) -> None:
    try:
        staged.discard()
    except Exception as error:  # noqa: BLE001 - the first error is the one the caller must see
        not_cleaned_up("copy", file_id, error)


def _same_document(one: bytes, other: bytes) -> bool:
    # Another program may have written the same document with different whitespace. Both are known to be valid JSON.
    return one == other or json.loads(one) == json.loads(other)


def _is_same(source: FileStore, target: FileStore) -> bool:
    if source.backend is target.backend:
        return True
    one, other = source.url, target.url
    # A URL without a location, such as memory://, is a new store each time.
    return one is not None and other is not None and bool(one.host or one.path) and _place(one) == _place(other)


def _place(url: StoreURL) -> StoreURL:
    # The store's own option does not affect the location. Whether a backend's option does is unknown here.
    query = {name: value for name, value in url.query.items() if name != "max_bytes"}
    return dataclasses.replace(url, path=url.path.rstrip("/"), query=query)


def _name(store: FileStore) -> str:
    return str(store.url) if store.url is not None else type(store.backend).__name__
