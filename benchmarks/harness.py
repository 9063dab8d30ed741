"""How measurements are taken: in rounds, in random order, with an idle disk, and in new directories.

This avoids three distortions.
ext4 does not reuse an inode for a minute or more after it was freed, and skips such inodes one by one. So nothing is
deleted before the last create of small files has been measured, and every store is a new directory, which the file
system is asked to place elsewhere.
Memory that the machine has returned to its host is slow when it is first touched. So it is touched before large files
are measured.
A shared machine changes its speed within minutes. So everything that is compared runs within about a second, in an
order that changes, and only the ratios within a round are used.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import itertools
import os
import random
import shutil
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.tables import Table, Tables

__all__ = ["MIB", "Run", "WrongResult", "timed", "warm_memory"]

T = TypeVar("T")
MIB = 1024 * 1024

# linux/fs.h: FS_IOC_GETFLAGS, FS_IOC_SETFLAGS, and "top of directory hierarchies".
_GET_FLAGS, _SET_FLAGS, _TOPDIR = 0x80086601, 0x40086602, 0x00020000


class WrongResult(AssertionError):
    """What was measured returned a wrong result, so its time is meaningless."""


class Run:
    """One run: what to measure, how much of it, where, and the results."""

    def __init__(
        self, folder: Path, *, scale: str = "default", only: Sequence[str] = (), seed: int | None = None
    ) -> None:
        """`scale` is `quick`, `default` or `full`; `only` contains names of tables or their beginnings."""
        self.folder = folder
        self.scale = scale
        self.only = tuple(only)
        self.random = random.Random(seed)
        self.tables = Tables()
        self.missing: dict[str, str] = {}
        self._numbers = itertools.count()
        self._later: list[Callable[[], None]] = []
        _spread_directories(folder)

    def pick(self, quick: T, default: T, full: T) -> T:
        """The value for the scale of this run."""
        return {"quick": quick, "default": default, "full": full}[self.scale]

    def wants(self, name: str) -> bool:
        """Whether a table, or one below a name that ends with a dot, is requested."""
        if not self.only:
            return True
        return any(name.startswith(only) or (name.endswith(".") and only.startswith(name)) for only in self.only)

    def table(self, name: str, title: str, reference: str, **more: str) -> Table:
        """See `Tables.table`."""
        return self.tables.table(name, title, reference, **more)

    def new_folder(self) -> Path:
        """A new directory."""
        path = self.folder / f"s{next(self._numbers):04d}"
        path.mkdir()
        return path

    def shuffled(self, things: Iterable[T]) -> list[T]:
        """In random order."""
        shuffled = list(things)
        self.random.shuffle(shuffled)
        return shuffled

    def later(self, action: Callable[[], None]) -> None:
        """Do this after all creates, because it deletes."""
        self._later.append(action)

    def finish(self) -> None:
        """Do what was left for later."""
        for action in self._later:
            action()

    def say(self, text: str) -> None:
        """Print progress to standard error."""
        print(f"  {text}", file=sys.stderr, flush=True)

    def data(self, size: int) -> bytes:
        """Random bytes; large ones repeat a random MiB."""
        block = self.random.randbytes(min(size, MIB))
        return block * (size // len(block)) + block[: size % len(block)]


@contextlib.contextmanager
def scratch(parent: str | None) -> Iterator[Path]:
    """A temporary directory for everything, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="holdall-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def timed(function: Callable[[Any], T], arguments: Iterable[Any]) -> tuple[list[float], list[T]]:
    """The seconds that each call took, and what each returned. Garbage collection is off meanwhile, as in `timeit`."""
    clock, seconds, results = time.perf_counter, [], []
    gc.disable()
    try:
        for argument in arguments:
            start = clock()
            result = function(argument)
            seconds.append(clock() - start)
            results.append(result)
    finally:
        gc.enable()
    return seconds, results


def quiet() -> None:
    """Flush earlier writes to disk, so that they do not slow down what follows."""
    os.sync()


def per_call(function: Callable[[Any], T], arguments: Iterable[Any]) -> tuple[float, list[T]]:
    """The median seconds of a call, starting with an idle disk, and what each call returned."""
    quiet()
    seconds, results = timed(function, arguments)
    return statistics.median(seconds), results


def check(fact: object, what: str) -> None:
    """Raise `WrongResult` if `fact` is false."""
    if not fact:
        raise WrongResult(what)


def warm_memory(size: int) -> None:
    """Touch this much memory, and return it to the process."""
    block = bytearray(size)
    block[::4096] = b"\1" * len(block[::4096])


def _spread_directories(folder: Path) -> None:
    """Ask ext4 to place each directory in here elsewhere, away from recently freed inodes."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        (flags,) = struct.unpack("i", fcntl.ioctl(fd, _GET_FLAGS, struct.pack("i", 0)))
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("i", flags | _TOPDIR))
    except OSError:
        pass  # another file system, which does not support this flag
    finally:
        os.close(fd)
