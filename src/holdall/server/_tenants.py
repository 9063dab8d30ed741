"""The store of each tenant, opened on first use; a limited number stays open."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from typing import Self, TypeVar

import anyio
from anyio import from_thread, to_thread

from holdall.aio import AsyncFileStore
from holdall.backend import Backend, Capability, Debris
from holdall.errors import FileNotFound, InvalidRequest
from holdall.opening import open_store
from holdall.server._keys import check_tenant
from holdall.server._places import Kept, clock_of, inside, uploads_backend, uploads_of
from holdall.server._quota import Ledger, Metered, Quota
from holdall.store import FileStore
from holdall.url import StoreURL
from holdall.wrappers import Prefixed
from holdall.wrappers._base import Wrapper

__all__ = ["Stores", "UploadsOf"]

DEFAULT_MOST_OPEN = 64
# As many files as the largest page: about 10 MiB for each open store.
_REMEMBERED_OF_A_TENANT = 10_000
_NO_FILE = "file-" + "0" * 32

T = TypeVar("T")


class _Interruptible(Wrapper):
    """Stops long listings when the task that awaits them is cancelled. For calls on anyio's worker threads."""

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        return _until_cancelled(self.inner.read_metas(file_ids))

    def debris(self) -> Iterator[Debris]:
        return _until_cancelled(self.inner.debris())


class _Entry:
    """The store of one tenant, and the number of requests that use it."""

    def __init__(self) -> None:
        self.lock = anyio.Lock()
        self.store: AsyncFileStore | None = None
        self.users = 0


