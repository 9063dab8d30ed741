"""Opening directories and files relative to a descriptor, without following symbolic links.

`O_NOFOLLOW` applies only to the last component of a path (open(2)). Where openat2(2) is not available, the entry's
directory is therefore opened first, so that a link planted in the root is not followed.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sys
from collections.abc import Callable

from holdall.backends.local._linux import open_unlinked

__all__ = [
    "DATA",
    "META",
    "NOT_A_DIRECTORY",
    "NOT_A_FILE",
    "NO_ROOM",
    "DataStream",
    "Directory",
    "durably",
    "erase",
    "exists",
    "open_directory",
    "open_in_entry",
    "read_in_entry",
    "sync_data",
]

DATA, META = "data.bin", "meta.json"

# Errors of open(2) for a file or a link in the place of a directory.
NOT_A_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})
# Errors of open(2) and read(2) for a link, a socket, a directory or a FIFO in the place of a file.
NOT_A_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EAGAIN})
# Errors on a full disk of a call that allocates a block, an inode or a name.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_PATH needs no read permission and is cheaper, but exists only on Linux.
_PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a FIFO would block until a writer opens it; for a regular file it has no effect.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_META_BYTES = 16 * 1024


class Directory:
    """An open directory, closed when the last reference to it is dropped.

    Code that uses the descriptor must keep a reference to the object. With an explicit close, another thread that is
    between two calls could continue with an unrelated file that was opened under the same number.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    # The default argument keeps os.close reachable during interpreter shutdown, when module globals may be cleared.
    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        _close(self.fd)


def open_directory(name: str, dir_fd: int) -> int:
    """A descriptor of a directory, for listing and syncing it."""
    return os.open(name, _DIRECTORY, dir_fd=dir_fd)


def durably(directory: Directory, change: Callable[[], None]) -> None:
    """Make a change in a directory, and wait until it is on disk.

    This syncs through a new descriptor, opened before the change: a write-back error is reported once per open file
    description (fsync(2)), so of several threads that sync through one, only the first would see it.
    """
    fd = open_directory(".", directory.fd)
    try:
        change()
        os.fsync(fd)
    finally:
        os.close(fd)


def open_in_entry(entry: str, name: str, dir_fd: int) -> int:
    """A descriptor for reading a file of an entry.

    Raises `FileNotFoundError` if there is no such file, or if a file or a link is in the place of the entry's
    directory.
    """
    if open_unlinked is not None:
        try:
            return open_unlinked(dir_fd, f"{entry}/{name}".encode())
        except OSError as error:
            # A file or a link, either as the entry or within it. These have different meanings, so each component is
            # opened on its own.
            if error.errno not in NOT_A_DIRECTORY:
                raise
    passage = _open_passage(entry, dir_fd)
    try:
        return os.open(name, _READ, dir_fd=passage)
    finally:
        os.close(passage)


def exists(entry: str, name: str, dir_fd: int) -> bool:
    """Whether the entry contains something with this name."""
    try:
        passage = _open_passage(entry, dir_fd)
    except FileNotFoundError:
        return False
    try:
        os.stat(name, dir_fd=passage, follow_symlinks=False)
    except FileNotFoundError:
        return False
    finally:
        os.close(passage)
    return True


def _open_passage(entry: str, dir_fd: int) -> int:
    try:
        return os.open(entry, _PASSAGE, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in NOT_A_DIRECTORY:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), entry) from error
        raise


def read_in_entry(entry: str, name: str, dir_fd: int) -> bytes:
    """The whole content of a small file of an entry. Raises the errors of `open_in_entry`."""
    fd = open_in_entry(entry, name, dir_fd)
    try:
        # A read of a regular file is short only at its end, so one call suffices for nearly every metadata file.
        first = os.read(fd, _META_BYTES)
        if len(first) < _META_BYTES:
            return first
        parts = [first]
        while part := os.read(fd, _META_BYTES):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def sync_data(fd: int) -> None:
    """Wait until a file's content and size are on disk."""
    if sys.platform == "linux":
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def erase(name: str, dir_fd: int) -> None:
    """Remove a directory with its content, or a link without following it. Does nothing if it does not exist."""
    try:
        fd = open_directory(name, dir_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in NOT_A_DIRECTORY:
            raise
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=dir_fd)
        return
    try:
        # The usual content, without listing the directory. The metadata goes first, because an entry exists while it
        # does.
        for file in (META, DATA):
            # Whatever cannot be unlinked here (a directory, for example) is handled when rmdir fails.
            with contextlib.suppress(OSError):
                os.unlink(file, dir_fd=fd)
    finally:
        os.close(fd)
    # Another process may be erasing the same directory.
    with contextlib.suppress(FileNotFoundError):
        try:
            os.rmdir(name, dir_fd=dir_fd)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            shutil.rmtree(name, dir_fd=dir_fd)


class DataStream(io.RawIOBase):
    """The bytes `start` to `stop` of an open file; positions count from the start of the file. Owns the descriptor."""

    def __init__(self, fd: int, start: int, stop: int | None) -> None:
        super().__init__()
        self._fd = fd
        self._position = start
        self._stop = sys.maxsize if stop is None else stop

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or offset < 0:
            raise io.UnsupportedOperation("only absolute positions")
        self._position = offset
        return offset

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:
            return self.readall()
        # pread returns the result itself; RawIOBase.read would copy it once more.
        chunk = os.pread(self._fd, max(0, min(size, self._stop - self._position)), self._position)
        self._position += len(chunk)
        return chunk

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        if not self.closed:
            fd, self._fd = self._fd, -1
            os.close(fd)
        super().close()
