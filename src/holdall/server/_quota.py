"""Quotas of tenants, in bytes and files, enforced while data arrives.

Exact across the uploads of one process, however many run at once. Changes by other processes are seen when the files
are recounted: when a quota seems to be used up, and otherwise periodically, such that counting takes about a hundredth
of the time. In between, each of several processes can admit up to the quota.

The parts of an upload count with their bytes until the upload is completed; then its file counts instead.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from holdall import _arguments as arguments
from holdall.backend import Backend, StagedFile
from holdall.errors import CorruptMetadata, FileNotFound, StorageFull
from holdall.model import decode_meta
from holdall.wrappers._base import Wrapper

if TYPE_CHECKING:
    from holdall.backend import Buffer

__all__ = ["Ledger", "Metered", "Quota", "QuotaExceeded", "covering"]

_RECOUNT_SECONDS = 60.0
_RECOUNT_FULL_SECONDS = 2.0
_RECOUNT_COST = 100


class QuotaExceeded(StorageFull):
    """The tenant's quota is used up. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that a tenant may store; None: unlimited. Expired files count until they are swept.

    Raises `InvalidRequest` if a number is not a whole one, 0 or more.
    """

    max_bytes: int | None = None
    max_files: int | None = None

    def __post_init__(self) -> None:
        arguments.count("max_bytes of a quota", self.max_bytes)
        arguments.count("max_files of a quota", self.max_files)


class _Size(NamedTuple):
    """How much an entry counts: as one file, or as none if it is a part of an upload."""

    bytes: int
    files: int


class Ledger:
    """What one tenant has stored, and what its uploads in progress have reserved. Thread-safe."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._bytes = 0
        self._files = 0
        self._pending: dict[str, _Size] = {}
        # Files that are being assembled from parts. The parts count until they are removed; the value is how much of
        # the file would count twice, if it is stored.
        self._covered: dict[str, int] = {}
        self._covering: dict[str, frozenset[str]] = {}
        # During a recount: entries added since it began, with their size, and entries removed.
        self._came: dict[str, _Size] | None = None
        self._went: set[str] = set()
        self._counted_at: float | None = None
        self._cost = 0.0

    def begin(self, file_id: str, meter: Metered, *, files: int = 1) -> None:
        """Reserve room for an upload that begins. Raises `QuotaExceeded`."""
        if self._is_due(_RECOUNT_SECONDS):
            self._count(meter, wait=self._counted_at is None)
        self._admit(file_id, _Size(0, files), meter)

    def add(self, file_id: str, size: int, meter: Metered) -> None:
        """Reserve bytes for an upload, before they are written. Raises `QuotaExceeded`, after which the upload has no
        reservation.
        """
        self._admit(file_id, _Size(size, 0), meter)

    def end(self, file_id: str, *, stored: bool) -> None:
        """Record that an upload has ended. A second call does nothing."""
        with self._lock:
            size = self._pending.pop(file_id, None)
            if stored and size is not None:
                self._bytes += size.bytes
                self._files += size.files
                if file_id in self._covered:
                    self._covered[file_id] += size.bytes
                if self._came is not None:
                    self._came[file_id] = size

    def remove(self, file_id: str, size: int | None, *, files: int = 1) -> None:
        """Record that a file was removed; with size None, its size is unknown."""
        with self._lock:
            self._files = max(0, self._files - files)
            self._bytes = max(0, self._bytes - (size or 0))
            for covered, parts in self._covering.items():
                if file_id in parts or file_id == covered:
                    self._covered[covered] -= size or 0
            if self._came is not None:
                self._went.add(file_id)
            if size is None:
                self._counted_at = None

    @contextlib.contextmanager
    def covering(self, file_id: str, parts: Iterable[str]) -> Iterator[None]:
        """Within this context, the bytes of a file do not count, except those whose part has been removed."""
        with self._lock:
            self._covered[file_id] = 0
            self._covering[file_id] = frozenset(parts)
        try:
            yield
        finally:
            with self._lock:
                del self._covered[file_id], self._covering[file_id]

    def _admit(self, file_id: str, size: _Size, meter: Metered) -> None:
        if self._take(file_id, size, meter.quota):
            return
        # Another process may have freed some room.
        if self._is_due(_RECOUNT_FULL_SECONDS):
            self._count(meter, wait=True)
        if self._take(file_id, size, meter.quota, last=True):
            return
        raise QuotaExceeded("cannot create: the quota of this tenant is used up; delete files, or raise the quota")

    def _take(self, file_id: str, size: _Size, quota: Quota, *, last: bool = False) -> bool:
        """Whether there was room. If not and `last` is set, releases the upload's reservation, because it will fail."""
        with self._lock:
            free = file_id in self._covered
            files = self._files + size.files + sum(pending.files for pending in self._pending.values())
            total = self._bytes + (0 if free else size.bytes) - sum(max(0, twice) for twice in self._covered.values())
            total += sum(pending.bytes for name, pending in self._pending.items() if name not in self._covered)
            too_many = quota.max_files is not None and files > quota.max_files and bool(size.files)
            too_much = quota.max_bytes is not None and total > quota.max_bytes and not free
            if too_many or too_much:
                if last:
                    # Released at once: otherwise, of two uploads that share the remaining room, the second would be
                    # refused because of the first.
                    self._pending.pop(file_id, None)
                return False
            before = self._pending.get(file_id, _Size(0, 0))
            self._pending[file_id] = _Size(before.bytes + size.bytes, before.files + size.files)
            return True

    def _is_due(self, least: float) -> bool:
        with self._lock:
            if self._counted_at is None:
                return True
            return self._clock() - self._counted_at >= max(least, self._cost * _RECOUNT_COST)

    def _count(self, meter: Metered, *, wait: bool) -> None:
        """Count what is stored, exactly, even while this process stores and deletes."""
        if not self._counting.acquire(blocking=wait):
            return
        try:
            started = self._clock()
            with self._lock:
                if self._counted_at is not None and started - self._counted_at < _RECOUNT_FULL_SECONDS:
                    return  # another thread has just done it
                self._came, self._went = {}, set()
            found = meter.sizes()
            with self._lock:
                found |= self._came
                for gone in self._went | self._pending.keys():
                    found.pop(gone, None)
                self._came = None
                self._bytes = sum(size.bytes for size in found.values())
                self._files = sum(size.files for size in found.values())
                self._counted_at = self._clock()
                self._cost = self._counted_at - started
        finally:
            self._counting.release()


