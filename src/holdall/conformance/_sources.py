"""Sources that behave as real ones may: short reads, failures, endless data, and no method but `read`."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["Dying", "Endless", "Observed", "OnlyRead", "Pattern", "chunked", "dying_iterator", "kinds_of", "reused"]


class OnlyRead:
    """Has only `read(n)`, which returns at most `most` bytes. Counts the bytes read."""

    def __init__(self, data: bytes, most: int | None = None) -> None:
        self._data = data
        self._most = most
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        left = len(self._data) - self.given
        count = left if size is None or size < 0 else min(size, left)
        if self._most is not None:
            count = min(count, self._most)
        chunk = self._data[self.given : self.given + count]
        self.given += count
        return chunk


class Dying(OnlyRead):
    """Raises `error` once `after` bytes were read."""

    def __init__(self, data: bytes, after: int, error: BaseException) -> None:
        super().__init__(data)
        self._after = after
        self._error = error

    def read(self, size: int = -1) -> bytes:
        """The next bytes, or the error."""
        if self.given >= self._after:
            raise self._error
        left = self._after - self.given
        return super().read(left if size is None or size < 0 else min(size, left))


class Endless:
    """Never ends; counts the bytes read."""

    def __init__(self) -> None:
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        """Zeros."""
        count = 65536 if size is None or size < 0 else size
        self.given += count
        return bytes(count)


class Pattern:
    """`size` bytes that differ at every position, generated while they are read: a large file that needs no memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._given = 0

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        left = self.size - self._given
        chunk = self.bytes_at(self._given, left if size is None or size < 0 else min(size, left))
        self._given += len(chunk)
        return chunk

    @staticmethod
    def bytes_at(start: int, count: int) -> bytes:
        """The bytes of the pattern at a position: every 8 bytes contain their own index, so all positions differ."""
        first = start // 8
        words = b"".join(n.to_bytes(8, "big") for n in range(first, (start + count + 7) // 8))
        return words[start - first * 8 :][:count]


def chunked(data: bytes, size: int) -> Iterator[bytes]:
    """The bytes in pieces, with empty ones in between."""
    for start in range(0, len(data), size):
        yield b""
        yield data[start : start + size]
    yield b""


def dying_iterator(data: bytes, after: int, error: BaseException) -> Iterator[bytes]:
    """The first `after` bytes in pieces, then the error."""
    for start in range(0, after, 50_000):
        yield data[start : min(start + 50_000, after)]
    raise error


def reused(data: bytes, size: int) -> Iterator[memoryview]:
    """The bytes in pieces that share the same memory, as with readinto() into one buffer."""
    buffer = bytearray(size)
    for start in range(0, len(data), size):
        piece = data[start : start + size]
        buffer[: len(piece)] = piece
        yield memoryview(buffer)[: len(piece)]
    buffer[:] = bytes(size)


def kinds_of(data: bytes) -> dict[str, Callable[[], Any]]:
    """The same bytes from different sources, some with a known size and some without."""
    return {
        "bytes": lambda: data,
        "a reader": lambda: OnlyRead(data),
        "a reader of short reads": lambda: OnlyRead(data, most=997),
        "an iterator": lambda: chunked(data, 40_000),
    }


class Observed(io.BytesIO):
    """A file in memory that records calls other than reading."""

    def __init__(self, data: bytes, *, position: int = 0, dies: bool = False) -> None:
        super().__init__(data)
        super().seek(position)
        self.done: list[str] = []
        self._dies = dies

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes; raises an error at the end if it `dies`."""
        chunk = super().read(size)
        if not chunk and self._dies:
            raise OSError(errno.EIO, "the source failed")
        return chunk

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Record the seek, and do it."""
        # A relative seek by 0 only asks for the position.
        if (offset, whence) != (0, io.SEEK_CUR):
            self.done.append(f"seek({offset}, {whence})")
        return super().seek(offset, whence)

    def close(self) -> None:
        """Record the call, and close."""
        self.done.append("close()")
        super().close()
