"""Mutants of the concurrency checks: shared names, unlocked state, early visibility, races nobody wins."""

from __future__ import annotations

import contextlib
import glob
import io
import os
import shutil
import threading
import time
from typing import Any, ClassVar

from tests.conformance.mutants._base import LocalBackend, MemoryBackend, StagedWrapper, mutant

from holdall.backend import Debris
from holdall.errors import FileNotFound, StorageUnavailable
from holdall.url import StoreURL


class _LastOneOnly(StagedWrapper):
    """Writes to a buffer that all writes of one backend share."""

    shared: ClassVar[dict[int, bytearray]] = {}

    def __init__(self, inner: Any, key: int) -> None:
        super().__init__(inner)
        self._key = key
        self.shared[key] = bytearray()

    def write(self, chunk: Any) -> None:
        self.shared[self._key] += chunk

    def publish(self, meta: bytes) -> None:
        self.inner.write(self.shared[self._key])
        self.inner.publish(meta)


@mutant("concurrent.handle_shared_by_threads")
class OneBufferForAllWrites(MemoryBackend):
    """Right with one write at a time for each handle; two at once share a buffer."""

    def stage(self, file_id: str) -> Any:
        return _LastOneOnly(super().stage(file_id), id(self))


class _LosesUpdates(StagedWrapper):
    """Adds its id to an index by reading it, waiting, and writing it back."""

    def __init__(self, inner: Any, space: Any, file_id: str) -> None:
        super().__init__(inner)
        self._space = space
        self._file_id = file_id

    def publish(self, meta: bytes) -> None:
        index = list(self._space.ids)
        time.sleep(0.0005)
        self.inner.publish(meta)
        with self._space.lock:
            self._space.ids[:] = sorted({*index, self._file_id} & set(self._space.entries))


@mutant("concurrent.creates_all_survive", "concurrent.handle_shared_by_threads")
class IndexReadModifyWrite(MemoryBackend):
    """Of two publishes at once, one is missing from the index."""

    def stage(self, file_id: str) -> Any:
        return _LosesUpdates(super().stage(file_id), self._space, file_id)


class _Early(StagedWrapper):
    """Visible, with its metadata, from the first chunk on."""

    def __init__(self, inner: Any, backend: MemoryBackend, file_id: str) -> None:
        super().__init__(inner)
        self._backend = backend
        self._file_id = file_id
        self._space = backend._space
        self._seen = False

    def write(self, chunk: Any) -> None:
        self.inner.write(chunk)
        if not self._seen and len(self._space.entries) < 5:
            self._seen = True
            meta = (
                b'{"id": "%s", "object": "file", "filename": "a", "purpose": "batch", "bytes": 1, '
                b'"created_at": 1, "status": "uploaded"}' % self._file_id.encode()
            )
            with self._space.lock:
                self._space.entries[self._file_id] = (meta, b"x")
                self._space.ids[:] = sorted(self._space.entries)

    def publish(self, meta: bytes) -> None:
        self._take_back()
        self.inner.publish(meta)

    def discard(self) -> None:
        self._take_back()
        self.inner.discard()

    def _take_back(self) -> None:
        if self._seen:
            self._seen = False
            with self._space.lock:
                self._space.entries.pop(self._file_id, None)
                self._space.ids[:] = sorted(self._space.entries)


@mutant("concurrent.reader_never_sees_partial")
class VisibleWhileWriting(MemoryBackend):
    """A reader that looks during an upload sees the file."""

    def stage(self, file_id: str) -> Any:
        return _Early(super().stage(file_id), self, file_id)


