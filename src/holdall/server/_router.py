"""The routes of the Files API, for any FastAPI application."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from holdall import _arguments as arguments
from holdall.aio import AsyncFileStore
from holdall.errors import InvalidRequest
from holdall.server._content import content_response
from holdall.server._errors import APIError, invalid_url, not_found
from holdall.server._models import INPUT_PURPOSES, Deleted, Envelope, File, FileList, file_body, page_body
from holdall.server._multipart import described_form
from holdall.server._places import Places
from holdall.server._receiving import receive_file
from holdall.server._route import FilesRoute, Serving, json_response, serve, serving, tell_methods, until_answered
from holdall.server._uploads import add_upload_routes
from holdall.store import FileStore

__all__ = ["StoreSource", "create_router", "json_response", "store_of"]

StoreSource = (
    AsyncFileStore
    | FileStore
    | Callable[
        [Any], AsyncFileStore | Awaitable[AsyncFileStore] | contextlib.AbstractAsyncContextManager[AsyncFileStore]
    ]
)

_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_MOST_LISTED = 10_000
_ID = r"^file-[A-Za-z0-9_-]{1,128}$"
_PURPOSE = r"^[\x20-\x7e]{1,64}$"


def create_router(
    store: StoreSource,
    *,
    authenticate: Callable[..., Any] | None = None,
    redirect_seconds: int | None = None,
    max_upload_bytes: int | None = None,
) -> APIRouter:
    """The routes `/files…` and `/uploads…`, to be included in a FastAPI application, usually with `prefix="/v1"`.

    `store` is a store, which the caller closes; or a function that maps the result of the dependency `authenticate` to
    a store. The function may be asynchronous, and may return an asynchronous context manager, which is exited once the
    response has been sent. `authenticate` is an ordinary FastAPI dependency and rejects a request by raising
    `HTTPException`; without one, every request has full access. With `redirect_seconds`, downloads of whole files are
    redirected to a URL signed by the storage and valid for that long, if the storage can sign URLs. `max_upload_bytes`
    limits files that are uploaded in parts, by default to 8 GiB, or to the store's `max_bytes` if that was set.

    Every error of these routes has the format of the Files API, whatever exception handlers the application has.
    Raises `InvalidRequest` if an argument is wrong.
    """
    if not (isinstance(store, (AsyncFileStore, FileStore)) or callable(store)):
        raise InvalidRequest(
            f"store is a value of type {type(store).__name__}; it must be a store, such as holdall.open_store(url), or "
            "a function that returns an AsyncFileStore"
        )
    arguments.count("redirect_seconds", redirect_seconds)
    if max_upload_bytes is not None:
        arguments.limit(max_upload_bytes, "max_upload_bytes")
    source = AsyncFileStore(store) if isinstance(store, FileStore) else store
    places = Places()

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await places.close()

    async def resolve(request: Request, who: Any = Depends(authenticate or _anybody)) -> None:  # noqa: B008 - FastAPI's way
        found = await _store_for(source, who, request)
        serve(request, Serving(found, places, redirect_seconds, max_upload_bytes))

    router = APIRouter(
        route_class=FilesRoute,
        dependencies=[Depends(resolve)],
        tags=["Files"],
        responses=_ERRORS,
        lifespan=lifespan,
    )
    router.add_api_route(
        "/files", create_file, methods=["POST"], response_model=File, name="create_file", openapi_extra=_FORM
    )
    router.add_api_route("/files", list_files, methods=["GET"], response_model=FileList)
    router.add_api_route("/files/{file_id}", retrieve_file, methods=["GET"], response_model=File)
    router.add_api_route("/files/{file_id}", delete_file, methods=["DELETE"], response_model=Deleted)
    router.add_api_route(
        "/files/{file_id}/content", download_file, methods=["GET"], response_class=Response, responses=_CONTENT
    )
    router.add_api_route("/files/{file_id}/content", download_file, methods=["HEAD"], include_in_schema=False)
    # No redirect by the application: not all clients send a form again, and the application may not know its public
    # address behind a proxy.
    for path in ("/files/", "/uploads/"):
        router.add_api_route(path, no_url, methods=_METHODS, include_in_schema=False)
    # An id cannot contain a slash, however it is encoded; this router must respond, not the application. Not for HEAD,
    # which `/files/{file_id}` does not support: an existing file would be reported as missing.
    router.add_api_route("/files/{file_id:path}", no_file, methods=["GET", "DELETE"], include_in_schema=False)
    add_upload_routes(router, max_upload_bytes)
    tell_methods(router.routes)
    return router


def store_of(request: Request) -> AsyncFileStore:
    """The store of the client that sent this request."""
    return serving(request).store


async def create_file(request: Request) -> Response:
    """Upload a file. Its data is streamed to the storage; the fields may precede or follow it."""
    return json_response(file_body(await receive_file(request, store_of(request))))


async def list_files(
    request: Request,
    after: Annotated[str | None, Query(description="The id of the last file of the page before.", pattern=_ID)] = None,
    limit: Annotated[int, Query(ge=1, le=_MOST_LISTED)] = _MOST_LISTED,
    order: Annotated[Literal["asc", "desc"], Query(description="By the time of creation.")] = "desc",
    purpose: Annotated[str | None, Query(description="Only files with this purpose.", pattern=_PURPOSE)] = None,
) -> Response:
    """List files, the newest first."""
    try:
        page = await store_of(request).list(after=after, limit=limit, order=order, purpose=purpose)
    except InvalidRequest as error:
        if after is not None and error.operation == "list" and error.file_id in {None, after}:
            raise APIError(
                400, "Invalid 'after': there is no such file.", param="after", code="invalid_value"
            ) from error
        raise
    return json_response(page_body(page))


async def retrieve_file(request: Request, file_id: str) -> Response:
    """The metadata of a file."""
    return json_response(file_body(await store_of(request).get(file_id)))


async def delete_file(request: Request, file_id: str) -> Response:
    """Delete a file."""
    await store_of(request).delete(file_id)
    return json_response({"id": file_id, "object": "file", "deleted": True})


async def download_file(request: Request, file_id: str) -> Response:
    """The content of a file: all of it, or one range."""
    store = store_of(request)
    file = await store.get(file_id)
    return await content_response(request, store, file, redirect_seconds=serving(request).redirect_seconds)


async def no_url(request: Request) -> Response:
    """The path of a collection with a trailing slash, which is a different path."""
    raise invalid_url(request)


async def no_file(file_id: str) -> Response:
    """An id that contains a slash is invalid."""
    if file_id.partition("/")[2] == "content":
        # The path of a file's content, which may well exist: it cannot be deleted apart from its file.
        raise APIError(405, "Method Not Allowed", headers={"Allow": "GET, HEAD"})
    raise not_found("File", file_id, "id")


async def _store_for(source: Any, who: Any, request: Request) -> AsyncFileStore:
    found = source if isinstance(source, AsyncFileStore) else source(who)
    if inspect.isawaitable(found):
        found = await found
    if not isinstance(found, AsyncFileStore):
        if not hasattr(found, "__aenter__"):
            raise TypeError(
                f"the function given to create_router returned a {type(found).__name__} instead of an AsyncFileStore"
            )
        found = await until_answered(request).enter_async_context(found)
    store: AsyncFileStore = found
    return store


async def _anybody() -> None:
    return None


_ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": Envelope, "description": "The request cannot be done."},
    "5XX": {"model": Envelope, "description": "The server or its storage failed."},
}
_BYTES = {"schema": {"type": "string", "format": "binary"}}
_CONTENT: dict[int | str, dict[str, Any]] = {
    200: {"description": "The whole file, in its own type.", "content": {"application/octet-stream": _BYTES}},
    206: {"description": "The range asked for.", "content": {"application/octet-stream": _BYTES}},
    304: {"description": "The client has it already."},
    307: {"description": "The bytes are at the URL in Location, if the server is set up so."},
}
_FORM = described_form(
    ["file", "purpose"],
    {
        "file": {"type": "string", "format": "binary", "description": "The bytes, with a filename."},
        "purpose": {"type": "string", "enum": [str(purpose) for purpose in INPUT_PURPOSES]},
        "expires_after[anchor]": {"type": "string", "enum": ["created_at"]},
        "expires_after[seconds]": {"type": "integer", "minimum": 3600, "maximum": 2_592_000},
    },
    dependentRequired={
        "expires_after[anchor]": ["expires_after[seconds]"],
        "expires_after[seconds]": ["expires_after[anchor]"],
    },
)
