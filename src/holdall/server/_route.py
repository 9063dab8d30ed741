"""Routes that answer every error with the envelope, in whatever application they are mounted."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any

import pydantic_core
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute
from starlette.types import Receive, Scope, Send

from holdall.aio import AsyncFileStore
from holdall.server._errors import respond
from holdall.server._places import Places

__all__ = ["FilesRoute", "Serving", "json_response", "serve", "serving", "tell_methods", "until_answered"]

_UNTIL_ANSWERED = "holdall.until_answered"
_SERVING = "holdall.serving"


@dataclass(frozen=True, slots=True)
class Serving:
    """The context of a request."""

    store: AsyncFileStore
    """The store of the client that sent it."""
    places: Places
    redirect_seconds: int | None
    max_upload_bytes: int | None


def serve(request: Request, what: Serving) -> None:
    """Attach this context to the request."""
    request.scope[_SERVING] = what


def serving(request: Request) -> Serving:
    """The context of the request."""
    found: Serving = request.scope[_SERVING]
    return found


def json_response(body: Any) -> Response:
    """A response with a body that is known to be valid, without FastAPI's validation."""
    return Response(pydantic_core.to_json(body), media_type="application/json")


class FilesRoute(APIRoute):
    """A route in which any error of its handler, dependencies or arguments becomes an error of the Files API.

    Exception handlers of the application would not do: they are the application's to install, and would affect its own
    routes.
    """

    allowed: frozenset[str] = frozenset()
    """The methods of all routes with this path, set by `tell_methods`."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Respond to a request; once the response has been sent or given up, exit the contexts of `until_answered`."""
        async with contextlib.AsyncExitStack() as stack:
            scope[_UNTIL_ANSWERED] = stack
            try:
                await super().handle(scope, receive, send)
            except HTTPException as error:
                # The path does not support the method. The framework lists the methods of a single route only.
                if error.status_code == 405 and self.allowed:
                    error.headers = {"Allow": ", ".join(sorted(self.allowed))}
                await respond(Request(scope), error)(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, with exceptions turned into responses."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except Exception as error:  # noqa: BLE001 - reported in the envelope, and logged
                return respond(request, error)

        return handler


def tell_methods(routes: Iterable[BaseRoute]) -> None:
    """Set each route's methods to those of all routes with its path."""
    own = [route for route in routes if isinstance(route, FilesRoute)]
    for route in own:
        route.allowed = frozenset(method for other in own if other.path == route.path for method in other.methods or ())


def until_answered(request: Request) -> contextlib.AsyncExitStack:
    """An exit stack whose contexts are exited when the response has been sent, or the client has disconnected."""
    # FastAPI exits dependencies with yield before or after the response, depending on its version.
    stack: contextlib.AsyncExitStack = request.scope[_UNTIL_ANSWERED]
    return stack
