"""Opening directories and files relative to a descriptor, never through a symbolic link.

`O_NOFOLLOW` guards only the last part of a path (open(2)), so where there is no openat2(2), an entry's directory is
opened by itself first: a link planted in the root leads nowhere.
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

# What open(2) says to a file or a link where a directory should be.
NOT_A_DIRECTORY = frozenset({errno.ENOTDIR, errno.ELOOP})
# What open(2) and read(2) say to a link, a socket, a directory or a FIFO where a file should be.
NOT_A_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EAGAIN})
# What anything that needs a block, an inode or a name says on a full disk.
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_PATH needs no read permission and costs less; only Linux has it.
_PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Opening a FIFO would wait for somebody to write to it; to a file O_NONBLOCK means nothing.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_META_BYTES = 16 * 1024


class Directory:
    """An open directory, closed when the last of its users lets go of it.

    Whoever works with the descriptor holds the object meanwhile: closing by hand while another thread is between two
    calls would let that thread go on in whatever was opened next under the same number.
    """

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    # The default keeps the function reachable while the interpreter takes its modules apart.
    def __del__(self, _close: Callable[[int], None] = os.close) -> None:
        _close(self.fd)


def open_directory(name: str, dir_fd: int) -> int:
    """A descriptor of a directory, for listing and syncing it."""
    return os.open(name, _DIRECTORY, dir_fd=dir_fd)


def durably(directory: Directory, change: Callable[[], None]) -> None:
    """Make a change in a directory, and wait until it is on the disk.

    Through an opening of its own: what could not be written is reported once to each (fsync(2)), and of several who
    sync through one, only the first would hear of it. It is opened before, so that nothing is missed.
    """
    fd = open_directory(".", directory.fd)
    try:
        change()
        os.fsync(fd)
    finally:
        os.close(fd)


def open_in_entry(entry: str, name: str, dir_fd: int) -> int:
    """A descriptor for reading a file of an entry.

    `FileNotFoundError` if there is no such file, or a file or a link where the entry's directory would be.
    """
    if open_unlinked is not None:
        try:
            return open_unlinked(dir_fd, f"{entry}/{name}".encode())
        except OSError as error:
            # A link or a file, in one place or the other, which means different things: looked at one by one.
            if error.errno not in NOT_A_DIRECTORY:
                raise
    passage = _open_passage(entry, dir_fd)
    try:
        return os.open(name, _READ, dir_fd=passage)
    finally:
        os.close(passage)


def exists(entry: str, name: str, dir_fd: int) -> bool:
    """Whether something in an entry has this name."""
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
    """The whole of a small file of an entry. Raises what `open_in_entry` does."""
    fd = open_in_entry(entry, name, dir_fd)
    try:
        # A read of a regular file is short only at its end: one call serves nearly every metadata file.
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
    """Wait until a file's bytes and size are on the disk."""
    if sys.platform == "linux":
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def erase(name: str, dir_fd: int) -> None:
    """Remove a directory with all that is in it, or a link without following it. If it is gone, does nothing."""
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
        # The usual content, without a scan. The metadata goes first: half an entry is none.
        for file in (META, DATA):
            # What cannot be unlinked (it may be a directory) keeps the directory from being removed.
            with contextlib.suppress(OSError):
                os.unlink(file, dir_fd=fd)
    finally:
        os.close(fd)
    # Somebody else may be erasing the same.
    with contextlib.suppress(FileNotFoundError):
        try:
            os.rmdir(name, dir_fd=dir_fd)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            shutil.rmtree(name, dir_fd=dir_fd)


class DataStream(io.RawIOBase):
    """The bytes `start` to `stop` of an open file; positions are those of the file. Owns the descriptor."""

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
        # pread straight into the result: RawIOBase.read would copy it once more.
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
