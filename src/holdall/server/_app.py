"""The Files API as a complete application."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import anyio
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

import holdall
from holdall import _arguments as arguments
from holdall.aio import AsyncFileStore
from holdall.server._access import authenticator, visitor
from holdall.server._access_log import AccessLog
from holdall.server._errors import APIError, invalid_url, respond
from holdall.server._exchange import InProgress, Observer, Watch
from holdall.server._keys import Keys
from holdall.server._quota import Quota
from holdall.server._route import json_response
from holdall.server._router import create_router
from holdall.server._sweeper import DEFAULT_SWEEP_SECONDS, Sweepable, Sweeper
from holdall.server._tenants import Stores, UploadsOf
from holdall.store import FileStore
from holdall.url import StoreURL

if TYPE_CHECKING:
    from holdall.server._metrics import Metrics

__all__ = ["Background", "create_app"]

_LAST_SECONDS = 10
# A storage that is slower than this is of no use to clients.
_READY_SECONDS = 5.0

_log = logging.getLogger("holdall.server")

Background = Callable[[Stores], Coroutine[Any, Any, None]]


def create_app(
    store: str | StoreURL | FileStore | AsyncFileStore | None = None,
    *,
    keys: Keys | None = None,
    quota: Quota | Callable[[str | None], Quota | None] | None = None,
    hosts: Collection[str] | None = None,
    redirect_seconds: int | None = None,
    sweep_seconds: float | dt.timedelta | None = DEFAULT_SWEEP_SECONDS,
    max_upload_bytes: int | None = None,
    metrics: Metrics | None = None,
    prefix: str = "/v1",
    routers: Iterable[APIRouter] = (),
    middleware: Sequence[Middleware] = (),
    background: Iterable[Background] = (),
) -> FastAPI:
    """An ASGI application with the Files API at `/v1/files` and `/v1/uploads`, `/healthz` and `/readyz`.

    `store` is a URL, by default that of `holdall.open_store`, opened when the application starts and closed when it
    stops; or an open store, which the caller closes. With `keys`, each request needs an API key, and sees only the
    files of the key's tenant, which are kept below the URL. Without, every request has access to all files, except
    requests from pages of other sites and, if `hosts` is given, requests for any other host. `quota` limits what a
    tenant can store; it may be a function that returns the quota of a tenant. `redirect_seconds` and `max_upload_bytes`
    are those of `create_router`. About every `sweep_seconds`, expired files and old leftovers of all tenants are
    removed; None or 0: never. `metrics` counts requests and sweeps, and calls to the storage if `store` is a URL.

    `routers` are added next to the Files API, without the prefix. `middleware` is put around all routes, the first one
    outermost. Each function of `background` is called with the `Stores` and runs in its own task from when the storage
    has been opened until just before it is closed, when it is cancelled. Its exceptions are logged, and affect neither
    the other tasks nor the application.

    Raises `InvalidRequest` if an argument is wrong.
    """
    every = None if sweep_seconds is None else arguments.seconds("sweep_seconds", sweep_seconds)
    quota_of = (lambda _: quota) if isinstance(quota, Quota) else quota
    wrap = None if metrics is None else metrics.measured
    stores = Stores(store, tenants=keys.tenants if keys else None, quota=quota_of, wrap=wrap)

    sweepable: dict[str, Sweepable] = {"files": stores, "uploads": UploadsOf(stores)}

    in_progress = InProgress()
    observers: list[Observer] = [AccessLog(), in_progress]
    if metrics is not None:
        observers.append(metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with stores, anyio.create_task_group() as tasks:
            for task in background:
                tasks.start_soon(_alone, task, stores)
            if every:
                told = [] if metrics is None else [metrics.swept]
                tasks.start_soon(Sweeper(sweepable, every=every, observers=told).run)
            yield
            # A server that cancels requests after its grace period does not wait for them to clean up what they have
            # begun.
            with anyio.move_on_after(_LAST_SECONDS):
                await in_progress.wait_for_none()
            tasks.cancel_scope.cancel()

    app = FastAPI(
        title="holdall",
        version=holdall.__version__,
        summary="The OpenAI Files API, on any storage.",
        lifespan=lifespan,
        middleware=[Middleware(Watch, observers=observers), *middleware],
    )
    authenticate = authenticator(keys) if keys else visitor(hosts)
    files = create_router(
        stores.lease,
        authenticate=authenticate,
        redirect_seconds=redirect_seconds,
        max_upload_bytes=max_upload_bytes,
    )
    app.include_router(files, prefix=prefix)
    for router in routers:
        app.include_router(router)
    app.include_router(_health(stores))
    for kind in (APIError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _responder(prefix))
    return app


async def _alone(task: Background, stores: Stores) -> None:
    try:
        await task(stores)
    except Exception:  # noqa: BLE001 - the application must continue
        # A server would not exit because a lifespan fails after startup: it would continue, without a storage.
        _log.exception("a task in the background has ended: %r", task)


def _responder(prefix: str) -> Callable[[Request, Exception], Coroutine[Any, Any, Response]]:
    async def answer(request: Request, error: Exception) -> Response:
        # No route has this path; a 404 of a route of the caller's own is left as it is.
        if isinstance(error, HTTPException) and error.status_code == 404 and "endpoint" not in request.scope:
            below = request.url.path.startswith(f"{prefix}/")
            error = invalid_url(request, "" if below else f"; the API is below {prefix}")
        return respond(request, error)

    return answer


def _health(stores: Stores) -> APIRouter:
    router = APIRouter(tags=["Health"])

    # Monitoring may request the status alone.
    @router.head("/healthz", include_in_schema=False)
    @router.get("/healthz")
    async def alive() -> Response:
        """Whether the server answers."""
        return json_response({"status": "ok"})

    @router.head("/readyz", include_in_schema=False)
    @router.get("/readyz")
    async def ready(request: Request) -> Response:
        """Whether the storage answers."""
        try:
            await stores.check(_READY_SECONDS)
        except TimeoutError:
            late = f"cannot tell whether the storage is there: no answer within {_READY_SECONDS:g} seconds"
            return respond(request, holdall.StorageUnavailable(late))
        except Exception as error:  # noqa: BLE001 - after any error, the storage is not ready
            return respond(request, holdall.StorageUnavailable(str(error)))
        return json_response({"status": "ok"})

    return router
