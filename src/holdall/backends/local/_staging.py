"""The commit protocol: write outside of the readers' view, sync, publish by one rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import logging
import os
from typing import TYPE_CHECKING, Any, TypeVar

from holdall.backend import StagedFile
from holdall.backends.local._files import (
    DATA,
    META,
    NO_ROOM,
    Directory,
    durably,
    erase,
    open_directory,
    sync_data,
)
from holdall.backends.local._linux import start_writing
from holdall.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdall.backend import Buffer

__all__ = ["STAGING", "LocalStagedFile", "move", "move_back", "new_name"]

T = TypeVar("T")

STAGING = ".staging"

_log = logging.getLogger("holdall")

# Small enough that a file of a megabyte is on its way while its hash is still being computed.
_WRITEBACK_BYTES = 1024 * 1024

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


# Identifies this process among all processes on all hosts; a forked child gets a new value.
_process = os.urandom(6).hex()
_numbers = itertools.count()


def _after_fork() -> None:
    global _process  # noqa: PLW0603
    _process = os.urandom(6).hex()


os.register_at_fork(after_in_child=_after_fork)


def new_name(file_id: str, suffix: str) -> str:
    """A name in the staging directory that no other write, thread, process or host uses."""
    return f"{file_id}.{_process}{next(_numbers):x}.{suffix}"


def move(source: str, source_fd: int, target: str, target_fd: int) -> None:
    """Rename an entry's directory from one open directory to another. Nothing else in this backend renames."""
    os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)


def move_back(source: str, source_fd: int, target: str, target_fd: int, synced: Directory | None) -> None:
    """Undo a rename whose sync failed or was interrupted, and sync the directory `synced`, if given."""
    move(source, source_fd, target, target_fd)
    if synced is not None:
        # The rename may have reached the disk anyway, and then the undo must too. The caller gets the first error.
        with contextlib.suppress(OSError):
            os.fsync(synced.fd)


class LocalStagedFile(StagedFile):
    """A write in `<root>/.staging`. Its `data.bin` is locked, so that a sweep can tell it from the leftover of a dead
    process.

    The constructor raises `FileNotFoundError` if a sweep removed the new directory before it was locked, or if the
    staging directory does not exist. In a forked child, `discard` leaves the files alone: they belong to the parent.
    """

    # A default for `__del__`, in case the constructor is interrupted early.
    _fd = -1

    def __init__(
        self, root: Directory, staging: Directory, file_id: str, *, fsync: bool, make_room: Callable[[], None]
    ) -> None:
        """`make_room` is called once if the disk is full; it may have freed space."""
        self._root = root
        self._staging = staging
        self._file_id = file_id
        self._fsync = fsync
        self._make_room: Callable[[], None] | None = make_room
        self._name = new_name(file_id, "new")
        self._process = _process
        self._identity: tuple[int, int] | None = None
        # How much was written since writeback was last started.
        self._behind = 0
        try:
            os.mkdir(self._name, 0o700, dir_fd=staging.fd)
            self._fd = self._create(DATA)
            self._lock()
        except BaseException:
            with contextlib.suppress(OSError):
                self.discard()
            raise

    def __del__(self) -> None:
        # Neither published nor discarded: closing unlocks the data, so a sweep may remove it.
        self._close_data()

    def write(self, chunk: Buffer) -> None:
        self._check_process()
        self._write_all(self._fd, chunk)
        self._behind += len(chunk)
        if self._behind >= _WRITEBACK_BYTES:
            # Otherwise the disk would be idle until the file is complete, and the caller would wait for all of it then.
            self._start_writing()

    def publish(self, meta: bytes) -> None:
        self._check_process()
        # Data and metadata that are written back together share one journal commit instead of waiting for two.
        self._start_writing()
        self._write_meta(meta)
        if self._fsync:
            sync_data(self._fd)
            self._sync_directory()
        try:
            # The rename is durable only after a sync of the directory that now contains the entry.
            if self._fsync:
                durably(self._root, self._appear)
            else:
                self._appear()
        except BaseException as error:
            self._unpublish()
            if isinstance(error, OSError) and error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                raise StorageError(
                    f"cannot create {self._file_id}: an entry with this id exists already",
                    file_id=self._file_id,
                ) from error
            raise

    def discard(self) -> None:
        try:
            self._close_data()
        finally:
            # Does nothing after `publish`, which has moved it away.
            if self._process == _process:
                erase(self._name, self._staging.fd)

    def _appear(self) -> None:
        self._roomy(move, self._name, self._staging.fd, self._file_id, self._root.fd)
        # Closing unlocks. Before the rename, a sweep could then erase what is about to be published.
        self._close_data()

    def _check_process(self) -> None:
        if self._process != _process:
            raise StorageError(
                f"cannot create {self._file_id}: its upload was begun before this process was forked; begin another",
                file_id=self._file_id,
            )

    def _create(self, file: str) -> int:
        return os.open(f"{self._name}/{file}", _CREATE, 0o600, dir_fd=self._staging.fd)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileNotFoundError(errno.ENOENT, "a sweep is looking at the new directory", self._name) from None
        except OSError:
            # Not every network file system supports locks. There, a sweep can only go by the age of a leftover.
            pass
        status = os.fstat(self._fd)
        if status.st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "a sweep took the new directory", self._name)
        self._identity = (status.st_dev, status.st_ino)

    def _write_meta(self, meta: bytes) -> None:
        fd = self._roomy(self._create, META)
        try:
            self._write_all(fd, meta)
            if self._fsync:
                sync_data(fd)
        finally:
            os.close(fd)

    def _write_all(self, fd: int, data: Buffer) -> None:
        written = self._roomy(os.write, fd, data)
        if written < len(data):
            view = memoryview(data)
            while written < len(view):
                written += self._roomy(os.write, fd, view[written:])

    def _start_writing(self) -> None:
        self._behind = 0
        if self._fsync and start_writing is not None:
            start_writing(self._fd)

    def _roomy(self, call: Callable[..., T], *args: Any) -> T:
        """The result of the call, repeated once if the disk was full and `make_room` has not been tried yet."""
        try:
            return call(*args)
        except OSError as error:
            if error.errno not in NO_ROOM or self._make_room is None:
                raise
            make_room, self._make_room = self._make_room, None
            make_room()
            return call(*args)

    def _sync_directory(self) -> None:
        fd = open_directory(self._name, self._staging.fd)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _close_data(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _unpublish(self) -> None:
        """Undo a rename whose sync failed or was interrupted: a write reported as failed must not be visible."""
        # The entry with this id may belong to another writer that published first.
        try:
            there = os.stat(f"{self._file_id}/{DATA}", dir_fd=self._root.fd, follow_symlinks=False)
            if (there.st_dev, there.st_ino) == self._identity:
                synced = self._root if self._fsync else None
                move_back(self._file_id, self._root.fd, self._name, self._staging.fd, synced)
        except FileNotFoundError:
            pass
        except OSError:
            _log.warning("could not take back %s, which is reported as not stored", self._file_id, exc_info=True)
