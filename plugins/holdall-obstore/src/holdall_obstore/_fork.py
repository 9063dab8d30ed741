"""obstore does not survive a fork: what to do about it.

obstore runs its requests on threads that it starts at the first request and keeps for the whole process. A child made
by fork has their locks and none of the threads, so a request of the child would wait for ever, through a store made
anew too. It can only be refused. A process that has made no request yet may fork freely.
"""

from __future__ import annotations

import os

from holdall import StorageError

__all__ = ["enter"]

_used = False
_broken = False


def enter() -> None:
    """To be called before every request. Raises `StorageError` in a forked child that can make none."""
    global _used  # noqa: PLW0603 - one state for the process, as obstore's threads are
    if _broken:
        raise StorageError(
            "this process was forked from one that had used obstore, and obstore cannot be used after that; start "
            'processes with multiprocessing\'s "spawn" or "forkserver", or use the store only after the fork'
        )
    _used = True


def _after_fork() -> None:
    global _broken  # noqa: PLW0603 - see above
    _broken = _used


os.register_at_fork(after_in_child=_after_fork)
