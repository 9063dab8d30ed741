"""The SHA-256 of what is being written, computed at the same time on another processor."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from holdall.backend import Buffer

__all__ = ["Sha256"]

# Handing a chunk over costs about 20 microseconds: as much as hashing this many bytes.
_LEAST_BYTES = 32 * 1024
# How far hashing may be behind: enough to never wait for the writer, little enough to be no memory.
_MOST_WAITING = 8


class _Helpers:
    """Threads that hash for whoever is writing: one for every processor but that of the writer."""

    def __init__(self) -> None:
        others = (os.cpu_count() or 1) - 1
        self.idle = threading.Semaphore(others)
        self.pool = ThreadPoolExecutor(max(others, 1), thread_name_prefix="holdall-hash")


_helpers = _Helpers()


def _after_fork() -> None:
    # The threads stayed with the parent.
    global _helpers  # noqa: PLW0603
    _helpers = _Helpers()


os.register_at_fork(after_in_child=_after_fork)


class Sha256:
    """A digest that grows by what is written. For one thread at a time."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        # Made for the first chunk that is handed over: small files, of which there are many, are done without.
        self._waiting: deque[Buffer]
        self._changed: threading.Condition
        self._helped: bool | None = None

    def hexdigest(self) -> str:
        """Of all chunks so far, in lower-case hexadecimal."""
        self._wait_for(0)
        return self._digest.hexdigest()

    def update(self, chunk: Buffer, write: Callable[[Buffer], None]) -> None:
        """Add the chunk, and `write` it, at the same time if it is large and a processor is idle.

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
        """Let a helper hash this chunk, after those before it. False if none is idle."""
        if self._helped is None:
            self._waiting, self._changed, self._helped = deque(), threading.Condition(), False
        with self._changed:
            if self._helped:
                self._waiting.append(chunk)
                return True
        helpers = _helpers
        if not helpers.idle.acquire(blocking=False):
            return False
        self._waiting.append(chunk)
        self._helped = True
        try:
            helpers.pool.submit(self._help, helpers)
        except RuntimeError:
            # The interpreter is being shut down, and starts no more threads.
            self._help(helpers)
        return True

    def _help(self, helpers: _Helpers) -> None:
        try:
            while True:
                with self._changed:
                    if not self._waiting:
                        self._helped = False
                        return
                    chunk = self._waiting[0]
                self._digest.update(chunk)
                with self._changed:
                    # Only now: what is hashed at this moment counts as waiting.
                    self._waiting.popleft()
                    self._changed.notify()
        finally:
            helpers.idle.release()

    def _wait_for(self, most: int) -> None:
        if self._helped is not None and len(self._waiting) > most:
            with self._changed:
                self._changed.wait_for(lambda: len(self._waiting) <= most)


def _unchanging(chunk: Buffer) -> Buffer | None:
    """The chunk, to be read after its owner has let go of it; None if the owner could change it by then."""
    if isinstance(chunk, bytes):
        return chunk
    # A view of its own lives on when the one it was made from is released.
    if isinstance(chunk, memoryview) and isinstance(chunk.obj, bytes):
        return memoryview(chunk)
    return None
