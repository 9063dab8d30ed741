"""Publishing the files of many threads together, so that they wait for the disk twice instead of four times each.

syncfs(2) makes everything durable that was written to a file system, in one call, however many files that is.
It is used only where it can be relied on, and where it does not mean waiting for what others write.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from holdall.backends.local._files import Directory

__all__ = ["GroupCommit", "Member"]

# Fewer threads are as quick side by side.
_CROWD = 4
# What is larger waits by itself: everybody in a group waits for all of it.
_MOST_BYTES = 1024 * 1024
# Other programs' unwritten data would be waited for as well.
_MOST_UNWRITTEN_BYTES = 32 * 1024 * 1024

# Where syncfs waits for the data and reports its errors. An overlay reports none of the file system below it.
_RELIABLE = frozenset({"btrfs", "ext4", "xfs"})
# Before, it reported no errors of data that could not be written (syncfs(2)).
_REPORTS_ERRORS_SINCE = (5, 8)
_MEMORY = "/proc/meminfo"
_unwritten = re.compile(rb"^(?:Dirty|Writeback): *(\d+) kB$", re.MULTILINE).findall


class Member(Protocol):
    """A staged file on its way: what has been done for it, and what is left to its own thread."""

    files_synced: bool
    """Whether its files and its directory are on the disk."""
    moved: bool
    """Whether it has appeared in the root."""
    root_synced: bool
    """Whether that is on the disk as well."""
    root_error: int | None
    """The number of the error with which the root could not be synced: the kernel tells it only once."""

    def move(self) -> None:
        """Let it appear in the root."""


class _Place:
    """Of one who waits. A lock, held until then: an event takes several times as long, and many wait at once."""

    __slots__ = ("done", "left", "member")

    def __init__(self, member: Member) -> None:
        self.member = member
        self.done = False
        self.left = threading.Lock()
        self.left.acquire()


class GroupCommit:
    """Takes a crowd's files through the steps of publishing on one thread, made when first needed.

    What a group cannot do, for whatever reason, is left to each member, which then meets its own error.
    """

    def __init__(self, kind: str) -> None:
        """`kind` is that of the file system, as `kind_of` says it."""
        self._syncfs = _syncfs if kind in _RELIABLE else None
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._closed = False
        self._present = 0
        self._waiting: list[_Place] = []
        self._pid = os.getpid()

    @contextlib.contextmanager
    def counted(self, size: int) -> Iterator[bool]:
        """Count the caller as one who is publishing so many bytes. Whether it should join the others."""
        self._adopt()
        with self._lock:
            self._present += 1
            crowded = self._present >= _CROWD
        try:
            yield crowded and size <= _MOST_BYTES and self._syncfs is not None
        finally:
            with self._lock:
                self._present -= 1

    def join(self, member: Member, root: Directory) -> None:
        """Wait until as many of its steps are done as a group can do."""
        place = _Place(member)
        try:
            with self._lock:
                if self._closed:
                    return
                if not self._waiting:
                    if self._executor is None:
                        self._executor = ThreadPoolExecutor(1, thread_name_prefix="holdall-commit")
                    self._executor.submit(self._commit, root)
                self._waiting.append(place)
            place.left.acquire()
        except RuntimeError:
            # The interpreter is exiting, or there may be no more threads.
            return
        except BaseException:
            self._leave(place)
            raise

    def close(self) -> None:
        """Wait until nobody waits any more."""
        self._adopt()
        with self._lock:
            executor, self._executor = self._executor, None
            self._closed = True
        if executor is not None:
            executor.shutdown(wait=True)

    def _leave(self, place: _Place) -> None:
        """Go away without touching what the other thread is working on just now."""
        with self._lock:
            if place in self._waiting:
                self._waiting.remove(place)
                return
        while not place.done:
            with contextlib.suppress(KeyboardInterrupt):
                place.left.acquire()

    def _commit(self, root: Directory) -> None:
        with self._lock:
            places, self._waiting = self._waiting, []
        try:
            if places and self._syncfs is not None and _little_is_unwritten():
                _publish([place.member for place in places], root, self._syncfs)
        finally:
            for place in places:
                place.done = True
                place.left.release()

    def _adopt(self) -> None:
        """In a forked child neither the threads nor a holder of the lock exist any more."""
        if self._pid != os.getpid():
            self._lock, self._executor, self._present, self._waiting = threading.Lock(), None, 0, []
            self._pid = os.getpid()


def _publish(members: list[Member], root: Directory, syncfs: Callable[[int], None]) -> None:
    try:
        syncfs(root.fd)
    except OSError:
        # It may be for the sake of anybody's file: the sync of its own tells each.
        return
    for member in members:
        member.files_synced = True
        # Its thread will meet the same error.
        with contextlib.suppress(OSError):
            member.move()
    moved = [member for member in members if member.moved]
    try:
        os.fsync(root.fd)
    except OSError as error:
        for member in moved:
            member.root_error = error.errno
    else:
        for member in moved:
            member.root_synced = True


def _little_is_unwritten() -> bool:
    """Whether little was written, by anybody, on whatever file system, that is not on its disk yet."""
    try:
        with open(_MEMORY, "rb", buffering=0) as file:
            amounts = [int(kibibytes) * 1024 for kibibytes in _unwritten(file.read())]
    except OSError:
        return False
    return bool(amounts) and sum(amounts) <= _MOST_UNWRITTEN_BYTES


def _bind() -> Callable[[int], None] | None:
    """syncfs(2), which Python has no binding for; None where it is not there, or reports no errors."""
    release = re.match(r"(\d+)\.(\d+)", platform.release())
    if sys.platform != "linux" or release is None or tuple(map(int, release.groups())) < _REPORTS_ERRORS_SINCE:
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if function is None:
        return None

    def syncfs(fd: int) -> None:
        if function(fd):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    return syncfs


_syncfs = _bind()
