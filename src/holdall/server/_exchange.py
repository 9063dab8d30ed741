"""Observation of requests: the duration of each, the bytes in both directions, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import anyio
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from holdall.server._errors import RETRY_AFTER_SECONDS, APIError, error_response, respond
from holdall.server._keys import TENANT
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
    """One request and its response so far."""

    scope: Scope
    started: float
    bytes_in: int = 0
    """Bytes of the request body."""
    bytes_out: int = 0
    """Bytes of the response body."""
    status: int | None = None
    """None until the response begins."""
    complete: bool = False
    """Whether the response has been sent completely."""
    aborted: bool = False
    """Whether the client disconnected, or the server gave up, before that."""
    seconds: float = 0.0
    request_id: str = ""
    _headers: Iterable[tuple[bytes, bytes]] = ()

    @property
    def route(self) -> str | None:
        """The template of the path, such as `/v1/files/{file_id}`; None if it matches no API route."""
        # In newer versions of FastAPI, `route` is relative to its router, without the prefix; the full path is in this
        # context.
        effective = self.scope.get("fastapi", {}).get("effective_route_context")
        return getattr(effective or self.scope.get("route"), "path_format", None)

    @property
    def tenant(self) -> str | None:
        """The tenant of the request's key; None without a key."""
        tenant: str | None = self.scope.get(TENANT)
        return tenant

    def received(self, message: Message) -> None:
        """Record a message from the client."""
        if message["type"] == "http.request":
            self.bytes_in += len(message.get("body", b""))
        elif message["type"] == "http.disconnect" and not self.complete:
            self.aborted = True

    def begins(self, message: Message) -> Message:
        """Record a message that is about to be sent, and return the message to send in its place."""
        if message["type"] != "http.response.start":
            return message
        self.status = message["status"]
        self._headers = [*message.get("headers", ()), (HEADER, self.request_id.encode())]
        return {**message, "headers": self._headers}

    def sent(self, message: Message) -> None:
        """Record a message that has been sent."""
        if message["type"] == "http.response.body":
            self.bytes_out += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
        elif message["type"] == "http.response.pathsend":
            # The server sends the file itself, and does not report when it has done so.
            self.bytes_out += int(dict(self._headers).get(b"content-length", 0))
            self.complete = True


class Observer(Protocol):
    """Called for every request, when it begins and when it has ended."""

    def begun(self, exchange: Exchange) -> None:
        """The request has begun; nothing of it has been read."""

    def ended(self, exchange: Exchange) -> None:
        """The request has ended; nothing more will be sent."""


class InProgress:
    """Waits until no request is in progress."""

    def __init__(self) -> None:
        self._count = 0
        self._none: anyio.Event | None = None

    def begun(self, exchange: Exchange) -> None:
        """Count a request that begins."""
        self._count += 1

    def ended(self, exchange: Exchange) -> None:
        """Count a request that has ended."""
        self._count -= 1
        if not self._count and self._none is not None:
            self._none.set()

    async def wait_for_none(self) -> None:
        """Return once all requests that have begun have ended."""
        while self._count:
            self._none = anyio.Event()
            await self._none.wait()


class Watch:
    """ASGI middleware that notifies observers of requests. It changes and delays no body.

    Every response has the id of its request, in the header `x-request-id`. Exceptions of the application are turned
    into responses here, so that observers see every response; so are requests that the server aborts because it is
    stopping.
    """

    def __init__(
        self, app: ASGIApp, observers: Sequence[Observer], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._app = app
        self._observers = observers
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
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
                # A client that does not read must not prevent the server from stopping.
                with anyio.move_on_after(_LAST_WORDS_SECONDS, shield=True):
                    await error_response(_STOPPING)(scope, receive_and_note, send_and_note)
            raise
        finally:
            exchange.seconds = self._clock() - exchange.started
            exchange.aborted = exchange.aborted or not exchange.complete
            for observer in self._observers:
                observer.ended(exchange)
            current_request_id.reset(token)
