"""Routes that answer every failure with the envelope, in whatever application they are mounted."""

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
    """What a request is about."""

    store: AsyncFileStore
    """The store of whoever sent it."""
    places: Places
    redirect_seconds: int | None
    max_upload_bytes: int | None


def serve(request: Request, what: Serving) -> None:
    """Let the route know what the request is about."""
    request.scope[_SERVING] = what


def serving(request: Request) -> Serving:
    """What the request is about."""
    found: Serving = request.scope[_SERVING]
    return found


def json_response(body: Any) -> Response:
    """A body that is right by construction, written without looking at it again."""
    return Response(pydantic_core.to_json(body), media_type="application/json")


class FilesRoute(APIRoute):
    """What goes wrong in a route, its dependencies or its arguments, becomes the Files API's error.

    Not by handlers of the application: they would be the application's to install, and would change its own routes.
    """

    allowed: frozenset[str] = frozenset()
    """The methods of all routes with this path; whoever makes the router says them, by `tell_methods`."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; when the answer has been sent or given up, release what `until_answered` holds."""
        async with contextlib.AsyncExitStack() as stack:
            scope[_UNTIL_ANSWERED] = stack
            try:
                await super().handle(scope, receive, send)
            except HTTPException as error:
                # The method is none of this path's. The framework names those of one route only.
                if error.status_code == 405 and self.allowed:
                    error.headers = {"Allow": ", ".join(sorted(self.allowed))}
                await respond(Request(scope), error)(scope, receive, send)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The route's handler, whose every exception is an answer."""
        inner = super().get_route_handler()

        async def handler(request: Request) -> Response:
            try:
                return await inner(request)
            except Exception as error:  # noqa: BLE001 - told in the envelope, and logged
                return respond(request, error)

        return handler


def tell_methods(routes: Iterable[BaseRoute]) -> None:
    """Let each route know what methods the others with its path have."""
    own = [route for route in routes if isinstance(route, FilesRoute)]
    for route in own:
        route.allowed = frozenset(method for other in own if other.path == route.path for method in other.methods or ())


def until_answered(request: Request) -> contextlib.AsyncExitStack:
    """What is entered here is left when the answer has been sent, or the client has gone."""
    # FastAPI's own dependencies with yield end before or after the answer, depending on its version.
    stack: contextlib.AsyncExitStack = request.scope[_UNTIL_ANSWERED]
    return stack