class Stores:
    """The stores below one URL. An async context manager: entering it opens the storage, exiting it closes all stores.

    It may also be a single store that is already open, and stays open.

    Where entries are kept by path (`PORTABLE_LAYOUT`), a tenant's store is a separate root, one segment below the URL;
    elsewhere it is a `Prefixed` part of the shared storage. Either way its listings, cursors and ids never reach
    another tenant's files. The tenant None has the URL itself.
    """

    def __init__(
        self,
        store: str | StoreURL | FileStore | AsyncFileStore | None = None,
        *,
        tenants: Callable[[], Iterable[str]] | None = None,
        quota: Callable[[str | None], Quota | None] | None = None,
        wrap: Callable[[Backend], Backend] | None = None,
        most_open: int = DEFAULT_MOST_OPEN,
    ) -> None:
        """`tenants` returns the current tenants; without it, None is the only one. `quota` returns what a tenant may
        store. `wrap` is applied to the backend of each store that is opened here.
        """
        self._given = AsyncFileStore(store) if isinstance(store, FileStore) else store
        if isinstance(self._given, AsyncFileStore) and (tenants or quota):
            raise InvalidRequest("keys and quotas need the URL of a store, not an open store")
        self._tenants = tenants
        self._quota = quota or (lambda _: None)
        self._wrap = wrap
        self._most_open = most_open
        self._root: FileStore | None = None
        self._checking = threading.Lock()
        self._entries: dict[str | None, _Entry] = {}
        # Kept when a store is closed: a recount reads the metadata of every file.
        self._ledgers: dict[str | None, Ledger] = {}

    def tenants(self) -> list[str | None]:
        """All current tenants."""
        return [None] if self._tenants is None else [*sorted(self._tenants())]

    async def check(self, seconds: float) -> None:
        """Request an absent file from the storage, which takes the same time at any size of the store. Raises the
        storage's errors; `TimeoutError` if it does not respond within `seconds`.
        """
        store = inside(self._given) if isinstance(self._given, AsyncFileStore) else self._opened()
        with anyio.fail_after(seconds):
            await to_thread.run_sync(self._ask, store, seconds, abandon_on_cancel=True)

    def _ask(self, store: FileStore, seconds: float) -> None:
        # One at a time: if the storage hangs, repeated probes must not occupy every worker thread.
        if not self._checking.acquire(timeout=seconds):
            raise TimeoutError
        try:
            with contextlib.suppress(FileNotFound):
                store.get(_NO_FILE)
        finally:
            self._checking.release()

    @contextlib.asynccontextmanager
    async def lease(self, tenant: str | None = None) -> AsyncIterator[AsyncFileStore]:
        """The store of a tenant, which stays open at least until the context is exited."""
        if isinstance(self._given, AsyncFileStore):
            yield self._given
            return
        entry = self._entries.pop(tenant, None) or _Entry()
        self._entries[tenant] = entry  # the most recently used entry is last
        entry.users += 1
        try:
            # Checked without the lock first: even an uncontended lock takes a turn of the event loop.
            if entry.store is None:
                async with entry.lock:
                    if entry.store is None:
                        entry.store = AsyncFileStore(await to_thread.run_sync(partial(self._open, tenant)))
            yield entry.store
        finally:
            entry.users -= 1
            if len(self._entries) > self._most_open:
                await self._close_idle()

    @contextlib.asynccontextmanager
    async def apart(self, tenant: str | None = None) -> AsyncIterator[AsyncFileStore]:
        """The store of a tenant for maintenance: opened for this purpose, separate from the one that requests use, and
        closed when the context is exited.

        Cancelling a sweep of it stops the sweep at once. A store that was already open stays open.
        """
        if isinstance(self._given, AsyncFileStore):
            store = inside(self._given)
            backend: Backend = Kept(store.backend)
        else:
            store = await to_thread.run_sync(partial(self._open, tenant))
            backend = store.backend
        async with _interruptible(backend, store) as interruptible:
            yield interruptible

    @contextlib.asynccontextmanager
    async def uploads_apart(self, tenant: str | None = None) -> AsyncIterator[AsyncFileStore]:
        """The same for the uploads of a tenant."""
        given = self._given if isinstance(self._given, AsyncFileStore) else None
        files = await to_thread.run_sync(partial(self._open, tenant)) if given is None else inside(given)
        try:
            async with _interruptible(await to_thread.run_sync(uploads_of, files), files) as interruptible:
                yield interruptible
        finally:
            if given is None:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(files.close)

    async def __aenter__(self) -> Self:
        if not isinstance(self._given, AsyncFileStore):
            self._root = await to_thread.run_sync(partial(open_store, self._given))
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            entries, self._entries = self._entries, {}
            for entry in entries.values():
                if entry.store is not None:
                    await entry.store.close()
            root, self._root = self._root, None
            if root is not None:
                await to_thread.run_sync(root.close)

    def _opened(self) -> FileStore:
        if self._root is None:
            raise RuntimeError("the application has not started: its lifespan opens the store")
        return self._root

    def _open(self, tenant: str | None) -> FileStore:
        root = self._opened()
        url: StoreURL | None = None
        backend: Backend
        if tenant is None:
            url, backend = root.url, Kept(root.backend)
        elif root.url is not None and Capability.PORTABLE_LAYOUT in root.capabilities:
            url = root.url.child(check_tenant(tenant))
            backend = open_store(url).backend
        else:
            backend = Prefixed(Kept(root.backend), check_tenant(tenant))
        if self._wrap is not None:
            backend = self._wrap(backend)
        quota = self._quota(tenant)
        if quota is not None:
            ledger = self._ledgers.setdefault(tenant, Ledger())
            backend = Metered(backend, ledger, quota, uploads_backend(backend, url))
        remember = root.remember if tenant is None else _REMEMBERED_OF_A_TENANT
        return FileStore(backend, url=url, max_bytes=root.max_bytes, remember=remember)

    async def _close_idle(self) -> None:
        for tenant, entry in list(self._entries.items()):
            if len(self._entries) <= self._most_open:
                return
            # While another one was being closed, this one may have been taken into use, or closed and opened again.
            if self._entries.get(tenant) is entry and not entry.users:
                del self._entries[tenant]
                if entry.store is not None:
                    await entry.store.close()


class UploadsOf:
    """The incomplete uploads to these stores, for maintenance."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def tenants(self) -> list[str | None]:
        """See `Stores.tenants`."""
        return self._stores.tenants()

    def apart(self, tenant: str | None) -> contextlib.AbstractAsyncContextManager[AsyncFileStore]:
        """See `Stores.apart`."""
        return self._stores.uploads_apart(tenant)


def _interruptible(backend: Backend, files: FileStore) -> AsyncFileStore:
    store = FileStore(_Interruptible(backend), url=files.url, max_bytes=files.max_bytes, clock=clock_of(files))
    return AsyncFileStore(store)


def _until_cancelled(items: Iterator[T]) -> Iterator[T]:
    for item in items:
        from_thread.check_cancelled()
        yield item
