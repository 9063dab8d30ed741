"""openat2(2), which Python has no binding for: one call where two opens and a close would be needed.

It is there since Linux 5.6, unless a sandbox refuses it; whoever calls must have another way.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from collections.abc import Callable

__all__ = ["open_unlinked"]

# The same on every architecture but one (asm-generic/unistd.h).
_OPENAT2 = 437
_RESOLVE_NO_SYMLINKS = 0x04


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _bind(flags: int) -> Callable[[int, bytes], int] | None:
    """A function that opens a path below a descriptor with these flags, following no link anywhere in it."""
    if sys.platform != "linux" or platform.machine() == "alpha":
        return None
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
    syscall.restype = ctypes.c_long
    how = _OpenHow(flags, 0, _RESOLVE_NO_SYMLINKS)
    where, size = ctypes.byref(how), ctypes.sizeof(how)

    def open_below(dir_fd: int, path: bytes) -> int:
        while True:
            fd: int = syscall(_OPENAT2, dir_fd, path, where, size)
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


open_unlinked = _bind(os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
"""`open_unlinked(dir_fd, path)`: a descriptor for reading. None where the system has no such call."""
