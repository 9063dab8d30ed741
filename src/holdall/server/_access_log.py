"""The access log: one line for each request to the logger `holdall.access`, when the request has ended in any way."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from holdall.server._exchange import Exchange

__all__ = ["FIELDS", "LOGGER", "AccessLog"]

LOGGER = "holdall.access"
FIELDS = (
    "method", "path", "status", "bytes_in", "bytes_out", "duration_ms", "request_id", "tenant", "client", "aborted",
)  # fmt: skip
"""The attributes of each log record."""

# Requested by monitoring every few seconds.
_PROBES = frozenset({"/healthz", "/readyz"})
_LONGEST_PATH = 512

_log = logging.getLogger(LOGGER)


class AccessLog:
    """Logs each request at INFO, and health checks at DEBUG."""

    def begun(self, exchange: Exchange) -> None:
        """Called when a request begins; logs nothing."""

    def ended(self, exchange: Exchange) -> None:
        """Log a request that has ended."""
        scope = exchange.scope
        level = logging.DEBUG if scope["path"] in _PROBES else logging.INFO
        if not _log.isEnabledFor(level):
            return
        client = scope.get("client")
        values = (
            _safe(scope["method"]),
            _path(scope["path"]),
            exchange.status,
            exchange.bytes_in,
            exchange.bytes_out,
            round(exchange.seconds * 1000, 1),
            exchange.request_id,
            exchange.tenant,
            _safe(client[0]) if client else None,
            exchange.aborted,
        )
        _log.log(
            level,
            "%s %s %s in=%d out=%d ms=%s id=%s tenant=%s client=%s%s",
            *(*("-" if value is None else value for value in values[:-1]), " aborted" if exchange.aborted else ""),
            extra=dict(zip(FIELDS, values, strict=True)),
        )


def _path(path: str) -> str:
    """The path without the query, in which some clients send secrets; escaped to a single word, and truncated."""
    safe = _safe(path[:_LONGEST_PATH])
    return safe if len(path) <= _LONGEST_PATH else f"{safe}..."


def _safe(text: str) -> str:
    return quote(text, safe="/:@!$&'()*+,;=~[]", errors="replace")
