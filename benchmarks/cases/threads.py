"""Creating from many threads at once, one store for all."""

from __future__ import annotations

import threading
import time

from benchmarks.harness import Run, check, quiet
from benchmarks.peers import Peer, find

__all__ = ["measure", "together"]


def measure(run: Run) -> None:
    """Tables `threads.create` and `threads.durable`: the wall time of a create, by how many threads share the work."""
    for name, title, classes, files in (
        ("threads.durable", "create 1 KiB, durable, from threads", ("HoldallDurable", "StageFloorDurable"), 384),
        ("threads.create", "create 1 KiB, fsync=false, from threads", ("Holdall", "SeedPort", "StageFloor"), 768),
    ):
        if not run.wants(name):
            continue
        found, missing = find(classes)
        run.missing |= missing
        run.say(f"{name}: {len(found)} stores, 1 to 64 threads")
        table = run.table(name, title, f"{found[0].name}, 1 thread")
        rounds = run.pick(2, 5, 8)
        for number in range(rounds + 1):
            for kind, threads in run.shuffled((kind, n) for kind in found for n in (1, 8, 64)):
                peer = kind(run.new_folder())
                seconds = together(peer, threads, files)
                if number:
                    table.add(f"{kind.name}, {threads} thread{'s' if threads > 1 else ''}", seconds)
                peer.close()


def together(peer: Peer, threads: int, files: int) -> float:
    """The wall seconds of one create, where so many threads make the files in equal parts."""
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
