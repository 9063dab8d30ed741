"""Mutants of what becomes of an id that is published twice."""

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
