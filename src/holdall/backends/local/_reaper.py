"""Giving back the space of removed entries, off the caller's path."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from holdall.backends.local._files import Directory, erase

__all__ = ["Reaper"]

_log = logging.getLogger("holdall")


class Reaper:
    """Erases removed entries on one thread, made when first needed.

    Unlinking a file costs many times the rename that removed its entry. Pending work is finished by `close`, and at the
    latest when the interpreter exits; after a crash `sweep` finds the rest.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False
        self._pid = os.getpid()

    def submit(self, name: str, directory: Directory) -> None:
        """Erase soon; after `close`, now."""
        try:
            self._running().submit(_erase_quietly, name, directory)
        except RuntimeError:
            # Closed, or the interpreter is exiting, or there may be no more threads.
            _erase_quietly(name, directory)

    def wait(self) -> None:
        """Wait until what was submitted so far is erased."""
        self._adopt()
        with self._lock:
            executor = self._executor
        if executor is not None:
            # Closed meanwhile: then there is nothing to wait for.
            with contextlib.suppress(RuntimeError):
                executor.submit(int).result()

    def close(self) -> None:
        """Wait until everything is erased."""
        self._adopt()
        with self._lock:
            executor, self._executor = self._executor, None
            self._closed = True
        if executor is not None:
            executor.shutdown(wait=True)

    def _running(self) -> ThreadPoolExecutor:
        self._adopt()
        with self._lock:
            if self._closed:
                raise RuntimeError("closed")
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="holdall-reaper")
            return self._executor

    def _adopt(self) -> None:
        """In a forked child neither the thread nor a holder of the lock exists any more; the parent does its work."""
        if self._pid != os.getpid():
            self._lock = threading.Lock()
            self._executor = None
            self._pid = os.getpid()


def _erase_quietly(name: str, directory: Directory) -> None:
    try:
        erase(name, directory.fd)
    except OSError:
        _log.warning("could not give back the space of %s yet; sweep will", name, exc_info=True)
