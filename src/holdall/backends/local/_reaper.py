"""Erasing removed entries in the background."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from holdall.backends.local._files import Directory, erase

__all__ = ["Reaper"]

_log = logging.getLogger("holdall")

# Erasing begins once no entry was removed for this long. It is put off at most this many times.
_PAUSE_SECONDS = 0.02
_MOST_PAUSES = 10


class Reaper:
    """Erases removed entries on one thread, started when first needed, as soon as there is a pause between removals.

    Unlinking a file costs many times the rename that removed its entry, and takes the same kernel lock as the next such
    rename; if done at once, it would slow down a caller that deletes many files. Pending work is finished by `close`,
    or at the latest when the interpreter exits; after a crash, `sweep` removes the rest.
    """

    def __init__(self) -> None:
        self._closed = False
        # One for each process: a forked child has neither the reaper's thread nor a thread that may hold the lock, and
        # the pending entries are the parent's to erase.
        self._works: dict[int, _Work] = {}

    def submit(self, name: str, directory: Directory) -> None:
        """Erase soon; after `close`, immediately."""
        work = self._work()
        with work.lock:
            # Appended before anything that may fail, so that the next call or `close` erases it.
            work.pending.append((name, directory))
            if not self._closed and work.start():
                return
        work.erase()

    def wait(self) -> None:
        """Wait until everything submitted so far is erased."""
        work = self._work()
        with work.lock:
            executor = work.executor
        if executor is None:
            work.erase()
            return
        work.hurry.set()
        try:
            # RuntimeError: closed in the meantime, or the interpreter is exiting.
            with contextlib.suppress(RuntimeError):
                # On the same thread, and so after what it is erasing now.
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
        # Entries whose `submit` was interrupted.
        work.erase()

    def _work(self) -> _Work:
        # If two threads create one at the same time, both get the first.
        return self._works.get(os.getpid()) or self._works.setdefault(os.getpid(), _Work())


class _Work:
    """The entries that one process has to erase."""

    def __init__(self) -> None:
        # Reentrant: a signal handler or a finalizer may delete on a thread that already holds the lock.
        self.lock = threading.RLock()
        self.hurry = threading.Event()
        self.pending: list[tuple[str, Directory]] = []
        self.executor: ThreadPoolExecutor | None = None
        self._awaited = False

    def start(self) -> bool:
        """Schedule the erasing of pending entries, with the lock held. Returns False if no thread is available."""
        if self._awaited:
            return True
        if self.executor is None:
            self.executor = ThreadPoolExecutor(1, thread_name_prefix="holdall-reaper")
        # Set before submitting: the executor's own lock is not reentrant, and a nested call in between need not submit
        # again.
        self._awaited, started = True, False
        try:
            self.executor.submit(self._erase_after_a_pause)
            started = True
        except RuntimeError:
            # The interpreter is exiting, or no more threads can be started.
            return False
        except BaseException:
            # Interrupted while the thread started. The executor does not know of that thread, which ends by itself.
            self.executor.shutdown(wait=False)
            self.executor = None
            raise
        finally:
            if not started:
                self._awaited = False
        return True

    def erase(self) -> None:
        """Erase pending entries on this thread."""
        with self.lock:
            pending, self.pending = self.pending, []
        for name, directory in pending:
            try:
                erase(name, directory.fd)
            except Exception:  # noqa: BLE001 - the others must still be erased
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
