"""Background sweeping for applications with their own stores."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import AsyncIterator, Mapping

import anyio

from holdall import _arguments as arguments
from holdall.aio import AsyncFileStore
from holdall.server._sweeper import DEFAULT_SWEEP_SECONDS, Sweepable, Sweeper
from holdall.server._tenants import Stores, UploadsOf
from holdall.store import FileStore

__all__ = ["sweeping"]


@contextlib.asynccontextmanager
async def sweeping(
    *stores: FileStore | AsyncFileStore, every: float | dt.timedelta = DEFAULT_SWEEP_SECONDS
) -> AsyncIterator[None]:
    """Remove expired files, abandoned uploads and old leftovers from these stores until the context is exited.

    For the lifespan of an application that uses `create_router`, in each of its processes. Sweeps about every `every`
    seconds, as `create_app` does. Does not close the stores. Raises `InvalidRequest` if `every` is wrong.
    """
    seconds = arguments.seconds("every", every)
    named = {f"{store!r} ({number})": Stores(store) for number, store in enumerate(stores, 1)}
    kinds: dict[str, Sweepable] = {
        "files": _All(named),
        "uploads": _All({name: UploadsOf(lone) for name, lone in named.items()}),
    }
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Sweeper(kinds, every=seconds).run)
        yield
        tasks.cancel_scope.cancel()


class _All:
    """Presents several stores as the stores of tenants."""

    def __init__(self, stores: Mapping[str, Sweepable]) -> None:
        self._stores = stores

    def tenants(self) -> list[str | None]:
        return [*self._stores]

    def apart(self, tenant: str | None) -> contextlib.AbstractAsyncContextManager[AsyncFileStore]:
        return self._stores[tenant or ""].apart(None)
