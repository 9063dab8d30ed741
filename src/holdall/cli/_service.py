"""One process of the service: the application, as it was asked for, behind a socket that listens already."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Self

import uvicorn

from holdall.server import Keys, create_app

if TYPE_CHECKING:
    from holdall.server import Metrics
    from holdall.server._app import Background

__all__ = ["Service", "run"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What was asked for, to be told to another process. Holds the secrets of the URL: never to be shown."""

    url: str
    hosts: list[str] | None
    grace_seconds: int
    sweep_seconds: float
    max_upload_bytes: int | None
    """See `create_app`. The largest file that comes at once is in the URL."""
    metrics_host: str
    metrics_port: int | None
    as_json: bool
    debug: bool

    def to_json(self) -> str:
        """On one line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` gave."""
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
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    return server.started
