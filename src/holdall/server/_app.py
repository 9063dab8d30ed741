"""The Files API as an application of its own."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from typing import Any

import anyio
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

import holdall
from holdall.aio import AsyncFileStore, open_async_store
from holdall.server._errors import respond
from holdall.server._router import create_router, json_response
from holdall.store import FileStore
from holdall.url import StoreURL

__all__ = ["create_app"]

Background = Callable[[], Coroutine[Any, Any, None]]


def create_app(
    store: str | StoreURL | FileStore | AsyncFileStore | None = None,
    *,
    prefix: str = "/v1",
    routers: Iterable[APIRouter] = (),
    middleware: Sequence[Middleware] = (),
    background: Iterable[Background] = (),
) -> FastAPI:
    """An ASGI application with the Files API at `/v1/files`, `/healthz` and `/readyz`.

    `store` is a URL, by default that of `holdall.open_store`, opened when the application starts and closed when it
    stops; or a store, which stays the caller's to close. `routers` are added beside the Files API, outside of the
    prefix. `middleware` is put around all of it, the first outermost. `background` are functions that run, each in a
    task of its own, from when the store is open until just before it is closed; then they are cancelled.
    """
    opened = _Opened(store)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with opened, anyio.create_task_group() as tasks:
            for task in background:
                tasks.start_soon(task)
            yield
            tasks.cancel_scope.cancel()

    app = FastAPI(
        title="holdall",
        version=holdall.__version__,
        summary="The OpenAI Files API, on any storage.",
        lifespan=lifespan,
        middleware=list(middleware),
    )
    app.include_router(create_router(opened.store), prefix=prefix)
    for router in routers:
        app.include_router(router)
    app.include_router(_health(opened))
    for kind in (HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, _respond)
    return app


async def _respond(request: Request, error: Exception) -> Response:
    return respond(request, error)


class _Opened:
    """The store of an application, from its start to its end."""

    def __init__(self, store: str | StoreURL | FileStore | AsyncFileStore | None) -> None:
        self._given = AsyncFileStore(store) if isinstance(store, FileStore) else store
        self._store = self._given if isinstance(self._given, AsyncFileStore) else None

    def store(self, _: Any = None) -> AsyncFileStore:
        if self._store is None:
            raise RuntimeError("the application has not started: its lifespan opens the store")
        return self._store

    async def __aenter__(self) -> None:
        if not isinstance(self._given, AsyncFileStore):
            self._store = await open_async_store(self._given)

    async def __aexit__(self, *_: object) -> None:
        if self._store is not None and self._store is not self._given:
            await self._store.close()
            self._store = None


# What no store holds: asking for it costs one request to the storage, at any size of the store.
_NO_FILE = "file-" + "0" * 32


def _health(opened: _Opened) -> APIRouter:
    router = APIRouter(tags=["Health"])

    @router.get("/healthz")
    async def alive() -> Response:
        """Whether the server answers."""
        return json_response({"status": "ok"})

    @router.get("/readyz")
    async def ready(request: Request) -> Response:
        """Whether the storage answers."""
        try:
            await opened.store().get(_NO_FILE)
        except holdall.FileNotFound:
            return json_response({"status": "ok"})
        except Exception as error:  # noqa: BLE001 - whatever it is, the storage is not ready
            return respond(request, holdall.StorageUnavailable(str(error)))
        return json_response({"status": "ok"})

    return router
