"""Watching requests go by: how long each takes, how many bytes come and go, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdall.server._access import TENANT
from holdall.server._errors import RETRY_AFTER_SECONDS, APIError, error_response, respond
from holdall.server._request_id import HEADER, current_request_id, request_id_of

__all__ = ["Exchange", "InProgress", "Observer", "Watch"]

_LAST_WORDS_SECONDS = 1
_STOPPING = APIError(
    503,
    "The server is stopping and has aborted this request; send it again.",
    code="server_stopping",
    headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
)


@dataclass(slots=True)
class Exchange:
    """One request and its answer, as far as they have come."""

    scope: Scope
    started: float
    bytes_in: int = 0
    """Of the request's body."""
    bytes_out: int = 0
    """Of the answer's body."""
    status: int | None = None
    """None until the answer begins."""
    complete: bool = False
    """Whether all of the answer has been sent."""
    aborted: bool = False
    """Whether the client had gone before that, or the server gave up."""
    seconds: float = 0.0
    request_id: str = ""
    _headers: Iterable[tuple[bytes, bytes]] = ()

    @property
    def route(self) -> str | None:
        """The template of the path, such as `/v1/files/{file_id}`; None if it is no route of an API."""
        # Since some version, `route` is as its router knows it, without the prefix; what it is here stands elsewhere.
        effective = self.scope.get("fastapi", {}).get("effective_route_context")
        return getattr(effective or self.scope.get("route"), "path_format", None)

    @property
    def tenant(self) -> str | None:
        """Whose key the request has; None if nobody's."""
        tenant: str | None = self.scope.get(TENANT)
        return tenant

    def received(self, message: Message) -> None:
        """Note what came from the client."""
        if message["type"] == "http.request":
            self.bytes_in += len(message.get("body", b""))
        elif message["type"] == "http.disconnect" and not self.complete:
            self.aborted = True

    def begins(self, message: Message) -> Message:
        """Note what is about to be sent, and say what is to be sent in its place."""
        if message["type"] != "http.response.start":
            return message
        self.status = message["status"]
        self._headers = [*message.get("headers", ()), (HEADER, self.request_id.encode())]
        return {**message, "headers": self._headers}

    def sent(self, message: Message) -> None:
        """Note what has been sent."""
        if message["type"] == "http.response.body":
            self.bytes_out += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        elif message["type"] == "http.response.pathsend":
            # The server sends the file by itself, and does not say when.
            self.bytes_out += int(dict(self._headers).get(b"content-length", 0))
            self.complete = True


class Observer(Protocol):
    """Is told of every request, when it begins and when it has ended."""

    def begun(self, exchange: Exchange) -> None:
        """Nothing of it has been read."""

    def ended(self, exchange: Exchange) -> None:
        """Nothing more will be sent, for whatever reason."""


class InProgress:
    """Knows when no request is in progress."""

    def __init__(self) -> None:
        self._count = 0
        self._none: anyio.Event | None = None

    def begun(self, exchange: Exchange) -> None:
        """One more."""
        self._count += 1

    def ended(self, exchange: Exchange) -> None:
        """One less."""
        self._count -= 1
        if not self._count and self._none is not None:
            self._none.set()

    async def wait_for_none(self) -> None:
        """Return when all that have begun have ended."""
        while self._count:
            self._none = anyio.Event()
            await self._none.wait()


class Watch:
    """ASGI middleware that tells observers of requests. Changes no byte of a body, and holds none back.

    Every answer has the id of its request, in the header `x-request-id`. Whatever fails inside is answered here, so
    that observers see every answer; so is a request that the server gives up because it stops.
    """

    def __init__(
        self, app: ASGIApp, observers: Sequence[Observer], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._observers = observers
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the specification of ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, self._clock(), request_id=request_id_of(scope["headers"]))

        async def receive_and_note() -> Message:
            message = await receive()
            exchange.received(message)
            return message

        async def send_and_note(message: Message) -> None:
            message = exchange.begins(message)
            await send(message)
            exchange.sent(message)

        for observer in self._observers:
            observer.begun(exchange)
        token = current_request_id.set(exchange.request_id)
        try:
            await self._app(scope, receive_and_note, send_and_note)
        except Exception as error:
            if exchange.status is not None:
                raise
            await respond(Request(scope), error)(scope, receive_and_note, send_and_note)
        except anyio.get_cancelled_exc_class():
            if exchange.status is None:
                exchange.aborted = True
                # A client that reads nothing must not hold up a server that wants to end.
                with anyio.move_on_after(_LAST_WORDS_SECONDS, shield=True):
                    await error_response(_STOPPING)(scope, receive_and_note, send_and_note)
            raise
        finally:
            exchange.seconds = self._clock() - exchange.started
            exchange.aborted = exchange.aborted or not exchange.complete
            for observer in self._observers:
                observer.ended(exchange)
            current_request_id.reset(token)
