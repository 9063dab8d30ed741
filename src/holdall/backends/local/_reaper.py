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

# Deleting has paused once nothing was removed for so long. A stream of removals is waited out so many times at most.
_PAUSE_SECONDS = 0.02
_MOST_PAUSES = 10


class Reaper:
    """Erases removed entries on one thread, made when first needed, as soon as deleting has paused.

    Unlinking a file costs many times the rename that removed its entry, and takes the same lock of the kernel as the
    next such rename: done at once, it would hold up whoever deletes many. Pending work is finished by `close`, and at
    the latest when the interpreter exits; after a crash `sweep` finds the rest.
    """

    def __init__(self) -> None:
        self._closed = False
        # One for each process: in a forked child neither the thread nor a holder of the lock exists any more, and what
        # was pending is the parent's.
        self._works: dict[int, _Work] = {}

    def submit(self, name: str, directory: Directory) -> None:
        """Erase soon; after `close`, now."""
        work = self._work()
        with work.lock:
            # Before anything that may fail: whoever comes next, or `close`, erases it.
            work.pending.append((name, directory))
            if not self._closed and work.start():
                return
        work.erase()

    def wait(self) -> None:
        """Wait until what was submitted so far is erased."""
        work = self._work()
        with work.lock:
            executor = work.executor
        if executor is None:
            work.erase()
            return
        work.hurry.set()
        try:
            # Closed meanwhile, or the interpreter is exiting.
            with contextlib.suppress(RuntimeError):
                # On the same thread, after what it is erasing just now.
                executor.submit(work.erase).result()
        finally:
            work.hurry.clear()

    def close(self) -> None:
        """Wait until everything is erased."""
        work = self._work()
        with work.lock:
            executor, work.executor = work.executor, None
            self._closed = True
        if executor is not None:
            work.hurry.set()
            executor.shutdown(wait=True)
        # Of those who were interrupted.
        work.erase()

    def _work(self) -> _Work:
        # Two threads may both make one; the first is what both get.
        return self._works.get(os.getpid()) or self._works.setdefault(os.getpid(), _Work())


class _Work:
    """What one process has to erase."""

    def __init__(self) -> None:
        # A signal's handler, or the collector, may delete on a thread that is in here already.
        self.lock = threading.RLock()
        self.hurry = threading.Event()
        self.pending: list[tuple[str, Directory]] = []
        self.executor: ThreadPoolExecutor | None = None
        self._awaited = False

    def start(self) -> bool:
        """Have the thread erase what is pending after the pause, with the lock held. False if there is no thread."""
        if self._awaited:
            return True
        if self.executor is None:
            self.executor = ThreadPoolExecutor(1, thread_name_prefix="holdall-reaper")
        # Before it is so: the executor's own lock cannot be taken twice, and who comes in between need not wait.
        self._awaited, started = True, False
        try:
            self.executor.submit(self._erase_after_a_pause)
            started = True
        except RuntimeError:
            # The interpreter is exiting, or there may be no more threads.
            return False
        except BaseException:
            # Interrupted while the thread started, which the executor then does not know: it ends by itself.
            self.executor.shutdown(wait=False)
            self.executor = None
            raise
        finally:
            if not started:
                self._awaited = False
        return True

    def erase(self) -> None:
        """Erase what is pending, on this thread."""
        with self.lock:
            pending, self.pending = self.pending, []
        for name, directory in pending:
            try:
                erase(name, directory.fd)
            except Exception:  # noqa: BLE001 - whatever it is, the others are to be erased
                _log.warning("could not give back the space of %s yet; sweep will", name, exc_info=True)

    def _erase_after_a_pause(self) -> None:
        seen = -1
        for _ in range(_MOST_PAUSES):
            if seen == len(self.pending) or self.hurry.wait(_PAUSE_SECONDS):
                break
            seen = len(self.pending)
        with self.lock:
            self._awaited = False
        self.erase()
