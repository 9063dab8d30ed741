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
    """What `AsyncFileStore.open` returns: seekable, reading from the storage as it is read. For one task at a time.

    An async context manager; iterating it yields the bytes from the position on in chunks of at most 256 KiB.
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

        Raises what reading the stream of `FileStore.open` does; `ValueError` if it was closed.
        """
        return await self._threads.run(self._stream.read, size)

    async def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset` bytes from the start, the position or the end; return the new position."""
        return await self._threads.run(self._stream.seek, offset, whence)

    def tell(self) -> int:
        """The position, in bytes from the start."""
        return self._stream.tell()

    async def aclose(self) -> None:
        """Release what is held, also in a task that is cancelled. A second time does nothing."""
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
