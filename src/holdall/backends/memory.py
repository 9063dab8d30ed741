"""Files in the memory of this process: for tests, for caches, and as an example of a small backend."""

from __future__ import annotations

import bisect
import io
import os
import threading
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Self

from holdall.backend import Backend, BackendOptions, Capability, StagedFile
from holdall.errors import FileNotFound, InvalidStoreURL, StorageError

if TYPE_CHECKING:
    from holdall.backend import Buffer
    from holdall.url import StoreURL

__all__ = ["MemoryBackend"]


class _Space:
    """Entries, and their ids in order. The lock makes publish and remove atomic.

    An id without an entry, or in the list twice, does not count: an interrupt between two changes may leave one.
    """

    def __init__(self) -> None:
        _spaces.add(self)
        self.lock = threading.Lock()
        self.entries: dict[str, tuple[bytes, bytes]] = {}
        self.ids: list[str] = []


_spaces: weakref.WeakSet[_Space] = weakref.WeakSet()
_shared: dict[str, _Space] = {}
_shared_lock = threading.Lock()


def _after_fork() -> None:
    # The other threads do not exist in the child, so a lock that one of them held would never be released.
    global _shared_lock  # noqa: PLW0603
    _shared_lock = threading.Lock()
    for space in _spaces:
        space.lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class MemoryBackend(Backend):
    """`memory://` is private to the store that opened it; `memory://name` is shared within the process.

    A path is part of the name: `memory://name/part` shares nothing with `memory://name`.
    """

    capabilities = (
        Capability.ATOMIC_PUBLISH
        | Capability.EXCLUSIVE_REMOVE
        | Capability.RANGED_READS
        | Capability.ORDERED_LISTING
        | Capability.EXACT_LISTING
    )
    quick = True

    class Options(BackendOptions):
        """This backend has no options."""

    def __init__(self, name: str | None = None) -> None:
        if name is None:
            self._space = _Space()
        else:
            with _shared_lock:
                self._space = _shared.setdefault(name, _Space())

    @classmethod
    def from_url(cls, url: StoreURL, options: Options) -> Self:
        if url.port is not None or url.username is not None:
            raise InvalidStoreURL(f"{url}: memory:// takes a name, without user or port")
        return cls((url.host + url.path).strip("/") or None)

    def stage(self, file_id: str) -> StagedFile:
        return _MemoryStagedFile(self._space, file_id)

    def read_meta(self, file_id: str) -> bytes:
        return self._entry(file_id)[0]

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        data = self._entry(file_id)[1]
        # BytesIO shares the memory of the bytes it is given; a slice of the whole does not copy either.
        return io.BytesIO(data[start:stop])

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        ids = self._space.ids
        while True:
            with self._space.lock:
                at = 0 if after is None else bisect.bisect_right(ids, after)
                if at == len(ids) or (before is not None and ids[at] >= before):
                    return
                after = ids[at]
                present = after in self._space.entries
            if present:
                yield after

    def remove(self, file_id: str) -> None:
        space = self._space
        with space.lock:
            if space.entries.pop(file_id, None) is None:
                raise _absent(file_id)
            del space.ids[bisect.bisect_left(space.ids, file_id)]

    def _entry(self, file_id: str) -> tuple[bytes, bytes]:
        try:
            return self._space.entries[file_id]
        except KeyError:
            raise _absent(file_id) from None


class _MemoryStagedFile(StagedFile):
    def __init__(self, space: _Space, file_id: str) -> None:
        self._space = space
        self._file_id = file_id
        self._data = bytearray()

    def write(self, chunk: Buffer) -> None:
        self._data += chunk

    def publish(self, meta: bytes) -> None:
        space = self._space
        entry = (bytes(meta), bytes(self._data))
        with space.lock:
            if self._file_id in space.entries:
                raise StorageError(
                    f"cannot create {self._file_id}: an entry with this id exists already", file_id=self._file_id
                )
            bisect.insort(space.ids, self._file_id)
            space.entries[self._file_id] = entry
        self.discard()

    def discard(self) -> None:
        self._data = bytearray()


def _absent(file_id: str) -> FileNotFound:
    return FileNotFound(f"there is no file {file_id}", file_id=file_id)
