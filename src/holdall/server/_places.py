"""Where the uploads of a store are kept until they are whole: beside its files, and among none of them."""

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
# No tenant's name can begin like this, so none reads another's uploads as its files.
PREFIX = "file-uploads"
DEFAULT_MOST_OPEN = 64


class Kept(Wrapper):
    """One storage under several stores: none of them closes it."""

    def close(self) -> None:
        """Left to whoever opened it."""


def inside(store: AsyncFileStore) -> FileStore:
    """The store that an asynchronous one awaits."""
    return store._store  # noqa: SLF001 - of the same house


def clock_of(store: FileStore) -> Callable[[], float]:
    """The clock by which the files of a store expire."""
    return store._clock  # noqa: SLF001 - of the same house


def uploads_backend(backend: Backend, url: StoreURL | None) -> Backend:
    """Where to keep the uploads of a store on `backend`, which is what `url` opens, as far as it has one.

    Below the URL, where that is a location of its own; everywhere else in a part of the same storage, that no store
    sees. To be closed; `backend` stays open.
    """
    if isinstance(backend, Measured):
        return backend.beside(uploads_backend(backend.inner, url), "uploads")
    below = _below(backend, url)
    return Prefixed(Kept(backend), PREFIX) if below is None else open_store(below).backend


def uploads_of(files: FileStore) -> Backend:
    """The same for a store as the server has it; what a quota counts is counted. Closing it twice does no harm."""
    metered = files.backend.uploads if isinstance(files.backend, Metered) else None
    return metered or uploads_backend(files.backend, files.url)


def _below(backend: Backend, url: StoreURL | None) -> StoreURL | None:
    """The URL for the uploads of a store; None if there is no such place."""
    while isinstance(backend, (Kept, Measured, Metered)):
        backend = backend.inner
    # Anything else around the storage, say one that encrypts, must be around the uploads, too.
    if url is None or type(backend) is not registry.load(url.scheme):
        return None
    if url.scheme == "memory":
        return url.child(FOLDER) if (url.host + url.path).strip("/") else None
    return url.child(FOLDER) if Capability.PORTABLE_LAYOUT in backend.capabilities else None


class _Opened:
    """A store that was opened for uploads, and how many requests use it."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.store: AsyncFileStore | None = None
        self.users = 0


class Places:
    """For each store of files, the store of its uploads, opened with the first one, and not too many of them open."""

    def __init__(self, most_open: int = DEFAULT_MOST_OPEN) -> None:
        self._most_open = most_open
        self._opened: dict[StoreURL, _Opened] = {}
        self._within: weakref.WeakKeyDictionary[AsyncFileStore, AsyncFileStore] = weakref.WeakKeyDictionary()

    @contextlib.asynccontextmanager
    async def lease(self, files: AsyncFileStore) -> AsyncIterator[AsyncFileStore]:
        """The store of the uploads to `files`, which stays open at least until this is left."""
        store = inside(files)
        below = None if isinstance(store.backend, Metered) else _below(store.backend, store.url)
        if below is None:
            if files not in self._within:
                self._within[files] = _store_on(uploads_of(store), store)
            yield self._within[files]
            return
        entry = self._opened.pop(below, None) or _Opened()
        self._opened[below] = entry  # the last one is the one used last
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
        """Close what was opened; the stores of the files stay as they are."""
        await self._close(0)

    async def _close(self, most: int) -> None:
        with anyio.CancelScope(shield=True):
            for url, entry in list(self._opened.items()):
                if len(self._opened) <= most:
                    return
                # While another was being closed, this one may have been taken, or have made room for a new one.
                if self._opened.get(url) is entry and not entry.users:
                    del self._opened[url]
                    if entry.store is not None:
                        await entry.store.close()


def _store_on(backend: Backend, files: FileStore) -> AsyncFileStore:
    # Errors name the store by its URL; if it has none of its own, by that of the files.
    url = _below(files.backend, files.url) or files.url
    return AsyncFileStore(FileStore(backend, url=url, clock=clock_of(files)))


async def entries(store: AsyncFileStore, file_ids: Sequence[str]) -> dict[str, FileObject]:
    """What is known about these entries, all asked for at once; absent ones are left out."""
    read = inside(store)

    def found() -> dict[str, FileObject]:
        files: list[FileObject] = []
        with Guard(repr(read), "get"):
            Metadata(read.backend, remembered=0).read_listed(file_ids, files)
        now = clock_of(read)()
        return {file.id: file for file in files if not has_expired(file, now)}

    return await to_thread.run_sync(found)


async def ids_that_begin(store: AsyncFileStore, start: str) -> list[str]:
    """All ids with this start, which must end with a `-`, also of what has expired."""
    backend = inside(store).backend

    def found() -> list[str]:
        with Guard(repr(store), "list"):
            return list(backend.list_ids(after=start, before=start[:-1] + "."))

    return await to_thread.run_sync(found)
