"""Several processes that share a socket: started, supervised, restarted when they die, and stopped together."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping

import anyio
from anyio.abc import Process

from holdall.cli._service import Service
from holdall.cli._worker import READY
from holdall.errors import StorageError

__all__ = ["Workers"]

# A worker cancels its transfers itself when the grace period is over; one that does not end even then is stuck.
_STUCK_SECONDS = 15
# A worker that dies is replaced at once; one that dies repeatedly, with exponential backoff.
_LONG_ENOUGH_SECONDS = 60
_LONGEST_PAUSE_SECONDS = 30

_log = logging.getLogger("holdall.server")


class Workers:
    """The processes of a service. They get their settings on standard input, so no secret is in their arguments."""

    def __init__(
        self,
        service: Service,
        listener: socket.socket,
        count: int,
        *,
        variables: Mapping[str, str] | None = None,
        on_end: Callable[[int], None] = lambda _: None,
    ) -> None:
        """`variables` are added to the environment of each. `on_end` is called with the id of each ended process."""
        self._service = service
        self._listener = listener
        self._count = count
        self._environment = {**os.environ, **(variables or {})}
        self._on_end = on_end
        self._running: set[Process] = set()
        self._known, self._up = anyio.Event(), False
        self._stopping, self._signal = anyio.Event(), 0
        self._failure: str | None = None

    async def run(self, on_started: Callable[[], None]) -> int:
        """Serve until SIGTERM or SIGINT, and return which one it was. A second signal also aborts transfers.

        The first worker starts alone, and `on_started` is called when it is ready: a problem that would affect all of
        them is then reported once, as `StorageError`.
        """
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with anyio.create_task_group() as watching:
                watching.start_soon(self._obey, signals)
                watching.start_soon(self._kill_the_stuck)
                async with anyio.create_task_group() as workers:
                    workers.start_soon(self._keep_one)
                    await self._known.wait()
                    if self._up:
                        on_started()
                        for _ in range(self._count - 1):
                            workers.start_soon(self._keep_one)
                watching.cancel_scope.cancel()
        if self._failure is not None:
            raise StorageError(self._failure)
        return self._signal

    async def _obey(self, signals: AsyncIterator[signal.Signals]) -> None:
        async for number in signals:
            if self._stopping.is_set():
                self._send(signal.SIGKILL)
                continue
            self._signal = number
            self._stopping.set()
            # Clients that connect now should be refused at once, instead of waiting for a response.
            self._listener.close()
            self._send(signal.SIGTERM)

    async def _kill_the_stuck(self) -> None:
        await self._stopping.wait()
        await anyio.sleep(self._service.grace_seconds + _STUCK_SECONDS)
        _log.error("%d of the workers did not end; they are killed", len(self._running))
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process in self._running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number)

    async def _keep_one(self) -> None:
        """Keep one worker running until all are told to stop."""
        pause = 0.0
        while not self._stopping.is_set():
            began = time.monotonic()
            who, how = await self._one()
            if self._stopping.is_set():
                break
            if not self._up:
                self._failure = f"cannot serve: a worker ended while it started ({how})"
                break
            _log.error("%s ended (%s); another takes its place", who, how)
            with anyio.move_on_after(pause):
                await self._stopping.wait()
            lived = time.monotonic() - began
            pause = 0 if lived > _LONG_ENOUGH_SECONDS else min(_LONGEST_PAUSE_SECONDS, max(1, 2 * pause))
        self._known.set()

    async def _one(self) -> tuple[str, str]:
        """Run a worker until it ends. Returns which one it was, and how it ended."""
        try:
            async with self._started() as process:
                if await _is_ready(process):
                    self._up = True
                    self._known.set()
                return f"worker {process.pid}", _ending(await process.wait())
        except OSError as error:
            # For example, for lack of memory or processes, or while the interpreter is being upgraded: no reason to
            # stop the others.
            return "a worker", f"it could not be started: {error.strerror or error}"

    @contextlib.asynccontextmanager
    async def _started(self) -> AsyncIterator[Process]:
        descriptor = self._listener.fileno()
        process = await anyio.open_process(
            # -P: do not import from the current directory.
            [sys.executable, "-P", "-m", "holdall.cli._worker"],
            stderr=None,
            env=self._environment,
            pass_fds=[descriptor],
            # Ctrl-C in a terminal is for the supervisor, which signals the workers.
            start_new_session=True,
        )
        self._running.add(process)
        try:
            async with process:
                if self._stopping.is_set():
                    process.terminate()
                elif process.stdin is not None:
                    with contextlib.suppress(anyio.BrokenResourceError):
                        await process.stdin.send(f"{descriptor}\n{self._service.to_json()}\n".encode())
                yield process
        finally:
            self._running.discard(process)
            self._on_end(process.pid)


async def _is_ready(process: Process) -> bool:
    if process.stdout is None:
        return False
    told = b""
    try:
        # Imported modules may print something, too.
        while READY not in told:
            told = told[-len(READY) :] + await process.stdout.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return False
    return True


def _ending(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
