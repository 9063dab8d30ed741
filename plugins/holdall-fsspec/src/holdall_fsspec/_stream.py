"""The data of an entry as a stream that requests ranges on demand."""

from __future__ import annotations

import io
from collections.abc import Callable

__all__ = ["RangeStream"]

_FIRST_BYTES = 256 * 1024
_MOST_BYTES = 2 * 1024 * 1024


class RangeStream(io.RawIOBase):
    """The bytes `start` to `stop` of a source of ranges. Holds no connection, and has its own position.

    Sequential reads are prefetched in ranges whose size doubles up to 2 MiB, never beyond `stop`.
    """

    def __init__(self, fetch: Callable[[int, int], bytes], start: int, stop: int) -> None:
        super().__init__()
        self._fetch = fetch
        self._at = start
        self._stop = stop
        self._ahead = b""
        self._ahead_at = start
        self._step = _FIRST_BYTES

    def readable(self) -> bool:
        """Always True."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """The requested number of bytes, fewer only at the end of the range; large reads need few requests."""
        self._check_open()
        left = self._stop - self._at
        wanted = left if size is None or size < 0 else min(size, left)
        parts = []
        while wanted > 0:
            part = self._take(wanted)
            if not part:
                break
            parts.append(part)
            wanted -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readall(self) -> bytes:
        """The rest of the range."""
        return self.read(-1)

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """See `read`."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Drop prefetched data."""
        self._ahead = b""
        super().close()

    def _take(self, wanted: int) -> bytes:
        """At most `wanted` bytes; none if the data ends before the range does."""
        offset = self._at - self._ahead_at
        if offset >= len(self._ahead):
            size = min(max(self._step, min(wanted, _MOST_BYTES)), self._stop - self._at)
            self._step = min(self._step * 2, _MOST_BYTES)
            # The old piece is dropped before the new one is fetched, so that only one is in memory.
            self._ahead, self._ahead_at, offset = b"", self._at, 0
            self._ahead = self._fetch(self._at, self._at + size)
        piece = self._ahead[offset : offset + wanted]
        self._at += len(piece)
        return piece

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file")
