"""Detection of forks, after which obstore cannot be used.

obstore runs requests on threads that it starts with the first request and keeps for the whole process. A forked child
inherits their locks but none of the threads, so its requests would wait forever, even through a new store. They can
only be refused. A process that has made no request yet may fork freely.
"""

from __future__ import annotations

import os

from holdall import StorageError

__all__ = ["enter"]

_used = False
_broken = False


def enter() -> None:
    """Must be called before every request. Raises `StorageError` in a forked child that cannot make requests."""
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
