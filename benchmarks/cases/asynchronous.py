"""The cost of a call from an event loop, compared with the same synchronous call."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import holdall
from benchmarks.harness import Run, check, timed

__all__ = ["measure"]


def measure(run: Run) -> None:
    """Tables `async.get`, `async.read`, `async.create`: one call after another on asyncio."""
    if run.wants("async."):
        asyncio.run(_measure(run))


async def _measure(run: Run) -> None:
    folder = str(run.new_folder())
    data = run.data(1024)
    with holdall.open_store(folder, fsync=False) as store:
        ids = [store.create("a", data, purpose="user_data").id for _ in range(200)]
        size = run.pick(50, 100, 200)
        async with holdall.open_async_store(folder, fsync=False) as other:
            pairs: dict[str, tuple[Callable[[str], Any], Callable[[str], Awaitable[Any]]]] = {
                "get": (store.get, other.get),
                "read": (store.get_content, other.get_content),
                "create": (
                    lambda _: store.create("a", data, purpose="user_data"),
                    lambda _: other.create("a", data, purpose="user_data"),
                ),
            }
            run.say("async.*: get, read and create of 1 KiB")
            for number in range(run.pick(5, 20, 20) + 1):
                for name, (call, awaitable) in pairs.items():
                    if not run.wants(f"async.{name}"):
                        continue
                    asked = run.random.choices(ids, k=size)
                    table = run.table(f"async.{name}", f"{name} 1 KiB, sync and async", "sync")
                    for who in run.shuffled(["sync", "async"]):
                        seconds, found = timed(call, asked) if who == "sync" else await _timed(awaitable, asked)
                        if name == "read":
                            check(all(content == data for content in found), f"{who}: other bytes came back")
                        else:
                            check(all(file.bytes == len(data) for file in found), f"{who}: wrong metadata")
                        if number:
                            table.add(who, statistics.median(seconds))


async def _timed(call: Callable[[str], Awaitable[Any]], arguments: list[str]) -> tuple[list[float], list[Any]]:
    clock, seconds, results = time.perf_counter, [], []
    gc.disable()
    try:
        for argument in arguments:
            start = clock()
            result = await call(argument)
            seconds.append(clock() - start)
            results.append(result)
    finally:
        gc.enable()
    return seconds, results
