"""Where incomplete uploads to a store are kept: next to its files, but separate from them."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import AsyncIterator, Callable, Sequence

import anyio
from anyio import to_thread

from holdall import registry
from holdall._guard import Guard
from holdall._metadata import Metadata
from holdall.aio import AsyncFileStore
from holdall.backend import Backend, Capability
from holdall.model import FileObject, has_expired
from holdall.opening import open_store
from holdall.server._measured import Measured
from holdall.server._quota import Metered
from holdall.store import FileStore
from holdall.url import StoreURL
from holdall.wrappers import Prefixed
from holdall.wrappers._base import Wrapper

__all__ = ["Kept", "Places", "clock_of", "entries", "ids_that_begin", "inside", "uploads_backend", "uploads_of"]

FOLDER = ".uploads"
# No tenant's name can begin like this, so no tenant can read another's uploads as its files.
PREFIX = "file-uploads"
DEFAULT_MOST_OPEN = 64


class Kept(Wrapper):
    """A storage that several stores share: none of them closes it."""

    def close(self) -> None:
        """Does nothing: whoever opened the storage closes it."""


def inside(store: AsyncFileStore) -> FileStore:
    """The synchronous store inside an asynchronous one."""
    return store._store  # noqa: SLF001 - a class of this package


def clock_of(store: FileStore) -> Callable[[], float]:
    """The clock that decides when the files of a store expire."""
    return store._clock  # noqa: SLF001 - a class of this package


def uploads_backend(backend: Backend, url: StoreURL | None) -> Backend:
    """Where to keep the uploads to a store on `backend`, which `url`, if given, opens.

    Below the URL, if that is a separate location; otherwise in a part of the same storage that no store sees. The
    caller closes the result; `backend` stays open.
    """
    if isinstance(backend, Measured):
        return backend.beside(uploads_backend(backend.inner, url), "uploads")
    below = _below(backend, url)
    return Prefixed(Kept(backend), PREFIX) if below is None else open_store(below).backend


def uploads_of(files: FileStore) -> Backend:
    """The same for a store of the server; with a quota, the backend that counts. Closing it twice does no harm."""
    metered = files.backend.uploads if isinstance(files.backend, Metered) else None
    return metered or uploads_backend(files.backend, files.url)


def _below(backend: Backend, url: StoreURL | None) -> StoreURL | None:
    """The URL for the uploads to a store; None if there is no such location."""
    while isinstance(backend, (Kept, Measured, Metered)):
        backend = backend.inner
    # Any other wrapper, for example one that encrypts, must also wrap the uploads.
    if url is None or type(backend) is not registry.load(url.scheme):
        return None
    if url.scheme == "memory":
        return url.child(FOLDER) if (url.host + url.path).strip("/") else None
    return url.child(FOLDER) if Capability.PORTABLE_LAYOUT in backend.capabilities else None


class _Opened:
    """A store that was opened for uploads, and the number of requests that use it."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.store: AsyncFileStore | None = None
        self.users = 0


class Places:
    """The stores of uploads, one for each store of files, opened on first use. Limits how many of them are open."""

    def __init__(self, most_open: int = DEFAULT_MOST_OPEN) -> None:
        self._most_open = most_open
        self._opened: dict[StoreURL, _Opened] = {}
        self._within: weakref.WeakKeyDictionary[AsyncFileStore, AsyncFileStore] = weakref.WeakKeyDictionary()

    @contextlib.asynccontextmanager
    async def lease(self, files: AsyncFileStore) -> AsyncIterator[AsyncFileStore]:
        """The store of the uploads to `files`, which stays open at least until the context is exited."""
        store = inside(files)
        below = None if isinstance(store.backend, Metered) else _below(store.backend, store.url)
        if below is None:
            if files not in self._within:
                self._within[files] = _store_on(uploads_of(store), store)
            yield self._within[files]
            return
        entry = self._opened.pop(below, None) or _Opened()
        self._opened[below] = entry  # the most recently used entry is last
        entry.users += 1
        try:
            async with entry.lock:
                if entry.store is None:
                    entry.store = _store_on(await to_thread.run_sync(uploads_of, store), store)
            yield entry.store
        finally:
            entry.users -= 1
            await self._close(self._most_open)

    async def close(self) -> None:
        """Close the stores of uploads; the stores of files stay open."""
        await self._close(0)

    async def _close(self, most: int) -> None:
        for url, entry in list(self._opened.items()):
            if len(self._opened) <= most:
                return
            # While another one was being closed, this one may have been taken into use, or closed and opened again.
            if self._opened.get(url) is entry and not entry.users:
                del self._opened[url]
                if entry.store is not None:
                    await entry.store.close()


def _store_on(backend: Backend, files: FileStore) -> AsyncFileStore:
    # Errors name the store by its URL; if it has none, by that of the files.
    url = _below(files.backend, files.url) or files.url
    return AsyncFileStore(FileStore(backend, url=url, clock=clock_of(files)))


async def entries(store: AsyncFileStore, file_ids: Sequence[str]) -> dict[str, FileObject]:
    """The metadata of these entries, read together; absent ones are left out."""
    read = inside(store)

    def found() -> dict[str, FileObject]:
        files: list[FileObject] = []
        with Guard(repr(read), "get"):
            Metadata(read.backend, remembered=0).read_listed(file_ids, files)
        now = clock_of(read)()
        return {file.id: file for file in files if not has_expired(file, now)}

    return await to_thread.run_sync(found)


async def ids_that_begin(store: AsyncFileStore, start: str) -> list[str]:
    """All ids with this prefix, which must end with a `-`, including expired ones."""
    backend = inside(store).backend

    def found() -> list[str]:
        with Guard(repr(store), "list"):
            return list(backend.list_ids(after=start, before=start[:-1] + "."))

    return await to_thread.run_sync(found)
