"""Opening an asynchronous store from a URL."""

from __future__ import annotations

import os
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from holdall.aio._store import AsyncFileStore
from holdall.aio._threads import DEFAULT_MAX_THREADS, Threads
from holdall.opening import open_store
from holdall.store import FileStore

if TYPE_CHECKING:
    from types import TracebackType

    from holdall.url import StoreURL

__all__ = ["open_async_store"]


class _Opening:
    """A store that is yet to be opened: by awaiting it, or by entering it with `async with`, which also closes it."""

    def __init__(self, call: partial[FileStore], max_threads: int) -> None:
        self._call = call
        self._max_threads = max_threads
        self._store: AsyncFileStore | None = None

    def __await__(self) -> Generator[Any, Any, AsyncFileStore]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncFileStore:
        self._store = await self._open()
        return self._store

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is not None:
            await self._store.close()

    async def _open(self) -> AsyncFileStore:
        threads = Threads(self._max_threads)
        return AsyncFileStore(await threads.run(self._call, undo=FileStore.close), max_threads=self._max_threads)


def open_async_store(
    url: str | os.PathLike[str] | StoreURL | None = None, *, max_threads: int = DEFAULT_MAX_THREADS, **options: Any
) -> _Opening:
    """Open the store at `url`, as `holdall.open_store` does, without blocking the event loop.

    Use either `async with open_async_store(url) as store`, which closes it at the end, or `store = await
    open_async_store(url)`. `max_threads` is that of `AsyncFileStore`; `url`, `options` and the errors are those of
    `open_store`. Nothing is opened before it is awaited or entered.
    """
    return _Opening(partial(open_store, url, **options), max_threads)
