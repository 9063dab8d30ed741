"""Metrics of a server for Prometheus. No label contains a value that a tenant or client can choose."""

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
"""prometheus-client's own variable: if it is set before the import, processes keep their metrics in that directory, to
be aggregated.
"""

_REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_STORE_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER = "other"


class Metrics:
    """The metrics of a server and of its storage, to be passed to `create_app`.

    Labels are method, route and status, never a client or a file: clients cannot create labels.
    """

    def __init__(self) -> None:
        # Not the library's global registry: an application that embeds this server has its own metrics.
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
        """An ASGI application that serves the metrics. Mount it where only authorized clients can reach it.

        In one of several processes that share `$PROMETHEUS_MULTIPROC_DIR`, it serves the metrics of all of them.
        """
        directory = os.environ.get(DIRECTORY_VARIABLE)
        return make_asgi_app(registry_of(directory) if directory else self._registry)

    @property
    def registry(self) -> CollectorRegistry:
        """The collectors of this process."""
        return self._registry

    def begun(self, exchange: Exchange) -> None:
        """Count a request that begins."""
        self._in_progress.inc()

    def ended(self, exchange: Exchange) -> None:
        """Record a request that has ended."""
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
        """The backend of a store, with each call to it measured."""
        return Measured(backend, self._note)

    def swept(self, swept: Swept) -> None:
        """Record a sweep of a store, whether it succeeded or failed."""
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
    """The aggregated metrics that processes keep in this directory."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=directory)  # type: ignore[no-untyped-call]
    return registry


@contextlib.contextmanager
def exposed(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Serve the metrics on a separate port, at any path, until the context is exited. Yields the port; port 0 means any
    free one.

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
