"""Creating files from many threads concurrently, with a single store."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.disks import Unavailable, slow_disk
from benchmarks.harness import Run, check, quiet
from benchmarks.peers import Peer, find
from benchmarks.tables import Table

__all__ = ["measure", "together"]

_DURABLE = ("HoldallDurable", "StageFloorDurable")
_FAST = ("Holdall", "SeedPort", "StageFloor")

_FLUSH = 0.001
"""In seconds: typical of flash without a capacitor; rotating disks take ten times as long."""


def measure(run: Run) -> None:
    """Tables `threads.*`: the wall time of a create, by the number of threads that share the work. `threads.slow` is on
    a disk whose flush takes a millisecond.
    """
    for name, title, classes, files in (
        ("threads.durable", "create 1 KiB, durable, from threads", _DURABLE, 384),
        ("threads.slow", "create 1 KiB, durable, from threads, on a disk whose flush takes 1 ms", _DURABLE, 192),
        ("threads.create", "create 1 KiB, fsync=false, from threads", _FAST, 768),
    ):
        if not run.wants(name):
            continue
        found, missing = find(classes)
        run.missing |= missing
        run.say(f"{name}: {len(found)} stores, 1 to 64 threads")
        where = slow_disk(run.new_folder(), flush=_FLUSH) if name == "threads.slow" else contextlib.nullcontext()
        try:
            with where as disk:
                _measure(run, run.table(name, title, f"{found[0].name}, 1 thread"), found, files, disk)
        except Unavailable as error:
            run.missing["a disk with slow flushes"] = str(error)


def _measure(run: Run, table: Table, stores: list[type[Peer]], files: int, disk: Path | None) -> None:
    for number in range(run.pick(2, 5, 8) + 1):
        for kind, threads in run.shuffled((kind, n) for kind in stores for n in (1, 8, 64)):
            peer = kind(Path(tempfile.mkdtemp(dir=disk)) if disk else run.new_folder())
            seconds = together(peer, threads, files)
            if number:
                table.add(f"{kind.name}, {threads} thread{'s' if threads > 1 else ''}", seconds)
            peer.close()


def together(peer: Peer, threads: int, files: int) -> float:
    """The wall time of one create, in seconds, when this many threads create the files in equal parts."""
    data = bytes(1024)
    ready = threading.Barrier(threads + 1)
    made: list[list[str]] = []

    def work() -> None:
        ready.wait()
        made.append([peer.create(data) for _ in range(files // threads)])

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    quiet()
    ready.wait()
    start = time.perf_counter()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - start
    ids = {file_id for part in made for file_id in part}
    check(len(ids) == files // threads * threads, f"{peer.name}: {len(ids)} different files of {files}")
    for file_id in list(ids)[:3]:
        check(peer.get_content(file_id) == data, f"{peer.name}: other bytes came back")
    return seconds / len(ids)