class Metered(Wrapper):
    """Enforces the quota and updates the ledger.

    If `uploads` is given, it is the backend for the parts of uploads; the attribute of that name counts the parts'
    bytes against the same quota.
    """

    def __init__(self, inner: Backend, ledger: Ledger, quota: Quota, uploads: Backend | None = None) -> None:
        super().__init__(inner)
        self.ledger = ledger
        self.quota = quota
        self.uploads = None if uploads is None else _Parts(uploads, self)

    def stage(self, file_id: str) -> StagedFile:
        """See `Backend.stage`. Raises `QuotaExceeded`, as writing to what it returns does."""
        return _staged(self, self.inner, file_id, files=1)

    def remove(self, file_id: str) -> None:
        """See `Backend.remove`."""
        size = _size(file_id, self.inner.read_meta(file_id))
        self.inner.remove(file_id)
        self.ledger.remove(file_id, size)

    def sizes(self) -> dict[str, _Size]:
        """The current entries, by id."""
        found = {file_id: _Size(size or 0, 1) for file_id, size in _sizes(self.inner)}
        if self.uploads is not None:
            found |= {file_id: _Size(size or 0, 0) for file_id, size in _sizes(self.uploads.inner)}
        return found

    def close(self) -> None:
        """See `Backend.close`."""
        try:
            if self.uploads is not None:
                self.uploads.close()
        finally:
            super().close()


class _Parts(Wrapper):
    """The parts of uploads, which count as bytes but not as files."""

    def __init__(self, inner: Backend, owner: Metered) -> None:
        super().__init__(inner)
        self._owner = owner

    def stage(self, file_id: str) -> StagedFile:
        return _staged(self._owner, self.inner, file_id, files=0)

    def remove(self, file_id: str) -> None:
        size = _size(file_id, self.inner.read_meta(file_id))
        self.inner.remove(file_id)
        self._owner.ledger.remove(file_id, size, files=0)


def covering(backend: Backend, file_id: str, parts: Iterable[str]) -> contextlib.AbstractContextManager[None]:
    """A context within which a file is assembled from these parts; it does not count itself until they are removed."""
    return backend.ledger.covering(file_id, parts) if isinstance(backend, Metered) else contextlib.nullcontext()


def _staged(meter: Metered, backend: Backend, file_id: str, *, files: int) -> StagedFile:
    meter.ledger.begin(file_id, meter, files=files)
    try:
        return _MeteredFile(meter, file_id, backend.stage(file_id))
    except BaseException:
        meter.ledger.end(file_id, stored=False)
        raise


class _MeteredFile(StagedFile):
    def __init__(self, meter: Metered, file_id: str, inner: StagedFile) -> None:
        self._meter, self._file_id, self._inner = meter, file_id, inner

    def write(self, chunk: Buffer) -> None:
        self._meter.ledger.add(self._file_id, len(chunk), self._meter)
        self._inner.write(chunk)

    def publish(self, meta: bytes) -> None:
        self._inner.publish(meta)
        self._meter.ledger.end(self._file_id, stored=True)

    def discard(self) -> None:
        try:
            self._inner.discard()
        finally:
            self._meter.ledger.end(self._file_id, stored=False)


def _sizes(backend: Backend) -> Iterator[tuple[str, int | None]]:
    for file_id, meta in backend.read_metas(backend.list_ids()):
        with contextlib.suppress(FileNotFound):  # belongs to another store in the same storage
            yield file_id, _size(file_id, meta)


def _size(file_id: str, meta: bytes) -> int | None:
    try:
        return decode_meta(meta, file_id).bytes
    except CorruptMetadata:
        return None
