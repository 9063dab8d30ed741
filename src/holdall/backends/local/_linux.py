"""What Linux can do that Python has no function for. Where it is missing, whoever calls must do without.

openat2(2) opens a path with two parts while following no link in either of them: one call, where otherwise an open of
the directory, an open below it and a close would be needed. It is there since Linux 5.6, unless a sandbox refuses it.

sync_file_range(2) lets a file's data go to the disk without waiting for it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable

__all__ = ["open_unlinked", "start_writing"]

# The same on every architecture but one (asm-generic/unistd.h).
_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04
_SYNC_FILE_RANGE_WRITE = 0x02
# What a sandbox or a file system says that does not have it.
_UNKNOWN = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP})


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _bind_openat2(flags: int) -> Callable[[int, bytes], int] | None:
    """A function that opens a path below a descriptor with these flags, following no link anywhere in it."""
    if sys.platform != "linux" or platform.machine() == "alpha":
        return None
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    # No argtypes: to convert by them takes a seventh of the time to read a small file. The arguments have their types
    # already: the descriptor is passed as a C int, the path as a pointer to it.
    syscall.restype = ctypes.c_long
    how = _OpenHow(flags, 0, _RESOLVE_NO_SYMLINKS)
    number, where, size = ctypes.c_long(_OPENAT2), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))

    def open_below(dir_fd: int, path: bytes) -> int:
        while True:
            fd: int = syscall(number, dir_fd, path, where, size)
            if fd >= 0:
                return fd
            code = ctypes.get_errno()
            # As os.open does, PEP 475: a signal's handler has run by now.
            if code != errno.EINTR:
                raise OSError(code, os.strerror(code), os.fsdecode(path))

    try:
        root = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.close(open_below(root, b"."))
        finally:
            os.close(root)
    except OSError:
        return None
    return open_below


open_unlinked = _bind_openat2(os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
"""`open_unlinked(dir_fd, path)`: a descriptor for reading. None where the system has no such call."""


def _bind_sync_file_range() -> Callable[[int], None] | None:
    if sys.platform != "linux":
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).sync_file_range
    except AttributeError:
        return None
    call.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)

    def start_writing(fd: int) -> None:
        if call(fd, 0, 0, _SYNC_FILE_RANGE_WRITE) < 0 and (code := ctypes.get_errno()) not in _UNKNOWN:
            # Data that could not be given to the disk may be dropped, and a sync that follows not know of it.
            raise OSError(code, os.strerror(code))

    return start_writing


start_writing = _bind_sync_file_range()
"""`start_writing(fd)`: what was written to a file begins to go to the disk, which promises nothing. `OSError` if it
could not even begin: the data may be lost then. None where the system has no such call.
"""
