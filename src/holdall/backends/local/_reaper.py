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

# Deleting has paused once nothing was removed for so long. A stream of removals is waited out for the second at most.
_PAUSE_SECONDS = 0.02
_LONGEST_WAIT_SECONDS = 0.2


class Reaper:
    """Erases removed entries on one thread, made when first needed, as soon as deleting has paused.

    Unlinking a file costs many times the rename that removed its entry, and takes the same lock of the kernel as the
    next such rename: done at once, it would hold up whoever deletes many. Pending work is finished by `close`, and at
    the latest when the interpreter exits; after a crash `sweep` finds the rest.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hurry = threading.Event()
        self._executor: ThreadPoolExecutor | None = None
        self._pending: list[tuple[str, Directory]] = []
        self._awaited = False
        self._closed = False
        self._pid = os.getpid()

    def submit(self, name: str, directory: Directory) -> None:
        """Erase soon; after `close`, now."""
        self._adopt()
        try:
            with self._lock:
                executor = self._running()
                if not self._awaited:
                    executor.submit(self._erase_after_a_pause)
                    self._awaited = True
                self._pending.append((name, directory))
        except RuntimeError:
            # Closed, or the interpreter is exiting, or there may be no more threads.
            _erase_quietly(name, directory)

    def wait(self) -> None:
        """Wait until what was submitted so far is erased."""
        self._adopt()
        with self._lock:
            executor = self._executor
        if executor is not None:
            self._hurry.set()
            # Closed meanwhile: then there is nothing to wait for.
            with contextlib.suppress(RuntimeError):
                # On the same thread, after what it is erasing just now.
                executor.submit(self._erase_pending).result()
            self._hurry.clear()

    def close(self) -> None:
        """Wait until everything is erased."""
        self._adopt()
        with self._lock:
            executor, self._executor = self._executor, None
            self._closed = True
        if executor is not None:
            self._hurry.set()
            executor.shutdown(wait=True)
            # Of a caller who was interrupted.
            self._erase_pending()

    def _running(self) -> ThreadPoolExecutor:
        if self._closed:
            raise RuntimeError("closed")
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="holdall-reaper")
        return self._executor

    def _erase_after_a_pause(self) -> None:
        seen, waited = -1, 0.0
        while seen != len(self._pending) and waited < _LONGEST_WAIT_SECONDS:
            seen = len(self._pending)
            if self._hurry.wait(_PAUSE_SECONDS):
                break
            waited += _PAUSE_SECONDS
        with self._lock:
            self._awaited = False
        self._erase_pending()

    def _erase_pending(self) -> None:
        with self._lock:
            pending, self._pending = self._pending, []
        for name, directory in pending:
            _erase_quietly(name, directory)

    def _adopt(self) -> None:
        """In a forked child neither the thread nor a holder of the lock exists any more; the parent does its work."""
        if self._pid != os.getpid():
            self._lock, self._hurry = threading.Lock(), threading.Event()
            self._executor, self._pending, self._awaited = None, [], False
            self._pid = os.getpid()


def _erase_quietly(name: str, directory: Directory) -> None:
    try:
        erase(name, directory.fd)
    except OSError:
        _log.warning("could not give back the space of %s yet; sweep will", name, exc_info=True)
