"""The data of an object as a stream."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdall_obstore._errors import Asking

__all__ = ["ObjectStream"]


class ObjectStream(io.RawIOBase):
    """The response body of a GET, fetched in chunks on demand. Closing it early ends the transfer.

    obstore resumes a broken connection where it broke off.
    """

    def __init__(self, chunks: Iterable[bytes], asking: Asking) -> None:
        super().__init__()
        self._chunks: Iterator[bytes] | None = iter(chunks)
        self._asking = asking
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """`size` bytes, fewer only at the end; negative or None: all that follow."""
        # RawIOBase.read would allocate `size` bytes for each chunk.
        wanted = None if size is None or size < 0 else size
        parts = []
        while (wanted is None or wanted) and (part := self._next(wanted)):
            parts.append(part)
            if wanted is not None:
                wanted -= len(part)
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def readall(self) -> bytes:
        return self.read()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        part = self._next(len(buffer))
        buffer[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._chunks = None
        self._rest = memoryview(b"")
        super().close()

    def _next(self, most: int | None) -> memoryview:
        if self._chunks is None:
            raise ValueError("read of a closed stream")
        while not self._rest:
            with self._asking:
                chunk = next(self._chunks, None)
            if chunk is None:
                break
            self._rest = memoryview(chunk)
        part, self._rest = self._rest[:most], self._rest[len(self._rest) if most is None else most :]
        return part
