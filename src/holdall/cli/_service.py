"""One process of the service: the application with its settings, on a socket that is already listening."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

import uvicorn

from holdall.server import Keys, create_app

if TYPE_CHECKING:
    from types import FrameType

    from holdall.server import Metrics
    from holdall.server._app import Background

__all__ = ["Service", "run"]


# Enough for a cancelled request to clean up and to send its error.
_LAST_WORDS_SECONDS = 2


class _Server(uvicorn.Server):
    """Cancels the requests in progress at a second signal, SIGTERM as well as SIGINT."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See `uvicorn.Server`."""
        if not self.should_exit:
            super().handle_exit(sig, frame)
        elif not self.force_exit:
            # uvicorn itself would exit before its requests have discarded what they had staged, and only at SIGINT.
            with contextlib.suppress(RuntimeError):
                asyncio.get_running_loop().call_soon_threadsafe(self._give_up)

    def _give_up(self) -> None:
        for task in self.server_state.tasks:
            task.cancel()
        # Otherwise a client that does not read its response would keep the server alive.
        asyncio.get_running_loop().call_later(_LAST_WORDS_SECONDS, self._hang_up)

    def _hang_up(self) -> None:
        for connection in self.server_state.connections:
            if (transport := connection.transport) is not None:
                transport.abort()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The settings of the service, to be passed to another process. Contains the secrets of the URL: never show it."""

    url: str
    hosts: list[str] | None
    grace_seconds: int
    sweep_seconds: float
    max_upload_bytes: int | None
    """See `create_app`. The limit for files that are not uploaded in parts is an option of the URL."""
    metrics_host: str
    metrics_port: int | None
    as_json: bool
    debug: bool

    def to_json(self) -> str:
        """As JSON on one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


def run(
    service: Service,
    listener: socket.socket,
    *,
    metrics: Metrics | None = None,
    background: Iterable[Background] = (),
) -> bool:
    """Serve until SIGTERM or SIGINT, whose default action follows. False if it could not start, which has been logged.

    API keys come from the environment.
    """
    application = create_app(
        service.url,
        keys=Keys.from_environment(),
        hosts=service.hosts,
        sweep_seconds=service.sweep_seconds,
        max_upload_bytes=service.max_upload_bytes,
        metrics=metrics,
        background=background,
    )
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=service.grace_seconds,
    )
    server = _Server(config)
    server.run(sockets=[listener])
    return server.started
