"""Logging of entries that listings leave out."""

from __future__ import annotations

import logging

__all__ = ["Skipped"]

_MOST_REPORTED = 10_000

_log = logging.getLogger("holdall")


class Skipped:
    """The unreadable entries of a store, each logged once."""

    def __init__(self) -> None:
        self._reported: set[str] = set()

    def report(self, file_id: str, error: Exception) -> None:
        """Log the error, unless this file's was logged already."""
        if file_id not in self._reported:
            if len(self._reported) >= _MOST_REPORTED:
                self._reported.clear()
            self._reported.add(file_id)
            _log.warning("left out of listings: %s", error)
