"""Mutants of what becomes of an id that is published, or written, twice."""

from __future__ import annotations

import contextlib
from typing import Any

from tests.conformance.mutants._base import MemoryBackend, StagedWrapper, mutant

from holdall.errors import StorageError


class _Replaces(StagedWrapper):
    def __init__(self, inner: Any, backend: MemoryBackend, file_id: str) -> None:
        super().__init__(inner)
        self.backend, self.file_id = backend, file_id

    def publish(self, meta: bytes) -> None:
        try:
            self.inner.publish(meta)
        except StorageError:
            self.backend.remove(self.file_id)
            self.inner.publish(meta)
            raise


@mutant("create.error_means_not_stored")
class ReplacesAndRaises(MemoryBackend):
    """Says that an entry exists already when it has just written over it."""

    def stage(self, file_id: str) -> Any:
        return _Replaces(super().stage(file_id), self, file_id)


class _Mixes(StagedWrapper):
    def __init__(self, inner: Any, backend: Any, file_id: str) -> None:
        super().__init__(inner)
        self.backend, self.file_id = backend, file_id
        self.data = bytearray()

    def write(self, chunk: Any) -> None:
        self.data += chunk
        super().write(chunk)

    def publish(self, meta: bytes) -> None:
        try:
            self.inner.publish(meta)
        except StorageError:
            self.backend.mix(self.file_id, meta, bytes(self.data))


@mutant("create.error_means_not_stored")
class NewBytesUnderOldMetadata(MemoryBackend):
    """Under an id that is taken, replaces the bytes and keeps the metadata."""

    def stage(self, file_id: str) -> Any:
        return _Mixes(super().stage(file_id), self, file_id)

    def mix(self, file_id: str, meta: bytes, data: bytes) -> None:
        entries = self._space.entries
        entries[file_id] = (entries[file_id][0], data)


@mutant("create.error_means_not_stored")
class NewMetadataOverOldBytes(NewBytesUnderOldMetadata):
    """Under an id that is taken, replaces the metadata and keeps the bytes."""

    def mix(self, file_id: str, meta: bytes, data: bytes) -> None:
        entries = self._space.entries
        entries[file_id] = (meta, entries[file_id][1])


class _KeepsTheOld(StagedWrapper):
    def publish(self, meta: bytes) -> None:
        with contextlib.suppress(StorageError):
            self.inner.publish(meta)


@mutant("create.error_means_not_stored")
class KeepsTheOldInSilence(MemoryBackend):
    """Says that it has published under an id that was taken, and has not."""

    def stage(self, file_id: str) -> Any:
        return _KeepsTheOld(super().stage(file_id))


class _Rows(StagedWrapper):
    """Keeps the chunks as rows of a table, by the id and their number."""

    def __init__(self, inner: Any, rows: dict[tuple[str, int], bytes], file_id: str) -> None:
        super().__init__(inner)
        self.rows, self.file_id = rows, file_id
        self.number = 0

    def write(self, chunk: Any) -> None:
        view = memoryview(chunk)
        for start in range(0, len(view), 65_536):
            self.rows[self.file_id, self.number] = bytes(view[start : start + 65_536])
            self.number += 1

    def publish(self, meta: bytes) -> None:
        number = 0
        while (self.file_id, number) in self.rows:
            self.inner.write(self.rows.pop((self.file_id, number)))
            number += 1
        self.inner.publish(meta)

    def discard(self) -> None:
        """Nobody asks for rows without an entry."""


@mutant("create.error_means_not_stored")
class LeavesATail(MemoryBackend):
    """Rows of a write that was discarded stay, and are read after those of the next one by that id."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._rows: dict[tuple[str, int], bytes] = {}

    def stage(self, file_id: str) -> Any:
        return _Rows(super().stage(file_id), self._rows, file_id)


class _InOnePlace(StagedWrapper):
    def __init__(self, inner: Any, places: dict[str, bytearray], file_id: str) -> None:
        super().__init__(inner)
        self.places, self.file_id = places, file_id
        places[file_id] = bytearray()

    def write(self, chunk: Any) -> None:
        self.places[self.file_id] += chunk

    def publish(self, meta: bytes) -> None:
        self.inner.write(self.places.pop(self.file_id, b""))
        self.inner.publish(meta)

    def discard(self) -> None:
        self.places.pop(self.file_id, None)


@mutant("create.error_means_not_stored")
class StagesByTheId(MemoryBackend):
    """What is written waits in a place named for the id alone, which another write of that id empties."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._places: dict[str, bytearray] = {}

    def stage(self, file_id: str) -> Any:
        return _InOnePlace(super().stage(file_id), self._places, file_id)


class _RemovesTheBytes(StagedWrapper):
    def __init__(self, inner: Any, backend: Any, file_id: str) -> None:
        super().__init__(inner)
        self.backend, self.file_id = backend, file_id
        self.ended = file_id in backend._space.entries

    def publish(self, meta: bytes) -> None:
        self.inner.publish(meta)
        self.ended = True

    def discard(self) -> None:
        self.inner.discard()
        if not self.ended:
            self.ended = True
            self.backend.empty(self.file_id)


@mutant("create.error_means_not_stored")
class DiscardsForAll(MemoryBackend):
    """Discarding removes the bytes under the id, also where another write of it was published meanwhile."""

    def stage(self, file_id: str) -> Any:
        return _RemovesTheBytes(super().stage(file_id), self, file_id)

    def empty(self, file_id: str) -> None:
        entries = self._space.entries
        if file_id in entries:
            entries[file_id] = (entries[file_id][0], b"")


class _Aborts(StagedWrapper):
    def __init__(self, inner: Any, backend: Any) -> None:
        super().__init__(inner)
        self.backend = backend

    def publish(self, meta: bytes) -> None:
        try:
            self.inner.publish(meta)
        except StorageError:
            self.backend.aborted = True
            raise


@mutant("create.error_means_not_stored")
class AbortsTheConnection(MemoryBackend):
    """After a statement that failed, and no rollback, the connection answers nothing more."""

    aborted = False

    def stage(self, file_id: str) -> Any:
        return _Aborts(super().stage(file_id), self)

    def read_meta(self, file_id: str) -> bytes:
        if self.aborted:
            raise StorageError("current transaction is aborted, commands ignored until end of transaction block")
        return super().read_meta(file_id)
