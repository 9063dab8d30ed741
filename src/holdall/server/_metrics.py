"""What a server does, in numbers, for Prometheus. No label is of a tenant's, a file's or a client's making."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, make_asgi_app, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from holdall.errors import StorageError
from holdall.server._measured import Measured, kind_of

if TYPE_CHECKING:
    from holdall.backend import Backend
    from holdall.server._exchange import Exchange
    from holdall.server._sweeper import Swept

__all__ = ["DIRECTORY_VARIABLE", "Metrics", "exposed", "registry_of"]

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""prometheus-client's own: set before it is imported, processes keep their numbers there, to be added up."""

_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_STORE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"


class Metrics:
    """The numbers of a server, and of the storage below it: to be given to `create_app`.

    Counted by method, route and status, never by who asks or for what: a client cannot make labels.
    """

    def __init__(self) -> None:
        # Not the library's global registry: an application that embeds this one has numbers of its own.
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        histogram = partial(Histogram, registry=self._registry)
        request = ("method", "route")
        self._requests = counter(
            "holdall_http_requests", "Requests answered, or ended without an answer.", (*request, "status")
        )
        self._seconds = histogram(
            "holdall_http_request_seconds", "Until the last byte was sent.", request, buckets=_REQUEST_BUCKETS
        )
        self._aborted = counter("holdall_http_aborted", "Requests whose client had gone before the end.", request)
        self._received = counter("holdall_http_received_bytes", "Bytes of request bodies.", request)
        self._sent = counter("holdall_http_sent_bytes", "Bytes of the bodies of answers.", request)
        self._in_progress = Gauge(
            "holdall_http_requests_in_progress",
            "Requests that have no whole answer yet.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        operation = ("store", "operation")
        self._operations = histogram(
            "holdall_store_operation_seconds", "Calls on the storage.", operation, buckets=_STORE_BUCKETS
        )
        self._errors = counter("holdall_store_errors", "Calls on the storage that failed.", (*operation, "error"))
        self._sweeps = counter("holdall_sweeps", "Stores swept, or tried to.", ("store", "outcome"))
        self._removed = counter("holdall_sweep_removed", "What sweeps have removed.", ("store", "kind"))
        self._swept_at = Gauge(
            "holdall_sweep_last_success_timestamp_seconds",
            "When a store was last swept, in Unix seconds.",
            ("store",),
            registry=self._registry,
            multiprocess_mode="max",
        )

    def app(self) -> Any:
        """An ASGI application that answers with the numbers, to be mounted where only those reach it who may read them.

        In a process of several that have `$PROMETHEUS_MULTIPROC_DIR` in common, with those of all.
        """
        directory = os.environ.get(DIRECTORY_VARIABLE)
        return make_asgi_app(registry_of(directory) if directory else self._registry)

    @property
    def registry(self) -> CollectorRegistry:
        """The collectors of this process."""
        return self._registry

    def begun(self, exchange: Exchange) -> None:
        """A request has begun."""
        self._in_progress.inc()

    def ended(self, exchange: Exchange) -> None:
        """A request has ended."""
        self._in_progress.dec()
        method = exchange.scope["method"]
        labels = method if method in _METHODS else _OTHER, exchange.route or _OTHER
        self._requests.labels(*labels, exchange.status or "none").inc()
        self._seconds.labels(*labels).observe(exchange.seconds)
        self._received.labels(*labels).inc(exchange.bytes_in)
        self._sent.labels(*labels).inc(exchange.bytes_out)
        if exchange.aborted:
            self._aborted.labels(*labels).inc()

    def measured(self, backend: Backend) -> Backend:
        """The backend of a store of files, with each call on it counted."""
        return Measured(backend, self._note)

    def swept(self, swept: Swept) -> None:
        """A store has been swept, or could not be."""
        self._sweeps.labels(swept.what, "failed" if swept.report is None else "done").inc()
        if swept.report is not None:
            self._removed.labels(swept.what, "expired").inc(len(swept.report.expired))
            self._removed.labels(swept.what, "leftover").inc(len(swept.report.leftovers))
            self._swept_at.labels(swept.what).set(time.time())

    def _note(self, store: str, operation: str, seconds: float, error: Exception | None) -> None:
        self._operations.labels(store, operation).observe(seconds)
        if error is not None:
            self._errors.labels(store, operation, kind_of(error)).inc()


def registry_of(directory: str) -> CollectorRegistry:
    """The sum of the numbers that processes keep in this directory."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]
    return registry


@contextlib.contextmanager
def exposed(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Answer on a listener of their own, whatever the path, until this is left; the port. Port 0 is any that is free.

    In a thread, so that they can be read while the server is busy.
    """
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"cannot listen on {host} port {port} for metrics: {reason}; choose another") from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
