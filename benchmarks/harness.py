"""How things are timed: in rounds, in random order, with the disk quiet, and on directories that were never used.

Three things would spoil the numbers, and each is kept out here.
ext4 gives no inode out again for a minute or more after it was freed, and looks past such inodes one by one. So nothing
is deleted before the last create of small files is measured, and every store is a new directory, which the file system
is asked to put elsewhere.
Memory that the machine has lent back to its host is slow at first touch. So it is touched before large files are timed.
And a shared machine changes its speed within minutes. So what is compared runs within a second or so, in an order
that changes, and only the ratios within a round are believed.
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
    """What was measured did not do its work; its time means nothing."""


class Run:
    """One run: what to measure, how much of it, where, and what came out."""

    def __init__(
        self, folder: Path, *, scale: str = "default", only: Sequence[str] = (), seed: int | None = None
    ) -> None:
        """`scale` is `quick`, `default` or `full`; `only` are names or beginnings of names of tables."""
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
        """What goes with the scale of this run."""
        return {"quick": quick, "default": default, "full": full}[self.scale]

    def wants(self, name: str) -> bool:
        """Whether a table, or one below a name that ends with a dot, is asked for."""
        if not self.only:
            return True
        return any(name.startswith(only) or (name.endswith(".") and only.startswith(name)) for only in self.only)

    def table(self, name: str, title: str, reference: str, **more: str) -> Table:
        """See `Tables.table`."""
        return self.tables.table(name, title, reference, **more)

    def new_folder(self) -> Path:
        """A directory that was never used."""
        path = self.folder / f"s{next(self._numbers):04d}"
        path.mkdir()
        return path

    def shuffled(self, things: Iterable[T]) -> list[T]:
        """In an order that differs every time."""
        shuffled = list(things)
        self.random.shuffle(shuffled)
        return shuffled

    def later(self, action: Callable[[], None]) -> None:
        """Do this once nothing creates any more: it deletes."""
        self._later.append(action)

    def finish(self) -> None:
        """Do what was left for later."""
        for action in self._later:
            action()

    def say(self, text: str) -> None:
        """Progress, to the standard error."""
        print(f"  {text}", file=sys.stderr, flush=True)

    def data(self, size: int) -> bytes:
        """Random bytes; large ones repeat a random MiB."""
        block = self.random.randbytes(min(size, MIB))
        return block * (size // len(block)) + block[: size % len(block)]


@contextlib.contextmanager
def scratch(parent: str | None) -> Iterator[Path]:
    """A directory for everything, removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="holdall-bench-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def timed(function: Callable[[Any], T], arguments: Iterable[Any]) -> tuple[list[float], list[T]]:
    """The seconds that each call took, and what each returned. No garbage is collected meanwhile, as in `timeit`."""
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
    """Let the disk finish what was written before, so that nobody pays for another's."""
    os.sync()


def per_call(function: Callable[[Any], T], arguments: Iterable[Any]) -> tuple[float, list[T]]:
    """The seconds of the middle call, the disk having been quiet at first, and what each returned."""
    quiet()
    seconds, results = timed(function, arguments)
    return statistics.median(seconds), results


def check(fact: object, what: str) -> None:
    """Raise `WrongResult` unless so."""
    if not fact:
        raise WrongResult(what)


def warm_memory(size: int) -> None:
    """Touch this much memory, and give it back to the process."""
    block = bytearray(size)
    block[::4096] = b"\1" * len(block[::4096])


def _spread_directories(folder: Path) -> None:
    """Ask ext4 to put each directory in here somewhere else, away from inodes that were freed a moment ago."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        (flags,) = struct.unpack("i", fcntl.ioctl(fd, _GET_FLAGS, struct.pack("i", 0)))
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("i", flags | _TOPDIR))
    except OSError:
        pass  # another file system, which has other habits
    finally:
        os.close(fd)
