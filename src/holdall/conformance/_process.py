"""Other processes, to open a store that shares no memory with this one, and to be killed in the middle of an operation.

A *nursery* is a process that has imported everything but opened no store. For each task it forks a child, so a child
costs milliseconds, and no open client is carried across a fork. The nursery is a new interpreter that opens the store
by its URL; if the target overrides how stores are opened, it is a fork of this process.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TextIO

from holdall.conformance._kit import NotChecked
from holdall.conformance._target import Target
from holdall.errors import HoldallError
from holdall.store import FileStore

__all__ = ["Nursery", "Outcome", "serve"]

Open = Callable[[str], FileStore]

_TASK_LIMIT_SECONDS = 60


@dataclass(frozen=True)
class Outcome:
    """How a child ended, and the messages that it sent before."""

    said: tuple[dict[str, Any], ...]
    """The messages in order; each was sent only after what it reports had happened."""
    killed: bool
    """Whether the task killed the process itself."""
    error: str | None
    """The exception that ended it, as `Type: text`."""
    error_types: tuple[str, ...] = ()
    """The names of the exception's classes, including base classes."""

    def value(self, name: str) -> Any:
        """The value that was sent under this name; None if there is none."""
        return next((message[name] for message in self.said if name in message), None)


class Nursery:
    """Runs tasks of `_tasks` in child processes; a context manager."""

    def __init__(self, target: Target) -> None:
        self._process: subprocess.Popen[str] | None = None
        if target.opens_by_url:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, and a scheme that was parsed
                [sys.executable, "-m", "holdall.conformance._child", target.url.scheme],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self.pid = self._process.pid
            self._orders, self._answers = self._process.stdin, self._process.stdout
        else:
            self.pid, self._orders, self._answers = _fork(target.open)

    def __enter__(self) -> Nursery:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._orders.close()
        if self._process is not None:
            self._process.wait(10)
        else:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
        self._answers.close()

    def run(self, task: str, url: str, *, copies: int = 1, **arguments: Any) -> list[Outcome]:
        """Run a task in this many children concurrently; they start at the same moment."""
        order = {"task": task, "url": url, "copies": copies, "arguments": arguments}
        try:
            self._orders.write(json.dumps(order) + "\n")
            self._orders.flush()
            answer = self._answers.readline()
        except (BrokenPipeError, ValueError):
            answer = ""
        if not answer:
            raise NotChecked("a new process could not be started")
        return [Outcome(tuple(o["said"]), o["killed"], o["error"], tuple(o["error_types"])) for o in json.loads(answer)]

    def one(self, task: str, url: str, **arguments: Any) -> Outcome:
        """Run a task in one child."""
        return self.run(task, url, **arguments)[0]


def _fork(open_store: Open) -> tuple[int, TextIO, TextIO]:
    orders_in, orders_out = os.pipe()
    answers_in, answers_out = os.pipe()
    with warnings.catch_warnings():
        # Python warns of forking with threads: here the child uses no lock that a thread of the parent could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        try:
            os.close(orders_out)
            os.close(answers_in)
            serve(open_store, os.fdopen(orders_in), os.fdopen(answers_out, "w"))
        finally:
            os._exit(0)
    os.close(orders_in)
    os.close(answers_out)
    return pid, os.fdopen(orders_out, "w"), os.fdopen(answers_in)


def serve(open_store: Open, orders: TextIO, answers: TextIO) -> None:
    """The main loop of a nursery: for each line of JSON, run children and write a line of JSON."""
    _allow_tracing()
    for line in orders:
        order = json.loads(line)
        gate_in, gate_out = os.pipe()
        children = [_spawn(open_store, order, gate_in, gate_out) for _ in range(order["copies"])]
        os.close(gate_in)
        os.close(gate_out)  # all children start now
        answers.write(json.dumps([_wait(pid, pipe) for pid, pipe in children]) + "\n")
        answers.flush()


def _spawn(open_store: Open, order: dict[str, Any], gate_in: int, gate_out: int) -> tuple[int, int]:
    said_in, said_out = os.pipe()
    pid = os.fork()
    if pid:
        os.close(said_out)
        return pid, said_in
    try:
        signal.alarm(_TASK_LIMIT_SECONDS)
        os.close(gate_out)
        os.close(said_in)
        os.read(gate_in, 1)
        _work(open_store, order, said_out)
    finally:
        os._exit(0)


def _work(open_store: Open, order: dict[str, Any], said_out: int) -> None:
    from holdall.conformance import _tasks  # noqa: PLC0415 - only children need it

    def say(**message: Any) -> None:
        os.write(said_out, json.dumps(message).encode() + b"\n")

    try:
        with open_store(order["url"]) as store:
            getattr(_tasks, order["task"])(store, say, **order["arguments"])
    except BaseException as error:  # noqa: BLE001 - any error is reported to the parent
        say(
            error=f"{type(error).__name__}: {error}",
            error_types=[c.__name__ for c in type(error).__mro__],
            trace=traceback.format_exc() if not isinstance(error, HoldallError) else "",
        )


def _wait(pid: int, pipe: int) -> dict[str, Any]:
    with os.fdopen(pipe) as file:
        # An incomplete last line, cut short by the child's death, does not count as sent.
        said = [json.loads(line) for line in file if line.endswith("\n")]
    _, status = os.waitpid(pid, 0)
    error: dict[str, Any] = next((m for m in said if "error" in m), {})
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if os.WIFSIGNALED(status) and not killed:
        error = {"error": f"died of signal {os.WTERMSIG(status)}", "error_types": []}
    return {
        "said": [m for m in said if "error" not in m],
        "killed": killed,
        "error": error.get("error"),
        "error_types": error.get("error_types", []),
    }


def _allow_tracing() -> None:
    """Let any process of this user trace this one, so that strace can attach despite restrictions (prctl(2))."""
    if sys.platform != "linux":
        return
    import ctypes  # noqa: PLC0415 - used only here

    pr_set_ptracer, any_process = 0x59616D61, -1
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(pr_set_ptracer, ctypes.c_ulong(any_process), 0, 0, 0)


def main() -> None:
    """Run a nursery in its own interpreter: orders on standard input, answers on standard output."""
    import holdall.conformance._tasks  # noqa: PLC0415 - imported once, before the forks
    import holdall.opening  # noqa: PLC0415 - see above

    # A client library may take a second to import: do it once here, not in every child.
    with contextlib.suppress(HoldallError):
        holdall.registry.load(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(lambda url: holdall.open_store(url), sys.stdin, answers)  # noqa: PLW0108 - looked up when called
