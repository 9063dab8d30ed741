"""Opening directories and files relative to a descriptor, never through a symbolic link.

`O_NOFOLLOW` guards only the last part of a path (open(2)), so an entry's directory is opened by itself first: a link
planted in the root leads nowhere. `openat2(2)` would do it in one call, but Python has no binding for it.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sys

__all__ = [
    "ABSENT",
    "DATA",
    "META",
    "DataStream",
    "erase",
    "exists",
    "open_directory",
    "open_in_entry",
    "read_all",
    "sync_data",
]

DATA, META = "data.bin", "meta.json"

# What open(2) says when there is no such entry, or a link or a file where its directory would be.
ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# O_PATH needs no read permission and costs less; only Linux has it.
_PASSAGE = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_META_BYTES = 16 * 1024


def open_directory(name: str, dir_fd: int) -> int:
    """A descriptor of a directory, for listing and syncing it."""
    return os.open(name, _DIRECTORY, dir_fd=dir_fd)


def open_in_entry(entry: str, name: str, dir_fd: int) -> int:
    """A descriptor for reading a file of an entry."""
    passage = os.open(entry, _PASSAGE, dir_fd=dir_fd)
    try:
        return os.open(name, _READ, dir_fd=passage)
    finally:
        os.close(passage)


def exists(entry: str, name: str, dir_fd: int) -> bool:
    """Whether an entry has this file."""
    try:
        passage = os.open(entry, _PASSAGE, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in ABSENT:
            return False
        raise
    try:
        os.stat(name, dir_fd=passage, follow_symlinks=False)
    except FileNotFoundError:
        return False
    finally:
        os.close(passage)
    return True


def read_all(fd: int) -> bytes:
    """The whole of a small file."""
    # A read of a regular file is short only at its end: one call serves nearly every metadata file.
    first = os.read(fd, _META_BYTES)
    if len(first) < _META_BYTES:
        return first
    parts = [first]
    while part := os.read(fd, _META_BYTES):
        parts.append(part)
    return b"".join(parts)


def sync_data(fd: int) -> None:
    """Wait until a file's bytes and size are on the disk."""
    if sys.platform == "linux":
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def erase(name: str, dir_fd: int) -> None:
    """Remove a directory with all that is in it, or a link without following it. If it is gone, does nothing."""
    try:
        # The usual content, without a scan.
        for file in (DATA, META):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{name}/{file}", dir_fd=dir_fd)
        os.rmdir(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink(name, dir_fd=dir_fd)
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
