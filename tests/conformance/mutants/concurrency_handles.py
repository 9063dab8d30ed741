"""Mutants of the concurrency checks: handles that are right for one thread, or for one thing at a time."""

from __future__ import annotations

import io
import os
import threading
from typing import Any

from tests.conformance.mutants._base import LocalBackend, MemoryBackend, StagedWrapper, mutant

from holdall.errors import StorageError, StorageUnavailable


class _Resident:
    """Works on the thread that made it."""

    def __init__(self) -> None:
        self._home = threading.get_ident()

    def check(self) -> None:
        if threading.get_ident() != self._home:
            raise StorageError("made in another thread, where alone it can be used")


class _ResidentStagedFile(StagedWrapper):
    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self._resident = _Resident()

    def write(self, chunk: Any) -> None:
        self._resident.check()
        self.inner.write(chunk)


@mutant("concurrent.handle_shared_by_threads")
class UploadsStayOnTheirThread(MemoryBackend):
    """Has a connection for each upload, of a kind that no other thread may use."""

    def stage(self, file_id: str) -> Any:
        return _ResidentStagedFile(super().stage(file_id))


class _ResidentStream(io.BytesIO):
    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._resident = _Resident()

    def readinto(self, buffer: Any) -> int:
        self._resident.check()
        return super().readinto(buffer)

    def read(self, size: int | None = -1) -> bytes:
        self._resident.check()
        return super().read(size)


@mutant("concurrent.handle_shared_by_threads")
class StreamsStayOnTheirThread(MemoryBackend):
    """Has a connection for each reader, of a kind that no other thread may use."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        return _ResidentStream(self._entry(file_id)[1][start:stop])


@mutant("concurrent.handle_shared_by_threads")
class ListingHoldsTheLock(MemoryBackend):
    """Whoever lists holds the lock until the end of the listing."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._lock = threading.Lock()

    def _locked(self) -> None:
        if not self._lock.acquire(timeout=1.5):
            raise StorageUnavailable("the database is locked")

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        self._locked()
        try:
            yield from super().list_ids(after, before)
        finally:
            self._lock.release()

    def remove(self, file_id: str) -> None:
        self._locked()
        try:
            super().remove(file_id)
        finally:
            self._lock.release()


@mutant("concurrent.handle_shared_by_threads")
class OneCursorAHandle(MemoryBackend):
    """A listing ends when another one begins, as with cursors of one connection."""

    _latest = 0

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        self._latest += 1
        mine = self._latest
        for file_id in super().list_ids(after, before):
            if mine != self._latest:
                return
            yield file_id


@mutant("concurrent.handle_shared_by_threads")
class OneDescriptorAFile(LocalBackend):
    """Readers of a file share its descriptor: each goes to its place and reads, and another may go between."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._shared: dict[str, int] = {}

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        with super().open_data(file_id) as stream:
            if file_id not in self._shared:
                self._shared[file_id] = os.dup(stream.fileno())
        return _Shared(self._shared[file_id], start, stop)

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        if (fd := self._shared.pop(file_id, None)) is not None:
            os.close(fd)

    def close(self) -> None:
        for fd in self._shared.values():
            os.close(fd)
        self._shared.clear()
        super().close()


class _Shared(io.RawIOBase):
    def __init__(self, fd: int, start: int, stop: int | None) -> None:
        super().__init__()
        self._fd, self._at, self._stop = fd, start, stop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = len(buffer) if self._stop is None else max(0, min(len(buffer), self._stop - self._at))
        os.lseek(self._fd, self._at, os.SEEK_SET)
        chunk = os.read(self._fd, count)
        buffer[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)


@mutant("concurrent.handle_shared_by_threads")
class ListingsStayOnTheirThread(MemoryBackend):
    """Has a cursor for each listing, of a kind that no other thread may use."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        resident = _Resident()
        for file_id in super().list_ids(after, before):
            resident.check()
            yield file_id


@mutant("concurrent.handle_shared_by_threads")
class ClosesWhereItWasOpened(MemoryBackend):
    """Has a connection that the thread alone may close that has opened it."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._resident = _Resident()

    def close(self) -> None:
        self._resident.check()
        super().close()


class _Pool:
    """Ten connections, none of which is waited for."""

    def __init__(self) -> None:
        self._free = threading.Semaphore(10)

    def take(self) -> None:
        if not self._free.acquire(blocking=False):
            raise StorageUnavailable("connection pool exhausted")

    def give_back(self) -> None:
        self._free.release()


class _PooledStream(io.BytesIO):
    def __init__(self, data: bytes, pool: _Pool) -> None:
        super().__init__(data)
        self._pool: _Pool | None = None
        pool.take()
        self._pool = pool

    def close(self) -> None:
        # Without a place in the pool if that was full: the interpreter closes such a stream as well.
        if not self.closed and self._pool is not None:
            self._pool.give_back()
        super().close()


@mutant("concurrent.handle_shared_by_threads")
class TenReaders(MemoryBackend):
    """A reader keeps one of ten connections until it is closed."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._pool = _Pool()

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        return _PooledStream(super().open_data(file_id, start, stop).read(), self._pool)


class _PooledStagedFile(StagedWrapper):
    def __init__(self, inner: Any, pool: _Pool) -> None:
        super().__init__(inner)
        pool.take()
        self._pool: _Pool | None = pool

    def publish(self, meta: bytes) -> None:
        self.inner.publish(meta)
        self._end()

    def discard(self) -> None:
        self.inner.discard()
        self._end()

    def _end(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.give_back()


@mutant("concurrent.handle_shared_by_threads")
class TenUploads(MemoryBackend):
    """An upload keeps one of ten connections until it ends."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._pool = _Pool()

    def stage(self, file_id: str) -> Any:
        return _PooledStagedFile(super().stage(file_id), self._pool)


class _InTheTransaction(StagedWrapper):
    """Its chunks are there once the connection commits, whoever asks for that."""

    def __init__(self, inner: Any, uncommitted: list[_InTheTransaction]) -> None:
        super().__init__(inner)
        self.uncommitted = uncommitted
        self.chunks: list[bytes] = []
        self.ended = False

    def write(self, chunk: Any) -> None:
        self.chunks.append(bytes(chunk))
        self.uncommitted.append(self)

    def publish(self, meta: bytes) -> None:
        self.ended = True
        self.uncommitted.clear()
        self.inner.write(b"".join(self.chunks))
        self.inner.publish(meta)

    def discard(self) -> None:
        if not self.ended:
            self.ended = True
            for staged in self.uncommitted:
                staged.chunks.pop()
            self.uncommitted.clear()


@mutant("concurrent.handle_shared_by_threads")
class RollsBackTheOthers(MemoryBackend):
    """To discard is to roll back: what other uploads have written through the same connection goes too."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._uncommitted: list[_InTheTransaction] = []

    def stage(self, file_id: str) -> Any:
        return _InTheTransaction(super().stage(file_id), self._uncommitted)
