"""A backend that can be paused, and a call that can be cancelled in two ways."""

from __future__ import annotations

import asyncio
import importlib.util
import threading

import anyio
from anyio import CancelScope, Event, get_cancelled_exc_class, to_thread
from anyio.lowlevel import checkpoint

from holdall.backend import StagedFile
from holdall.backends.memory import MemoryBackend

LOOPS = ["asyncio", "trio"] if importlib.util.find_spec("trio") else ["asyncio"]

PATIENCE_SECONDS = 30
"""How long anything waits before it fails; reached only if the store is broken."""


class Gate:
    """A point in a backend where a thread is blocked until the gate is opened."""

    def __init__(self):
        self._reached = threading.Event()
        self._opened = threading.Event()

    def pass_through(self):
        self._reached.set()
        if not self._opened.wait(PATIENCE_SECONDS):
            raise AssertionError("nobody opened the gate")

    def open(self):
        self._opened.set()

    async def reached(self):
        assert await to_thread.run_sync(self._reached.wait, PATIENCE_SECONDS), "nobody came to the gate"


class GatedBackend(MemoryBackend):
    """A memory backend that is blocked at the verbs in `gates`, and counts calls."""

    quick = False

    def __init__(self):
        super().__init__()
        self.gates = {}
        self.calls = []
        self.unfinished = 0
        self.written = 0
        self.failure = None
        self.inside = self.most_inside = 0
        self._lock = threading.Lock()

    def gate(self, verb):
        return self.gates.setdefault(verb, Gate())

    def _at(self, verb):
        with self._lock:
            self.calls.append(verb)
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        try:
            if verb in self.gates:
                self.gates[verb].pass_through()
            if self.failure is not None and verb == self.failure[0]:
                raise self.failure[1]
        finally:
            with self._lock:
                self.inside -= 1

    def stage(self, file_id):
        self._at("stage")
        self.unfinished += 1
        return _GatedStagedFile(self, super().stage(file_id))

    def read_meta(self, file_id):
        self._at("read_meta")
        return super().read_meta(file_id)

    def open_data(self, file_id, start=0, stop=None):
        self._at("open_data")
        return super().open_data(file_id, start, stop)

    def list_ids(self, after=None, before=None):
        self._at("list_ids")
        return super().list_ids(after, before)

    def remove(self, file_id):
        self._at("remove")
        super().remove(file_id)

    def debris(self):
        self._at("debris")
        return super().debris()

    def close(self):
        self._at("close")


class _GatedStagedFile(StagedFile):
    def __init__(self, backend, inner):
        self._backend = backend
        self._inner = inner
        self._live = True

    def write(self, chunk):
        self._backend._at("write")
        self._inner.write(chunk)
        self._backend.written += len(chunk)

    def publish(self, meta):
        self._backend._at("publish")
        self._inner.publish(meta)
        self._end()

    def discard(self):
        self._backend._at("discard")
        self._inner.discard()
        self._end()

    def _end(self):
        if self._live:
            self._live = False
            self._backend.unfinished -= 1


class Call:
    """A call in a separate task, to be cancelled by a cancel scope, or by asyncio's `Task.cancel`."""

    def __init__(self, how, function):
        self._how = how
        self._function = function
        self._scope = CancelScope()
        self._task = None
        self._ended = Event()
        self.value = self.error = None
        self.cancelled = False
        self.cancelled_after = False

    def start(self, group):
        if self._how == "scope":
            group.start_soon(self._run)
        else:
            self._task = asyncio.get_running_loop().create_task(self._run())
        return self

    def cancel(self):
        if self._how == "scope":
            self._scope.cancel()
        else:
            self._task.cancel()

    @property
    def over(self):
        return self._ended.is_set()

    async def cancel_at(self, gate):
        """Cancel it while its thread waits at the gate, let the thread continue, and wait for the end."""
        await gate.reached()
        self.cancel()
        await ticks()
        gate.open()
        await self.end()

    async def end(self):
        with anyio.fail_after(PATIENCE_SECONDS):
            await self._ended.wait()

    async def _run(self):
        try:
            with self._scope:
                try:
                    self.value = await self._function()
                except get_cancelled_exc_class():
                    self.cancelled = True
                    if self._how == "scope":
                        raise
                except Exception as error:
                    self.error = error
                else:
                    await checkpoint()
        finally:
            self.cancelled_after = self._scope.cancelled_caught and not self.cancelled
            self._ended.set()


async def ticks(count=20):
    """Let all other tasks run a few times."""
    for _ in range(count):
        await checkpoint()
