"""Sources of bytes for a call on a worker thread, one of which has to be awaited."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterable, Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from anyio import from_thread

from holdall._sources import Source, chunks, size_hint

if TYPE_CHECKING:
    from holdall.aio._threads import Ask
    from holdall.backend import Buffer

__all__ = ["AsyncReadable", "AsyncSource", "blocking", "noticing"]


class AsyncReadable(Protocol):
    """A source of which only `read` is awaited, such as Starlette's `UploadFile`."""

    def read(self, size: int, /) -> Awaitable[bytes]:
        """At most `size` bytes; empty at the end."""


AsyncSource: TypeAlias = Source | AsyncReadable | AsyncIterable[bytes]


def blocking(data: Any) -> Callable[[Ask], Any] | None:
    """For a source that has to be awaited, what makes it one that `FileStore.create` takes; None for all others.

    Of an object with both, `read` is taken: iterating a file gives lines, of any length.
    """
    read = getattr(data, "read", None)
    if read is not None:
        return partial(_Reader, read) if inspect.iscoroutinefunction(read) else None
    if isinstance(data, AsyncIterable):
        return partial(_each, aiter(data).__anext__)
    return None


class _Reader:
    def __init__(self, read: Callable[[int], Awaitable[bytes]], ask: Ask) -> None:
        self._read = read
        self._ask = ask

    def read(self, size: int) -> Any:
        return self._ask(partial(self._read, size))


def _each(step: Callable[[], Awaitable[bytes]], ask: Ask) -> Iterator[Any]:
    while True:
        try:
            chunk = ask(step)
        except StopAsyncIteration:
            return
        yield chunk


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
