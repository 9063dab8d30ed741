"""The SHA-256 of written data, computed on another processor while the data is being written."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from holdall.errors import StorageError

if TYPE_CHECKING:
    from holdall.backend import Buffer

__all__ = ["Sha256"]

# Handing over a chunk costs about 20 microseconds, the same as hashing this many bytes.
_LEAST_BYTES = 32 * 1024
# How many chunks hashing may lag behind: enough to keep the helper busy, few enough to bound memory use.
_MOST_WAITING = 8


class _Helpers:
    """Threads that hash for writers: as many as there are processors, minus one for the writer."""

    def __init__(self) -> None:
        others = (os.cpu_count() or 1) - 1
        self.idle = threading.Semaphore(others)
        self.pool = ThreadPoolExecutor(max(others, 1), thread_name_prefix="holdall-hash")


_helpers = _Helpers()


def _after_fork() -> None:
    # The threads exist only in the parent.
    global _helpers  # noqa: PLW0603
    _helpers = _Helpers()


os.register_at_fork(after_in_child=_after_fork)


class Sha256:
    """An incremental digest. For one thread at a time."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        # Created when the first chunk is handed over, since the many small files never need them.
        self._waiting: deque[Buffer]
        self._changed: threading.Condition
        self._helped: bool | None = None
        self._helpers: _Helpers

    def hexdigest(self) -> str:
        """The digest of all chunks so far, in lower-case hexadecimal."""
        self._wait_for(0)
        return self._digest.hexdigest()

    def update(self, chunk: Buffer, write: Callable[[Buffer], None]) -> None:
        """Add the chunk and `write` it, both at the same time if the chunk is large and a processor is idle.

        Its memory may be reused when this returns or raises.
        """
        kept = _unchanging(chunk) if len(chunk) >= _LEAST_BYTES else None
        if kept is None or not self._hand_over(kept):
            self._wait_for(0)
            self._digest.update(chunk)
            write(chunk)
            return
        write(chunk)
        self._wait_for(_MOST_WAITING)

    def _hand_over(self, chunk: Buffer) -> bool:
        """Have a helper hash this chunk, after the earlier ones. False if no helper is idle."""
        if self._helped is None:
            self._waiting, self._changed, self._helpers = deque(), threading.Condition(), _helpers
            self._helped = False
        self._check_process()
        with self._changed:
            if self._helped:
                self._waiting.append(chunk)
                return True
        helpers = self._helpers
        if not helpers.idle.acquire(blocking=False):
            return False
        self._waiting.append(chunk)
        self._helped = True
        turn = threading.Lock()
        try:
            helpers.pool.submit(self._help, helpers, turn)
        except RuntimeError:
            # No more threads can be started.
            self._help(helpers, turn)
        return True

    def _help(self, helpers: _Helpers, turn: threading.Lock) -> None:
        # A pool that could not start a thread has queued the call before it raised, and another of its threads may
        # make it at any time.
        if not turn.acquire(blocking=False):
            return
        try:
            while True:
                with self._changed:
                    if not self._waiting:
                        self._helped = False
                        return
                    chunk = self._waiting[0]
                self._digest.update(chunk)
                with self._changed:
                    # Removed only after hashing, so that a chunk that is being hashed still counts as waiting.
                    self._waiting.popleft()
                    self._changed.notify()
        finally:
            helpers.idle.release()

    def _wait_for(self, most: int) -> None:
        if self._helped is not None and len(self._waiting) > most:
            self._check_process()
            with self._changed:
                self._changed.wait_for(lambda: len(self._waiting) <= most)

    def _check_process(self) -> None:
        # In a forked child there is no helper, and what the parent's was hashing at the fork is hashed in part.
        if self._helpers is not _helpers:
            raise StorageError(
                "cannot create a file: its upload was begun before this process was forked; begin another",
                operation="create",
            )


def _unchanging(chunk: Buffer) -> Buffer | None:
    """The chunk in a form that can be read after `update` has returned; None if the caller could modify it by then."""
    if isinstance(chunk, bytes):
        return chunk
    # A new view stays valid when the caller releases the original one.
    if isinstance(chunk, memoryview) and isinstance(chunk.obj, bytes):
        return memoryview(chunk)
    return None
