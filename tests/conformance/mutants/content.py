"""Mutants of the content checks: bytes that get lost, repeated, decoded or kept in memory."""

from __future__ import annotations

import io
from typing import Any

from tests.conformance.mutants._base import LocalBackend, MemoryBackend, StagedWrapper, mutant


class _Collects(StagedWrapper):
    """Keeps the chunks until publish, which may change them."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.chunks: list[bytes] = []

    def write(self, chunk: Any) -> None:
        self.chunks.append(bytes(chunk))

    def publish(self, meta: bytes) -> None:
        for chunk in self.change(self.chunks):
            self.inner.write(chunk)
        self.inner.publish(meta)

    def change(self, chunks: list[bytes]) -> list[bytes]:
        return chunks


@mutant("content.streams_up_bounded_memory")
class CollectsChunks(LocalBackend):
    """Writes everything at the end, from memory."""

    def stage(self, file_id: str) -> Any:
        return _Collects(super().stage(file_id))


@mutant("content.streams_down_bounded_memory")
class ReadsWhole(LocalBackend):
    """Delivers a file from memory."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        with super().open_data(file_id, start, stop) as stream:
            return io.BytesIO(stream.read())


@mutant("content.bytes_are_opaque")
class TranslatesNewlines(MemoryBackend):
    """Text mode: CR LF becomes LF when read; the size is right again by padding."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        data = super().open_data(file_id).read()
        if len(data) < 100:
            data = data.replace(b"\r\n", b"\n ")
        return io.BytesIO(data[start:stop])
