"""Giving back the space of removed entries, off the caller's path."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

__all__ = ["Reaper"]

_log = logging.getLogger("holdall")


class Reaper:
    """Runs `erase(name)` for each removed entry on one thread, made when first needed.

    Unlinking a file costs many times the rename that removed its entry. Pending work is finished by `close`, and at the
    latest when the interpreter exits; after a crash `sweep` finds the rest.
    """

    def __init__(self, erase: Callable[[str], None]) -> None:
        self._erase = erase
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._pid = 0

    def submit(self, name: str) -> None:
        """Erase soon."""
        try:
            self._running().submit(self._quietly, name)
        except RuntimeError:
            # The interpreter is exiting and takes no more work.
            self._quietly(name)

    def close(self) -> None:
        """Wait until everything is erased."""
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None and self._pid == os.getpid():
            executor.shutdown(wait=True)

    def _running(self) -> ThreadPoolExecutor:
        if self._pid != os.getpid():
            # In a forked child neither the thread nor a lock's holder exists any more.
            self._lock = threading.Lock()
            self._executor = None
        with self._lock:
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="holdall-reaper")
                self._pid = os.getpid()
            return self._executor

    def _quietly(self, name: str) -> None:
        try:
            self._erase(name)
        except OSError:
            _log.warning("could not give back the space of %s yet; sweep will", name, exc_info=True)
