"""An ext4 file system on a disk with slow flushes, for machines whose own disk flushes at once.

The disk is a file served by FUSE: a loop device stores its blocks there, and each flush of the device becomes an fsync
of that file, which sleeps. Everything between `fsync(2)` and the disk is the kernel's own: ext4, its journal, and group
commits. Needs Linux, root, /dev/fuse, the library libfuse, mkfs.ext4, and mfusepy of the bench group.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["Unavailable", "slow_disk"]

_NAME = "disk"
_READY = "ready\n"


class Unavailable(Exception):
    """Such a disk cannot be created here; the text says why."""


@contextlib.contextmanager
def slow_disk(folder: Path, *, flush: float, size: int = 2**30) -> Iterator[Path]:
    """Yields the root of an empty ext4 of `size` bytes whose disk takes `flush` seconds for each flush.

    It is mounted within `folder`, an empty directory, and unmounted at the end. Raises `Unavailable`.
    """
    backing, served, mounted = (folder / name for name in ("blocks", "served", "mounted"))
    served.mkdir()
    mounted.mkdir()
    with open(backing, "wb") as file:
        file.truncate(size)
    # Three inodes are needed for each file: many, for a file system of this size.
    _call("mkfs.ext4", "-q", "-i", "4096", str(backing))
    with contextlib.ExitStack() as stack:
        stack.enter_context(_serving(backing, served, flush))
        _call("mount", "-t", "ext4", "-o", "loop", str(served / _NAME), str(mounted))
        stack.callback(_call, "umount", str(mounted))
        yield mounted


@contextlib.contextmanager
def _serving(backing: Path, served: Path, flush: float) -> Iterator[None]:
    command = [sys.executable, __file__, str(backing), str(served), str(flush)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline() != _READY:
            process.wait()
            raise Unavailable(process.stderr.read().strip().rpartition("\n")[2] or "FUSE cannot be mounted here")
        try:
            yield
        finally:
            # Lazily, because the loop device closes its file slightly after it was unmounted.
            _call("umount", "--lazy", str(served))
            process.wait()


def _call(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not installed") from None
    if done.returncode:
        raise Unavailable(f"{command[0]}: {done.stderr.strip()}")


class _OneFile:
    """The operations of a file system with a single file; see `mfusepy.Operations`."""

    def __init__(self, backing: str, flush: float) -> None:
        self._fd = os.open(backing, os.O_RDWR)
        self._flush = flush

    def init(self, path: str) -> None:
        print(_READY, end="", flush=True)

    def getattr(self, path: str, fh: Any = None) -> dict[str, Any]:
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path == f"/{_NAME}":
            return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": os.fstat(self._fd).st_size}
        raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def read(self, path: str, size: int, offset: int, fh: Any) -> bytes:
        return os.pread(self._fd, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: Any) -> int:
        return os.pwrite(self._fd, data, offset)

    def fsync(self, path: str, datasync: int, fh: Any) -> int:
        time.sleep(self._flush)
        return 0


def _serve(backing: str, served: str, flush: float) -> None:
    import mfusepy

    operations = type("Disk", (_OneFile, mfusepy.Operations), {})(backing, flush)
    mfusepy.FUSE(operations, served, foreground=True, fsname="holdall-slow-disk")


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], float(sys.argv[3]))
