"""The service as a whole: one process, or several that this one supervises; its listening socket and its metrics."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from holdall.backend import Capability
from holdall.cli._service import Service, run
from holdall.cli._workers import Workers
from holdall.errors import InvalidRequest, StorageError
from holdall.opening import open_store

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["address", "check_store", "listening", "serve_alone", "serve_together"]

_log = logging.getLogger("holdall.server")


def check_store(service: Service, workers: int) -> None:
    """Open the store once, so that a problem is reported once, and before clients can connect.

    Raises `InvalidRequest` if each process would have a separate store.
    """
    with open_store(service.url) as store:
        if workers > 1 and Capability.SHARED not in store.capabilities:
            raise InvalidRequest(f"cannot serve {store.url} with {workers} workers: each would have files of its own")


def listening(host: str, port: int) -> socket.socket:
    """A listening socket, which clients can connect to from now on. Port 0 means any free port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise StorageError(f"cannot listen on {host} port {port}: {error.strerror or error}; choose another") from error


def address(listener: socket.socket) -> str:
    """The URL of a listening socket."""
    name: Any = listener.getsockname()
    return _url(name[0], name[1])


def serve_alone(service: Service, listener: socket.socket, told: str) -> bool:
    """Serve in this process until told to stop. Returns False if it could not start. Logs `told` once it listens."""
    with contextlib.ExitStack() as stack:
        metrics = None
        if service.metrics_port is not None:
            from holdall.server import Metrics  # noqa: PLC0415

            metrics = Metrics()
            told += _expose(stack, service, metrics.registry)
        _log.info("%s", told)
        return run(service, listener, metrics=metrics)


def serve_together(service: Service, listener: socket.socket, workers: int, told: str) -> None:
    """Serve in this many processes until told to stop; then end this process by the same signal.

    Raises `StorageError` if they cannot start.
    """
    told += f", with {workers} workers"
    with contextlib.ExitStack() as stack:
        variables: Mapping[str, str] = {}
        on_end: Callable[[int], None] = lambda _: None  # noqa: E731 - the alternative is a partial
        if service.metrics_port is not None:
            from prometheus_client.multiprocess import mark_process_dead  # noqa: PLC0415

            from holdall.server._metrics import DIRECTORY_VARIABLE, registry_of  # noqa: PLC0415

            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="holdall-metrics-"))
            variables, on_end = {DIRECTORY_VARIABLE: directory}, partial(mark_process_dead, path=directory)
            told += _expose(stack, service, registry_of(directory))
        watched = Workers(service, listener, workers, variables=variables, on_end=on_end)
        number = anyio.run(watched.run, partial(_log.info, "%s", told))
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _expose(stack: contextlib.ExitStack, service: Service, registry: CollectorRegistry) -> str:
    from holdall.server._metrics import exposed  # noqa: PLC0415

    port = stack.enter_context(exposed(registry, service.metrics_host, service.metrics_port or 0))
    return f"; metrics at {_url(service.metrics_host, port)}/metrics"


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
