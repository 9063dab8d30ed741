"""What a tenant may keep, by bytes and by count, enforced while the bytes come in.

Exact among the uploads of one process, however many run at once. What other processes store or delete is seen when the
files are counted anew: when a quota seems to be used up, and otherwise now and then, so that counting takes about a
hundredth of the time. In between, each of several processes can admit up to the quota.

The parts of uploads count with their bytes, until the upload is completed: its file then takes their place.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

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
    """The tenant has as much as it may. Nothing was stored."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The most a tenant may keep; None: no bound. Files that have expired count until they are swept."""

    max_bytes: int | None = None
    max_files: int | None = None


class _Size(NamedTuple):
    """What an entry counts: one file, or none if it is a part of an upload."""

    bytes: int
    files: int


class Ledger:
    """What one tenant keeps, and what its uploads in progress have taken. Safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._bytes = 0
        self._files = 0
        self._pending: dict[str, _Size] = {}
        # Files whose bytes are there in parts already, which count until they are removed: the parts, and how much of
        # the file counts twice, if it is stored.
        self._covered: dict[str, int] = {}
        self._covering: dict[str, frozenset[str]] = {}
        # While files are counted: those that came, with their size, and those that went.
        self._came: dict[str, _Size] | None = None
        self._went: set[str] = set()
        self._counted_at: float | None = None
        self._cost = 0.0

    def begin(self, file_id: str, meter: Metered, *, files: int = 1) -> None:
        """Note that an upload begins. Raises `QuotaExceeded`."""
        if self._is_due(_RECOUNT_SECONDS):
            self._count(meter, wait=self._counted_at is None)
        self._admit(file_id, _Size(0, files), meter)

    def add(self, file_id: str, size: int, meter: Metered) -> None:
        """Note bytes of an upload, before they are written. Raises `QuotaExceeded`; the upload has ended then."""
        self._admit(file_id, _Size(size, 0), meter)

    def end(self, file_id: str, *, stored: bool) -> None:
        """Note that an upload has ended. A second time does nothing."""
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
        """Note that a file is gone. None: nobody knows how large it was."""
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
        """As long as this lasts, the bytes of a file are not counted, but for those whose part is removed."""
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
        # Perhaps somebody else made room.
        if self._is_due(_RECOUNT_FULL_SECONDS):
            self._count(meter, wait=True)
        if self._take(file_id, size, meter.quota, last=True):
            return
        raise QuotaExceeded("cannot create: the quota of this tenant is used up; delete files, or raise the quota")

    def _take(self, file_id: str, size: _Size, quota: Quota, *, last: bool = False) -> bool:
        """Whether there was room. If not, the `last` time, the upload has no more of it: nothing will come of it."""
        with self._lock:
            free = file_id in self._covered
            files = self._files + size.files + sum(pending.files for pending in self._pending.values())
            total = self._bytes + (0 if free else size.bytes) - sum(max(0, twice) for twice in self._covered.values())
            total += sum(pending.bytes for name, pending in self._pending.items() if name not in self._covered)
            too_many = quota.max_files is not None and files > quota.max_files and bool(size.files)
            too_much = quota.max_bytes is not None and total > quota.max_bytes and not free
            if too_many or too_much:
                if last:
                    # At once: of two that share what is left, the second would be refused for the sake of the first.
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
        """Count what is stored, exactly, whatever this process stores and deletes meanwhile."""
        if not self._counting.acquire(blocking=wait):
            return
        try:
            started = self._clock()
            with self._lock:
                if self._counted_at is not None and started - self._counted_at < _RECOUNT_FULL_SECONDS:
                    return  # another thread has just done it
                self._came, self._went = {}, set()
            try:
                found = meter.sizes()
            except BaseException:
                with self._lock:
                    self._came = None
                raise
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
    """Lets in what the quota has room for, and keeps the ledger.

    `uploads` is where the parts of uploads are kept: the attribute of that name has room for as many bytes as are left.
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
        """What there is now, by id."""
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
    """The parts of uploads, which count as bytes, not as files."""

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
    """While this lasts, a file is made of these parts; it does not count itself before they are removed."""
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
        with contextlib.suppress(FileNotFound):  # of another store in the same storage
            yield file_id, _size(file_id, meta)


def _size(file_id: str, meta: bytes) -> int | None:
    try:
        return decode_meta(meta, file_id).bytes
    except CorruptMetadata:
        return None
