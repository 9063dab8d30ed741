"""Sources of data for a call on a worker thread, including those that have to be awaited."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

from anyio import from_thread

from holdall._sources import CHUNK_BYTES, Source, chunks, size_hint

if TYPE_CHECKING:
    from holdall.backend import Buffer

__all__ = ["AsyncReadable", "AsyncSource", "awaited", "noticing"]


class AsyncReadable(Protocol):
    """A source with an asynchronous `read`, the only method used, such as Starlette's `UploadFile`."""

    def read(self, size: int, /) -> Awaitable[bytes]:
        """At most `size` bytes; empty at the end."""


AsyncSource: TypeAlias = Source | AsyncReadable | AsyncIterable[bytes]


def awaited(data: Any) -> AsyncIterable[Any] | None:
    """The chunks of a source that has to be awaited; None for all others.

    If an object has both, `read` is used: iterating over a file yields lines, of any length.
    """
    read = getattr(data, "read", None)
    if read is not None:
        return _Reading(read) if inspect.iscoroutinefunction(read) else None
    return data if isinstance(data, AsyncIterable) else None


class _Reading:
    """Yields what `read` returns, until it returns no bytes."""

    # Not an async generator: one that is abandoned early needs the event loop's help to be closed, and trio warns of
    # it.
    def __init__(self, read: Callable[[int], Awaitable[Any]]) -> None:
        self._read = read

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        chunk = await self._read(CHUNK_BYTES)
        # A chunk that is not bytes is passed on, to be refused.
        if not chunk and isinstance(chunk, (bytes, bytearray, memoryview)):
            raise StopAsyncIteration
        return chunk


def noticing(data: Source, expected_bytes: int | None) -> tuple[Source, int | None]:
    """The same data and expected size, for a worker thread: the source raises as soon as the call is cancelled."""
    size = size_hint(data)
    if size is not None:
        if expected_bytes is not None and expected_bytes != size:
            return data, expected_bytes  # to be refused, with a better message if the size of the bytes is known
        expected_bytes = size
    return _until_cancelled(chunks(data)), expected_bytes


def _until_cancelled(source: Generator[Buffer, None, None]) -> Generator[Any, None, None]:
    with contextlib.closing(source):
        for chunk in source:
            from_thread.check_cancelled()
            yield chunk
        from_thread.check_cancelled()
