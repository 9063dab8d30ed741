"""Sources of bytes for a call on a worker thread, one of which has to be awaited."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from anyio import from_thread

from holdall._sources import CHUNK_BYTES, Source, chunks, size_hint

if TYPE_CHECKING:
    from holdall.backend import Buffer

__all__ = ["AsyncReadable", "AsyncSource", "awaited", "noticing"]


class AsyncReadable(Protocol):
    """A source of which only `read` is awaited, such as Starlette's `UploadFile`."""

    def read(self, size: int, /) -> Awaitable[bytes]:
        """At most `size` bytes; empty at the end."""


AsyncSource: TypeAlias = Source | AsyncReadable | AsyncIterable[bytes]


def awaited(data: Any) -> AsyncIterable[Any] | None:
    """The chunks of a source that has to be awaited; None for all others.

    Of an object with both, `read` is taken: iterating a file gives lines, of any length.
    """
    read = getattr(data, "read", None)
    if read is not None:
        return _Reading(read) if inspect.iscoroutinefunction(read) else None
    return data if isinstance(data, AsyncIterable) else None


class _Reading:
    """What `read` gives until it gives nothing."""

    # Not an async generator: abandoning one half-way needs the event loop's help, and on trio is warned of.
    def __init__(self, read: Callable[[int], Awaitable[Any]]) -> None:
        self._read = read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        chunk = await self._read(CHUNK_BYTES)
        # What is no bytes at all is passed on, to be refused.
        if not chunk and isinstance(chunk, (bytes, bytearray, memoryview)):
            raise StopAsyncIteration
        return chunk


def noticing(data: Source, expected_bytes: int | None) -> tuple[Source, int | None]:
    """The same bytes and expectation, for a worker thread: the source raises as soon as the call is cancelled."""
    size = size_hint(data)
    if size is not None:
        if expected_bytes is not None and expected_bytes != size:
            return data, expected_bytes  # to be refused, and better by who sees the bytes' own size
        expected_bytes = size
    return _until_cancelled(chunks(data)), expected_bytes


def _until_cancelled(source: Iterator[Buffer]) -> Iterator[Any]:
    for chunk in source:
        from_thread.check_cancelled()
        yield chunk
    from_thread.check_cancelled()
