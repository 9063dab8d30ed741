"""A stored file as an asynchronous stream."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, BinaryIO, Self

from holdall._sources import CHUNK_BYTES

if TYPE_CHECKING:
    from types import TracebackType

    from holdall.aio._threads import Threads

__all__ = ["AsyncFileReader"]


class AsyncFileReader:
    """What `AsyncFileStore.open` returns: a seekable stream that reads from the storage on demand. For one task at a
    time.

    An async context manager; iterating over it yields the data from the current position in chunks of at most 256 KiB.
    A read that was cancelled may have moved the position.
    """

    def __init__(self, stream: BinaryIO, threads: Threads) -> None:
        self._stream = stream
        self._threads = threads

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._stream.closed

    async def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, fewer only at the end of the file; negative: all that follow.

        Raises the errors of reading the stream of `FileStore.open`; `ValueError` if it was closed.
        """
        return await self._threads.run(self._stream.read, size)

    async def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` bytes from the start, the position or the end; return the new position."""
        return await self._threads.run(self._stream.seek, offset, whence)

    def tell(self) -> int:
        """The position, in bytes from the start."""
        return self._stream.tell()

    async def aclose(self) -> None:
        """Release its resources, even in a cancelled task. A second call does nothing."""
        if not self._stream.closed:
            await self._threads.run(self._stream.close, certain=True)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.read(CHUNK_BYTES)
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