class _MetaBeforeData(StagedWrapper):
    """Publishes half of the bytes, then all of them."""

    def __init__(self, inner: Any, space: Any, file_id: str) -> None:
        super().__init__(inner)
        self._space = space
        self._file_id = file_id

    def publish(self, meta: bytes) -> None:
        self.inner.publish(meta)
        whole = self._space.entries[self._file_id][1]
        self._space.entries[self._file_id] = (meta, whole[: len(whole) // 2])
        time.sleep(0.001)
        self._space.entries[self._file_id] = (meta, whole)


@mutant("concurrent.reader_never_sees_partial")
class AppearsBeforeItIsWhole(MemoryBackend):
    """For a millisecond after it is listed, a file has half of its bytes."""

    def stage(self, file_id: str) -> Any:
        return _MetaBeforeData(super().stage(file_id), self._space, file_id)


@mutant("concurrent.delete_race_one_winner")
class EverybodyDeletes(MemoryBackend):
    """Looks, waits, then removes: all who looked in time have removed it."""

    def remove(self, file_id: str) -> None:
        self.read_meta(file_id)
        time.sleep(0.0005)
        try:
            super().remove(file_id)
        except FileNotFound:
            return


@mutant("concurrent.delete_race_one_winner")
class LocksItsProcessOnly(LocalBackend):
    """Looks and removes under a lock that other processes do not see."""

    _lock = threading.Lock()

    def remove(self, file_id: str) -> None:
        with self._lock:
            self.read_meta(file_id)
            time.sleep(0.002)
            with contextlib.suppress(FileNotFound):
                super().remove(file_id)


@mutant("concurrent.creates_all_survive")
class MakesItsRootOnce(LocalBackend):
    """Looks whether its directory is there, and makes it: of two who look at once, one fails."""

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Any:
        if not os.path.isdir(url.path):
            time.sleep(0.01)
            os.mkdir(url.path)
        return super().from_url(url, options)


@mutant("concurrent.delete_race_one_winner")
class RawErrorForTheLoser(MemoryBackend):
    """The one who comes second gets an error of the dictionary."""

    def remove(self, file_id: str) -> None:
        self.read_meta(file_id)
        time.sleep(0.0005)
        with self._space.lock:
            del self._space.entries[file_id]
            self._space.ids.remove(file_id)


@mutant("concurrent.processes_create")
class RemembersInTheProcess(LocalBackend):
    """Lists only what a process had seen when it began, and what it made itself."""

    _made: ClassVar[dict[str, set[str]]] = {}

    def stage(self, file_id: str) -> Any:
        self._made.setdefault(self._root, set()).add(f"{os.getpid()}{file_id}")
        return super().stage(file_id)

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        mine = {name[len(str(os.getpid())) :] for name in self._made.get(self._root, ())}
        return (i for i in super().list_ids(after, before) if i in mine)


class _SwallowsCancellation(StagedWrapper):
    """Publishes what is there when it is discarded."""

    def __init__(self, inner: Any, file_id: str) -> None:
        super().__init__(inner)
        self._file_id = file_id
        self._size = 0
        self._published = False

    def write(self, chunk: Any) -> None:
        self._size += len(chunk)
        self.inner.write(chunk)

    def publish(self, meta: bytes) -> None:
        self._published = True
        self.inner.publish(meta)

    def discard(self) -> None:
        if not self._published and self._size:
            self.inner.publish(
                b'{"id": "%s", "object": "file", "filename": "a", "purpose": "batch", "bytes": %d, '
                b'"created_at": 1790000000, "status": "uploaded"}' % (self._file_id.encode(), self._size)
            )
        self.inner.discard()


@mutant("concurrent.cancelled_create_leaves_nothing", "concurrent.handle_shared_by_threads")
class PublishesOnDiscard(MemoryBackend):
    """What object-store writers do when they are closed after a failure."""

    def stage(self, file_id: str) -> Any:
        return _SwallowsCancellation(super().stage(file_id), file_id)


@mutant("concurrent.handle_shared_by_threads")
class OnePositionForAllReaders(MemoryBackend):
    """The last content that was opened is what every reader of the handle gets."""

    _last: bytes = b""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        with super().open_data(file_id) as stream:
            self._last = stream.read()
        time.sleep(0.0002)
        return io.BytesIO(self._last[start:stop])


@mutant("concurrent.delete_race_one_winner")
class LooksThenRemoves(MemoryBackend):
    """Looks, adds up what will be freed, removes what is still there: no waiting, and still several succeed."""

    freed = 0

    def remove(self, file_id: str) -> None:
        self.freed += sum(map(len, self._entry(file_id)))
        with contextlib.suppress(FileNotFound):
            super().remove(file_id)


class _HoldsTheLock(StagedWrapper):
    def __init__(self, inner: Any, lock: threading.Lock) -> None:
        if not lock.acquire(timeout=1.5):
            raise StorageUnavailable("the database is locked")
        super().__init__(inner)
        self._unlock: Any = lock.release

    def publish(self, meta: bytes) -> None:
        self.inner.publish(meta)
        self._end()

    def discard(self) -> None:
        self.inner.discard()
        self._end()

    def _end(self) -> None:
        unlock, self._unlock = self._unlock, lambda: None
        unlock()


@mutant("concurrent.handle_shared_by_threads")
class OneUploadAtATime(MemoryBackend):
    """An upload is a transaction, which others wait for as long as a database does."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._lock = threading.Lock()

    def stage(self, file_id: str) -> Any:
        return _HoldsTheLock(super().stage(file_id), self._lock)


@mutant("concurrent.creates_all_survive")
class SweepsUploads(LocalBackend):
    """Takes every staged write for a leftover, however young it is."""

    def debris(self) -> Any:
        for path in glob.glob(os.path.join(glob.escape(self._root), ".staging", "*.new")):
            yield Debris(path, "unfinished write", None, 0, modified_at=0)

    def discard_debris(self, debris: Debris) -> None:
        shutil.rmtree(debris.name, ignore_errors=True)
