"""The peak memory of streaming a large file, each in a separate process, relative to the idle process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.cases.objects import DRIVERS, bucket
from benchmarks.harness import MIB, Run, check

__all__ = ["measure"]


def measure(run: Run) -> None:
    """Table `memory.stream`."""
    if run.wants("memory."):
        run.later(lambda: _measure(run))


def _measure(run: Run) -> None:
    mib = run.pick(256, 1024, 1024)
    if not Path("/proc/self/clear_refs").exists():
        run.missing["memory"] = "peak memory is read from /proc, which this system has not"
        return
    run.say(f"memory.stream: {mib} MiB")
    title = f"peak memory over idle, streaming {mib} MiB"
    table = run.table("memory.stream", title, "", unit="B")
    _add(table, "holdall, file://", _child(str(run.new_folder()), mib))
    _add(table, "holdall, AsyncFileStore", _child(str(run.new_folder()), mib, "async"))
    with bucket(run) as where:
        if where is not None:
            for driver, name in DRIVERS.items():
                _add(table, name, _child(where.url(driver, f"memory/{driver}"), mib))


def _add(table: Any, name: str, peaks: dict[str, int]) -> None:
    for call, peak in peaks.items():
        table.add(f"{name}: {call}", peak)


def _child(url: str, mib: int, *words: str) -> dict[str, int]:
    command = [sys.executable, "-m", "benchmarks.cases.memory", str(mib), *words]
    # The URL may contain a secret, and command lines are visible to all users.
    done = subprocess.run(
        command, env={**os.environ, "HOLDALL_STORE": url}, capture_output=True, encoding="utf-8", check=False
    )
    check(done.returncode == 0, f"streaming failed: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def _peak() -> int:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))


def _forget_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def _blocks(mib: int) -> Any:
    block = os.urandom(MIB)
    return (block for _ in range(mib))


def _sync(mib: int) -> dict[str, int]:
    import holdall

    peaks: dict[str, int] = {}
    with holdall.open_store(max_bytes=2**40) as store:

        def stream(size: int) -> None:
            _forget_peak()
            file = store.create("large", _blocks(size), purpose="user_data")
            peaks["create"] = _peak()
            _forget_peak()
            with store.open(file.id) as source:
                read = sum(map(len, iter(lambda: source.read(256 * 1024), b"")))
            peaks["open and read"] = _peak()
            check(read == size * MIB, "not all came back")
            store.delete(file.id)

        stream(1)  # imports on first use do not count
        _forget_peak()
        idle = _peak()
        stream(mib)
    return {call: peak - idle for call, peak in peaks.items()}


async def _async(mib: int) -> dict[str, int]:
    import holdall

    peaks: dict[str, int] = {}
    async with holdall.open_async_store(max_bytes=2**40) as store:

        async def stream(size: int) -> None:
            _forget_peak()
            file = await store.create("large", _blocks(size), purpose="user_data")
            peaks["create"] = _peak()
            _forget_peak()
            read = 0
            async with await store.open(file.id) as source:
                while chunk := await source.read(256 * 1024):
                    read += len(chunk)
            peaks["open and read"] = _peak()
            check(read == size * MIB, "not all came back")
            await store.delete(file.id)

        await stream(1)
        _forget_peak()
        idle = _peak()
        await stream(mib)
    return {call: peak - idle for call, peak in peaks.items()}


if __name__ == "__main__":
    import asyncio

    _mib = int(sys.argv[1])
    print(json.dumps(asyncio.run(_async(_mib)) if sys.argv[2:] else _sync(_mib)))
