"""strace(1) on a nursery: which files were synced when, and the effect of failing system calls."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from holdall.conformance._kit import NotChecked
from holdall.conformance._process import Nursery

__all__ = ["Call", "Trace", "traced"]

_LINE = re.compile(r"^(?P<pid>\d+)\s+(?P<name>\w+)\((?P<arguments>.*)\)\s+=\s+(?P<result>-?\d+|\?)(?P<rest>.*)$")
_UNFINISHED = re.compile(r"^(?P<pid>\d+)\s+(?P<head>\w+\(.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(?P<pid>\d+)\s+<\.\.\. (?P<name>\w+) resumed>(?P<tail>.*)$")


@dataclass(frozen=True)
class Call:
    """A system call: name, arguments as printed by strace, result."""

    pid: int
    name: str
    arguments: str
    result: int
    injected: bool


class Trace:
    """The calls in the order in which they ended; available once tracing ends."""

    def __init__(self) -> None:
        self.calls: list[Call] = []


@contextmanager
def traced(nursery: Nursery, *expressions: str) -> Iterator[Trace]:
    """Trace the nursery and its children; `expressions` are those of strace's `-e`. `NotChecked` if not possible."""
    program = shutil.which("strace")
    if program is None:
        raise NotChecked("no strace")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace")
        options = [part for expression in expressions for part in ("-e", expression)]
        process = subprocess.Popen(  # noqa: S603 - strace, found on the path
            [program, "-f", "-y", "-s", "4096", "-o", path, *options, "-p", str(nursery.pid)],
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        try:
            said = process.stderr.readline()
            if "attached" not in said:
                raise NotChecked(f"strace may not trace here ({said.strip() or 'no reason given'})")
            trace = Trace()
            yield trace
        finally:
            process.terminate()
            process.communicate()
        trace.calls += _parse(path)


def _parse(path: str) -> Iterator[Call]:
    open_calls: dict[str, str] = {}
    with open(path, encoding="utf-8", errors="replace") as file:
        for raw in file:
            line = raw.rstrip("\n")
            if match := _UNFINISHED.match(line):
                open_calls[match["pid"]] = f"{match['pid']} {match['head']}"
                continue
            if match := _RESUMED.match(line):
                line = open_calls.pop(match["pid"], "") + match["tail"]
            if match := _LINE.match(line):
                result = -1 if match["result"] == "?" else int(match["result"])
                yield Call(int(match["pid"]), match["name"], match["arguments"], result, "INJECTED" in match["rest"])
