"""`holdall serve`, compared with the store that it serves, and with a server that does nothing for these requests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import holdall
from benchmarks.harness import Run, check, quiet
from benchmarks.load import DATA, FILENAME

__all__ = ["CALLS", "CLIENTS", "measure"]

CALLS = {
    "upload": "upload 1 KiB",
    "page": "the newest page of 20 out of {files}",
    "download": "download 1 KiB",
}
CLIENTS = (1, 16, 128)
_SERVING = re.compile(r"serving http://127\.0\.0\.1:(\d+)")


def measure(run: Run) -> None:
    """Tables `server.*`: the wall time of a request by the number of clients, and its latency."""
    wanted = [call for call in CALLS if run.wants(f"server.{call}")]
    if not wanted:
        return
    try:
        import python_multipart
        import starlette
        import uvicorn

        del python_multipart, starlette, uvicorn
    except ImportError as error:
        run.missing["server"] = str(error)
        return
    files, rounds, seconds = run.pick(1000, 10_000, 10_000), run.pick(1, 3, 6), run.pick(0.3, 0.5, 1.0)
    run.say(f"server.{{{','.join(wanted)}}}: {', '.join(map(str, CLIENTS))} clients")
    for call in wanted:
        title = CALLS[call].format(files=files)
        run.table(f"server.{call}", f"{title}, wall time a request", "")
        for name, what in (("p50", "the middle wait"), ("p99", "the longest wait but 1 in 100")):
            run.table(f"server.{call}.{name}", f"{title}, {what}", "")
    with contextlib.ExitStack() as stack:
        contestants = _contestants(run, stack, files)
        for number in range(rounds + 1):
            jobs = [(call, who, n) for call in wanted for who in contestants[call] for n in CLIENTS]
            for call, who, clients in run.shuffled(jobs):
                process, job = contestants[call][who]
                quiet()
                done = process.do({**job, "call": call, "clients": clients, "seconds": seconds})
                if number:
                    _add(run, call, f"{who}, {clients} client{'s' if clients > 1 else ''}", done)


def _add(run: Run, call: str, who: str, done: dict[str, Any]) -> None:
    waits = sorted(done["seconds"])
    run.tables[f"server.{call}"].add(who, done["took"] / len(waits))
    run.tables[f"server.{call}.p50"].add(who, statistics.median(waits))
    run.tables[f"server.{call}.p99"].add(who, waits[-1 - len(waits) // 100])


def _contestants(run: Run, stack: contextlib.ExitStack, files: int) -> dict[str, dict[str, tuple[_Load, Any]]]:
    """For each call, the contestants: the process that sends requests, and the constant part of its job."""
    filled, new = str(run.new_folder()), str(run.new_folder())
    with holdall.open_store(filled, fsync=False) as store:
        ids = [store.create(FILENAME, DATA, purpose="user_data").id for _ in range(files)]
    newest = ids[-1:-21:-1]
    urls = {"": f"file://{new}", ", fsync=false": f"file://{new}-fast?fsync=false"}
    client, caller = stack.enter_context(_Load()), stack.enter_context(_Load())
    ports = {name: stack.enter_context(_serving("holdall.cli", "serve", url)) for name, url in urls.items()}
    reading = stack.enter_context(_serving("holdall.cli", "serve", f"file://{filled}?fsync=false"))
    page = urllib.request.urlopen(f"http://127.0.0.1:{reading}/v1/files?limit=20", timeout=60).read()
    check([file["id"] for file in json.loads(page)["data"]] == newest, "another page came")
    constant = run.new_folder() / "page.json"
    constant.write_bytes(page)
    floor = stack.enter_context(_serving("benchmarks.discard", str(constant)))
    uploads: dict[str, tuple[_Load, Any]] = {}
    for name, url in urls.items():
        uploads[f"holdall serve{name}"] = client, {"port": ports[name]}
        uploads[f"the store itself{name}"] = caller, {"url": url}
    reads = {
        "holdall serve": (client, {"port": reading, "newest": newest}),
        "the store itself": (caller, {"url": f"file://{filled}?fsync=false", "newest": newest}),
    }
    least = client, {"port": floor, "newest": newest, "constant": True}
    return {
        "upload": {**uploads, "Starlette, form parsed and discarded": least},
        "page": {**reads, "Starlette, a constant": least},
        "download": {**reads, "Starlette, a constant": least},
    }


class _Load:
    """A process of `benchmarks.load`."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.load"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
        return self

    def do(self, job: dict[str, Any]) -> dict[str, Any]:
        """The result of one job."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        check(answer, f"{job['call']} by {job['clients']} clients failed; the error stands above")
        found: dict[str, Any] = json.loads(answer)
        return found

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)


@contextlib.contextmanager
def _serving(*words: str) -> Iterator[int]:
    """A server in a separate process, which prints its address; yields its port."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDALL_")}
    more = ["--port", "0", "--sweep-every", "0"] if words[0] == "holdall.cli" else []
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen([sys.executable, "-m", *words, *more], stderr=log, env=environment)
        try:
            yield _port(process, Path(f"/proc/self/fd/{log.fileno()}"))
        finally:
            process.terminate()
            process.wait(timeout=60)


def _port(process: subprocess.Popen[bytes], log: Path) -> int:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        text = log.read_text(encoding="utf-8")
        if (found := _SERVING.search(text)) is not None:
            return int(found[1])
        time.sleep(0.02)
    raise AssertionError(f"the server did not start: {log.read_text(encoding='utf-8')[-500:]}")
