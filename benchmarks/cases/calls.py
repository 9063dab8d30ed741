"""The system calls of each operation, counted by strace if it is available; nothing is timed."""

from __future__ import annotations

import collections
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Run, check
from benchmarks.peers import PEERS, find

__all__ = ["counted", "measure"]

_OPS = ("create", "get", "get_content", "delete")
_FILES = 20
# Nonexistent paths: a check for one marks where an operation begins or ends.
_MARK = "/holdall-bench/"
_LINE = re.compile(r"^(?:\d+ +)?(?:<\.\.\. )?(\w+)(?:\(| resumed)")


def measure(run: Run) -> None:
    """Table `calls.local`: system calls for each operation, of all threads."""
    if not run.wants("calls."):
        return
    strace = shutil.which("strace")
    if strace is None:
        run.missing["system calls"] = "strace is not installed"
        return
    run.say("calls.local: counted by strace")
    table = run.table("calls.local", "system calls an operation, 1 KiB", "", unit="calls")
    for module, classes in PEERS.items():
        for name in classes:
            found, missing = find([name])
            run.missing |= missing
            if not found:
                continue
            log = run.new_folder() / "strace"
            command = [strace, "-f", "-qq", "-o", str(log), sys.executable, "-m", "benchmarks.cases.calls"]
            done = subprocess.run(
                [*command, name, str(run.new_folder())], capture_output=True, encoding="utf-8", check=False
            )
            check(done.returncode == 0, f"{module}: counting failed: {done.stderr[-300:]}")
            for call, calls in counted(log.read_text(encoding="utf-8", errors="replace").splitlines()):
                total = sum(calls.values())
                table.add(f"{found[0].name}: {call}", round(total / _FILES, 1))
                table.details[f"{found[0].name}: {call}"] = ", ".join(
                    f"{count / _FILES:.3g} {what}" for what, count in calls.most_common() if count >= _FILES / 2
                )


def counted(lines: list[str]) -> Iterator[tuple[str, collections.Counter[str]]]:
    """The calls between each pair of marks in strace's output."""
    inside, calls = None, collections.Counter[str]()
    for line in lines:
        if _MARK in line:
            name = line.partition(_MARK)[2].partition('"')[0]
            if name != "end":
                inside, calls = name, collections.Counter()
            elif inside is not None:
                yield inside, calls
                inside = None
        elif inside is not None and " resumed>" not in line and (match := _LINE.match(line)):
            calls[match[1]] += 1


def _work(name: str, root: str) -> None:
    peer = find([name])[0][0](Path(root))
    data = bytes(1024)
    for file_id in [peer.create(data) for _ in range(3)]:
        peer.get(file_id)
        peer.get_content(file_id)
        peer.delete(file_id)
    peer.settle()
    ids: list[str] = []
    for call in _OPS:
        arguments = [data] * _FILES if call == "create" else ids
        function = getattr(peer, call)
        Path(_MARK + call).exists()
        results = [function(argument) for argument in arguments]
        Path(_MARK + "end").exists()
        ids = results if call == "create" else ids
    peer.close()


if __name__ == "__main__":
    _work(*sys.argv[1:])
