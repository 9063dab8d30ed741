"""Mutants of the content checks that go wrong only far into a file, or with bytes that are what they look like."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
from typing import Any

from tests.conformance.mutants._base import MemoryBackend, mutant

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


@mutant("content.ranges", also=("stateful",))
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
