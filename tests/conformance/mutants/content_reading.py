"""Mutants of the content checks that go wrong only far into a file, or with bytes that are what they look like."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import threading
from typing import Any

from tests.conformance.mutants._base import LocalBackend, MemoryBackend, StagedWrapper, mutant

from holdall.backend import StagedFile
from holdall.errors import FileNotFound, StorageError
from holdall.store import FileStore

MIB = 1024 * 1024


class _SeeksFromTheBuffer(io.BufferedReader):
    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        if whence == os.SEEK_CUR:
            return super().seek(self.raw.tell() + offset)
        return super().seek(offset, whence)


@mutant("content.ranges")
class SeeksFromTheBuffer(FileStore):
    """A relative seek counts from the end of what was fetched, not from where the reader is."""

    def open(self, file_id: str) -> Any:
        return _SeeksFromTheBuffer(super().open(file_id).detach())  # type: ignore[attr-defined]


@mutant("content.ranges", "content.large", also=("stateful",))
class LastBlockIsInclusive(FileStore):
    """Reads in blocks of a mebibyte; the end is taken for the last byte where a range spans two."""

    def get_content(self, file_id: str, start: int = 0, stop: int | None = None) -> bytes:
        if stop is not None and 0 < start <= stop and start // MIB != stop // MIB:
            stop = min(stop, self.get(file_id).bytes) + 1
        return super().get_content(file_id, start, stop)


@mutant("content.bytes_are_opaque")
class Decompresses(MemoryBackend):
    """Serves what was uploaded compressed as what it was before, as transcoding proxies do."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        data = super().open_data(file_id).read()
        with contextlib.suppress(OSError, EOFError):
            data = gzip.decompress(data)
        return io.BytesIO(data[start:stop])


@mutant("content.large")
class LosesAByteFarOut(MemoryBackend):
    """A range that begins beyond five million bytes begins one byte late."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        return super().open_data(file_id, start + (start > 5_000_000), stop)


class _LargestChunk(StagedWrapper):
    def write(self, chunk: Any) -> None:
        self.inner.write(memoryview(chunk)[: 4 * MIB])


@mutant("content.large")
class CutsAChunk(MemoryBackend):
    """Takes no more than 4 MiB in one call, and does not say so."""

    def stage(self, file_id: str) -> StagedFile:
        return _LargestChunk(super().stage(file_id))


class _FirstMebibytes(StagedWrapper):
    taken = 0

    def write(self, chunk: Any) -> None:
        if self.taken < 16 * MIB:
            self.inner.write(chunk)
        self.taken += len(chunk)


@mutant("content.streams_down_bounded_memory")
class EndsFarOut(LocalBackend):
    """What is written after 16 MiB is lost."""

    def stage(self, file_id: str) -> StagedFile:
        return _FirstMebibytes(super().stage(file_id))


@mutant("content.early_close_releases")
class LeaksWhatIsAbsent(LocalBackend):
    """Looking for what is not there leaves a descriptor open."""

    def read_meta(self, file_id: str) -> bytes:
        try:
            return super().read_meta(file_id)
        except FileNotFound:
            os.dup(self._held().fd)
            raise


class _FullParts(StagedWrapper):
    size = 0

    def write(self, chunk: Any) -> None:
        self.size += len(chunk)
        self.inner.write(chunk)

    def publish(self, meta: bytes) -> None:
        if self.size and self.size % (5 * MIB) == 0:
            raise StorageError("a part has no bytes")
        self.inner.publish(meta)


@mutant("content.large")
class SendsAnEmptyPart(MemoryBackend):
    """What is left when all parts of 5 MiB are full is sent as one more, which the server refuses."""

    def stage(self, file_id: str) -> StagedFile:
        return _FullParts(super().stage(file_id))


@mutant("content.bytes_are_opaque")
class NumericAffinity(MemoryBackend):
    """A column that takes for a number what looks like one."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        data = super().open_data(file_id).read()
        if len(data) < 20 and data.isdigit():
            data = str(int(data)).encode().rjust(len(data))
        return io.BytesIO(data[start:stop])


@mutant("content.early_close_releases")
class LeavesItsThread(MemoryBackend):
    """Begins a thread for each handle, to keep its connection alive, and lets it run."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        threading.Thread(target=threading.Event().wait, daemon=True).start()
