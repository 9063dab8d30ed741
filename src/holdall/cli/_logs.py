"""The log of the service: one line for each event, as text or as JSON, on standard error."""

from __future__ import annotations

import datetime as dt
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

from holdall.cli._secrets import without_secrets
from holdall.cli._text import visible
from holdall.server._access_log import FIELDS, LOGGER
from holdall.server._request_id import current_request_id

__all__ = ["log_everything"]


def log_everything(*, as_json: bool, debug: bool) -> None:
    """Send all loggers of this process to standard error: holdall's from INFO, others, such as uvicorn's, from WARNING;
    with `debug`, each from one level lower.

    No line contains a secret of the store's URL, or a control sequence that a terminal would interpret.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines() if as_json else _TextLines())
    root, ours = logging.getLogger(), logging.getLogger("holdall")
    root.handlers[:] = [handler]
    ours.handlers[:] = []
    ours.propagate = True
    # Not DEBUG: clients of storages log the material with which they sign requests.
    root.setLevel(logging.INFO if debug else logging.WARNING)
    ours.setLevel(logging.DEBUG if debug else logging.INFO)
    logging.captureWarnings(True)


class _JsonLines(logging.Formatter):
    """One object per line: `time`, `level`, `logger`, `process`, `message`, and optionally `request_id` and
    `exception`.
    """

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "process": record.process,
        }
        if record.name == LOGGER:
            fields = {name: getattr(record, name) for name in FIELDS}
            line["message"] = f"{fields['method']} {fields['path']} {fields['status']}"
            line |= fields
        else:
            line["message"] = without_secrets(record.getMessage())
            if (request_id := current_request_id.get()) is not None:
                line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = without_secrets(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


class _TextLines(logging.Formatter):
    """`TIME LEVEL LOGGER: MESSAGE`; a traceback follows on separate lines, indented."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(self._lines(record))

    def _lines(self, record: logging.LogRecord) -> Iterator[str]:
        message = record.getMessage()
        if record.name != LOGGER:
            message = without_secrets(message)
            if (request_id := current_request_id.get()) is not None:
                message = f"{message} id={request_id}"
        yield f"{_time(record)} {record.levelname} {record.name}: {visible(message)}"
        if record.exc_info:
            for line in without_secrets(self.formatException(record.exc_info)).splitlines():
                yield f"    {visible(line)}"


def _time(record: logging.LogRecord) -> str:
    time = dt.datetime.fromtimestamp(record.created, dt.UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
