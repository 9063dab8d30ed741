"""The commit protocol: write where nobody looks, make it durable, let it appear by one rename."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from holdall.backend import StagedFile
from holdall.backends.local._files import DATA, META, NO_ROOM, Directory, erase, open_directory, sync_data
from holdall.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdall.backend import Buffer
    from holdall.backends.local._group_commit import GroupCommit

__all__ = ["STAGING", "LocalStagedFile", "move", "new_name"]

STAGING = ".staging"

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def new_name(file_id: str, suffix: str) -> str:
    """A name in the staging directory that no other write, thread, process or host uses."""
    return f"{file_id}.{os.urandom(6).hex()}.{suffix}"


def move(source: str, source_fd: int, target: str, target_fd: int) -> None:
    """Rename an entry's directory, from one open directory to another. The only place where anything is renamed."""
    os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)


class LocalStagedFile(StagedFile):
    """A write in `<root>/.staging`, its `data.bin` locked so that a sweep can tell it from a dead one.

    `FileNotFoundError` if a sweep took the new directory before it was locked, or if the staging directory is gone.
    """

    def __init__(
        self,
        root: Directory,
        staging: Directory,
        file_id: str,
        *,
        group: GroupCommit | None,
        make_room: Callable[[], None],
    ) -> None:
        """Without a `group` nothing waits for the disk. `make_room` is called once when that is full."""
        self._fd = -1
        self._root = root
        self._staging = staging
        self._file_id = file_id
        self._group = group
        self._make_room: Callable[[], None] | None = make_room
        self._name = new_name(file_id, "new")
        self._finished = False
        self._size = 0
        self.files_synced = self.moved = self.root_synced = False
        self.root_error: int | None = None
        try:
            os.mkdir(self._name, 0o700, dir_fd=staging.fd)
            self._fd = os.open(f"{self._name}/{DATA}", _CREATE, 0o600, dir_fd=staging.fd)
            self._lock()
        except BaseException:
            with contextlib.suppress(OSError):
                self.discard()
            raise

    def __del__(self) -> None:
        # Neither published nor discarded: unlocked, it is a leftover that a sweep may take.
        self._close_data()

    def write(self, chunk: Buffer) -> None:
        self._write_all(self._fd, chunk)
        self._size += len(chunk)

    def publish(self, meta: bytes) -> None:
        meta_fd = os.open(f"{self._name}/{META}", _CREATE, 0o600, dir_fd=self._staging.fd)
        try:
            try:
                self._write_all(meta_fd, meta)
                if self._group is None:
                    self.move()
                    self._close_data()
                else:
                    self._publish_durably(self._group, meta_fd)
            finally:
                os.close(meta_fd)
            self._finished = True
        except BaseException as error:
            self._finished = False
            self._unpublish()
            if isinstance(error, OSError) and error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                raise StorageError(
                    f"cannot create {self._file_id}: an entry with this id exists already",
                    file_id=self._file_id,
                ) from error
            raise

    def move(self) -> None:
        """Let it appear in the root."""
        move(self._name, self._staging.fd, self._file_id, self._root.fd)
        self.moved = True

    def discard(self) -> None:
        if self._finished:
            return
        self._finished = True
        try:
            self._close_data()
        finally:
            erase(self._name, self._staging.fd)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FileNotFoundError(errno.ENOENT, "a sweep is looking at the new directory", self._name) from None
        except OSError:
            # Not every network file system has locks; there the age of a leftover must do.
            pass
        if os.fstat(self._fd).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "a sweep took the new directory", self._name)

    def _publish_durably(self, group: GroupCommit, meta_fd: int) -> None:
        """Each step once, in this order: with those of other threads as far as a group does them, then here."""
        with group.counted(self._size) as crowded:
            if crowded:
                group.join(self, self._root)
            if not self.files_synced:
                sync_data(meta_fd)
                sync_data(self._fd)
                self._sync_directory()
            if not self.moved:
                self.move()
            # Closing unlocks. Before the rename, a sweep could begin to erase what is about to appear.
            self._close_data()
            # The rename itself is durable only when the directory that now holds the entry is.
            if self.root_error is not None:
                raise OSError(self.root_error, os.strerror(self.root_error))
            if not self.root_synced:
                os.fsync(self._root.fd)

    def _write_all(self, fd: int, data: Buffer) -> None:
        written = self._write(fd, data)
        if written < len(data):
            view = memoryview(data)
            while written < len(view):
                written += self._write(fd, view[written:])

    def _write(self, fd: int, data: Buffer) -> int:
        try:
            return os.write(fd, data)
        except OSError as error:
            if error.errno not in NO_ROOM or self._make_room is None:
                raise
            make_room, self._make_room = self._make_room, None
            make_room()
            return os.write(fd, data)

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
        """Take a rename back whose durability failed or was interrupted: reported as failed means not there."""
        # Asking the staging directory is safe at every point: if the rename did not happen, the name is still there,
        # and what carries the id in the root is somebody else's.
        try:
            os.stat(self._name, dir_fd=self._staging.fd, follow_symlinks=False)
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                move(self._file_id, self._root.fd, self._name, self._staging.fd)
        except OSError:
            # Nobody can tell; what is in the root may be another's.
            pass
