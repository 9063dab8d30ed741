"""Linux system calls that Python has no function for. Where one is missing, its name here is None.

openat2(2) opens a path of two components without following a link in either of them: one call, instead of opening the
directory, opening the file below it, and closing the directory. Available since Linux 5.6, unless a sandbox blocks it.

sync_file_range(2) starts writing a file's data to disk without waiting for it.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable

__all__ = ["open_unlinked", "start_writing"]

# The same number on every architecture except alpha (asm-generic/unistd.h).
_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04
_SYNC_FILE_RANGE_WRITE = 0x02
# Errors of the call if a sandbox or the file system does not support it.
_UNKNOWN = frozenset({errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP})


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _bind_openat2(flags: int) -> Callable[[int, bytes], int] | None:
    """A function that opens a path relative to a descriptor with these flags, following no link in any component."""
    if sys.platform != "linux" or platform.machine() == "alpha":
        return None
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    # No argtypes: converting the arguments would take a seventh of the time of reading a small file. They have the
    # right types already: ctypes passes an int as a C int, and bytes as a pointer.
    syscall.restype = ctypes.c_long
    how = _OpenHow(flags, 0, _RESOLVE_NO_SYMLINKS)
    number, where, size = ctypes.c_long(_OPENAT2), ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))

    def open_below(dir_fd: int, path: bytes) -> int:
        while True:
            fd: int = syscall(number, dir_fd, path, where, size)
            if fd >= 0:
                return fd
            code = ctypes.get_errno()
            # Retried as os.open does (PEP 475); Python has run the signal handler by now.
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
"""`open_unlinked(dir_fd, path)`: a descriptor for reading. None where openat2(2) is not available."""


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
            # Data whose write-back failed may be dropped, and a later sync may not report it.
            raise OSError(code, os.strerror(code))

    return start_writing


start_writing = _bind_sync_file_range()
"""`start_writing(fd)`: start writing a file's data to disk, without any guarantee that it arrives.

Raises `OSError` if that failed; the data may be lost then. None where sync_file_range(2) is not available.
"""
