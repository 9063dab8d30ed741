"""What a tenant may keep, by bytes and by count, enforced while the bytes come in.

Exact among the uploads of one process, however many run at once. What other processes store or delete is seen when the
files are counted anew: when a quota seems to be used up, and otherwise now and then, so that counting takes about a
hundredth of the time. In between, each of several processes can admit up to the quota.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from holdall.backend import Backend, StagedFile
from holdall.errors import CorruptMetadata, StorageFull
from holdall.model import decode_meta
from holdall.wrappers._base import Wrapper

if TYPE_CHECKING:
    from holdall.backend import Buffer

__all__ = ["Ledger", "Metered", "Quota", "QuotaExceeded"]

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


class Ledger:
    """What one tenant keeps, and what its uploads in progress have taken. Safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._bytes = 0
        self._files = 0
        self._pending: dict[str, int] = {}
        # While files are counted: those that came, with their size, and those that went.
        self._came: dict[str, int] | None = None
        self._went: set[str] = set()
        self._counted_at: float | None = None
        self._cost = 0.0

    def begin(self, file_id: str, backend: Backend, quota: Quota) -> None:
        """Note that an upload begins. Raises `QuotaExceeded`."""
        if self._is_due(_RECOUNT_SECONDS):
            self._count(backend, wait=self._counted_at is None)
        self._admit(file_id, 0, backend, quota)

    def add(self, file_id: str, size: int, backend: Backend, quota: Quota) -> None:
        """Note bytes of an upload, before they are written. Raises `QuotaExceeded`."""
        self._admit(file_id, size, backend, quota)

    def end(self, file_id: str, *, stored: bool) -> None:
        """Note that an upload has ended. A second time does nothing."""
        with self._lock:
            size = self._pending.pop(file_id, None)
            if stored and size is not None:
                self._bytes += size
                self._files += 1
                if self._came is not None:
                    self._came[file_id] = size

    def remove(self, file_id: str, size: int | None) -> None:
        """Note that a file is gone. None: nobody knows how large it was."""
        with self._lock:
            self._files = max(0, self._files - 1)
            self._bytes = max(0, self._bytes - (size or 0))
            if self._came is not None:
                self._went.add(file_id)
            if size is None:
                self._counted_at = None

    def _admit(self, file_id: str, size: int, backend: Backend, quota: Quota) -> None:
        if self._take(file_id, size, quota):
            return
        # Perhaps somebody else made room.
        if self._is_due(_RECOUNT_FULL_SECONDS):
            self._count(backend, wait=True)
            if self._take(file_id, size, quota):
                return
        raise QuotaExceeded("cannot create: the quota of this tenant is used up; delete files, or raise the quota")

    def _take(self, file_id: str, size: int, quota: Quota) -> bool:
        with self._lock:
            pending = self._pending.get(file_id)
            files = self._files + len(self._pending) + (pending is None)
            total = self._bytes + sum(self._pending.values()) + size
            too_many = quota.max_files is not None and files > quota.max_files
            too_much = quota.max_bytes is not None and total > quota.max_bytes
            if too_many or too_much:
                return False
            self._pending[file_id] = (pending or 0) + size
            return True

    def _is_due(self, least: float) -> bool:
        with self._lock:
            if self._counted_at is None:
                return True
            return self._clock() - self._counted_at >= max(least, self._cost * _RECOUNT_COST)

    def _count(self, backend: Backend, *, wait: bool) -> None:
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
                found = _sizes(backend)
            except BaseException:
                with self._lock:
                    self._came = None
                raise
            with self._lock:
                found |= self._came
                for gone in self._went | self._pending.keys():
                    found.pop(gone, None)
                self._came = None
                self._bytes, self._files = sum(found.values()), len(found)
                self._counted_at = self._clock()
                self._cost = self._counted_at - started
        finally:
            self._counting.release()


class Metered(Wrapper):
    """Lets in what the quota has room for, and keeps the ledger."""

    def __init__(self, inner: Backend, ledger: Ledger, quota: Quota) -> None:
        super().__init__(inner)
        self._ledger = ledger
        self._quota = quota

    def stage(self, file_id: str) -> StagedFile:
        """See `Backend.stage`. Raises `QuotaExceeded`, as writing to what it returns does."""
        self._ledger.begin(file_id, self.inner, self._quota)
        try:
            return _MeteredFile(self, file_id, self.inner.stage(file_id))
        except BaseException:
            self._ledger.end(file_id, stored=False)
            raise

    def add(self, file_id: str, size: int) -> None:
        """Note bytes of an upload."""
        self._ledger.add(file_id, size, self.inner, self._quota)

    def end(self, file_id: str, *, stored: bool) -> None:
        """Note the end of an upload."""
        self._ledger.end(file_id, stored=stored)

    def remove(self, file_id: str) -> None:
        """See `Backend.remove`."""
        size = _size(file_id, self.inner.read_meta(file_id))
        self.inner.remove(file_id)
        self._ledger.remove(file_id, size)


class _MeteredFile(StagedFile):
    def __init__(self, owner: Metered, file_id: str, inner: StagedFile) -> None:
        self._owner, self._file_id, self._inner = owner, file_id, inner

    def write(self, chunk: Buffer) -> None:
        self._owner.add(self._file_id, len(chunk))
        self._inner.write(chunk)

    def publish(self, meta: bytes) -> None:
        self._inner.publish(meta)
        self._owner.end(self._file_id, stored=True)

    def discard(self) -> None:
        try:
            self._inner.discard()
        finally:
            self._owner.end(self._file_id, stored=False)


def _sizes(backend: Backend) -> dict[str, int]:
    return {file_id: _size(file_id, meta) or 0 for file_id, meta in backend.read_metas(backend.list_ids())}


def _size(file_id: str, meta: bytes) -> int | None:
    try:
        return decode_meta(meta, file_id).bytes
    except CorruptMetadata:
        return None
