"""Mutants of the state machine: faults that only a sequence, or a size nobody thinks of, brings out."""

from __future__ import annotations

import io
from typing import Any

from tests.conformance.mutants._base import MemoryBackend, StagedWrapper, mutant


class _Counts(StagedWrapper):
    def __init__(self, inner: Any, backend: Any) -> None:
        super().__init__(inner)
        self._backend = backend

    def publish(self, meta: bytes) -> None:
        self.inner.publish(meta)
        self._backend.failed = False

    def discard(self) -> None:
        self.inner.discard()
        self._backend.failed = True


@mutant("stateful.model_agrees")
class ListsNothingAfterAFailure(MemoryBackend):
    """After a create that failed, this handle lists nothing until the next one that succeeds."""

    failed = False

    def stage(self, file_id: str) -> Any:
        return _Counts(super().stage(file_id), self)

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        return iter(()) if self.failed else super().list_ids(after, before)


@mutant("stateful.model_agrees")
class CachesContent(MemoryBackend):
    """Content that was read once can be read again after another handle has deleted it, metadata and all."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._metas: dict[str, bytes] = {}

    def read_meta(self, file_id: str) -> bytes:
        if file_id not in self._metas:
            self._metas[file_id] = super().read_meta(file_id)
        return self._metas[file_id]

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        try:
            return super().open_data(file_id, start, stop)
        except FileNotFoundError:
            return io.BytesIO(b"")


@mutant("stateful.model_agrees")
class LosesByteSixtyFive(MemoryBackend):
    """A file of exactly 65 bytes reads as 64 bytes and a zero."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        data = super().open_data(file_id).read()
        if len(data) == 65:
            data = data[:64] + b"\0"
        return io.BytesIO(data[start:stop])
