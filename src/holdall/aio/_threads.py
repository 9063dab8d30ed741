"""Blocking calls on worker threads, none of which outlives the task that awaits it."""

from __future__ import annotations

import logging
import queue
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from anyio import (
    CancelScope,
    CapacityLimiter,
    Event,
    create_task_group,
    from_thread,
    get_cancelled_exc_class,
    to_thread,
)
from anyio.lowlevel import checkpoint_if_cancelled

from holdall.errors import InvalidRequest

__all__ = ["DEFAULT_MAX_THREADS", "Ask", "Threads"]

DEFAULT_MAX_THREADS = 40

_log = logging.getLogger("holdall")

T = TypeVar("T")
Ask: TypeAlias = Callable[[Callable[[], Awaitable[Any]]], Any]
"""Called on a worker thread: has the awaiting task await something, and returns or raises what came of it."""


class Threads:
    """At most `most` worker threads for calls, and as many again for calls that ask things of their task.

    The two are counted apart: a thread that waits for its task would otherwise lock the store up as soon as all
    threads do, when what the tasks are busy with needs a thread too (copying from a store into itself).
    """

    def __init__(self, most: int) -> None:
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise InvalidRequest(f"max_threads must be a whole number, 1 or more, not {most!r}")
        self._calls = CapacityLimiter(most)
        self._asking = CapacityLimiter(most)

    async def run(
        self,
        call: Callable[..., T],
        *args: Any,
        undo: Callable[[T], object] | None = None,
        certain: bool = False,
    ) -> T:
        """What `call(*args)` returns or raises, the same object.

        A call that began is waited for, even if this task is cancelled, by whatever means. Cancelled by a cancel scope,
        the task still gets the call's result, and the cancellation at its next checkpoint. Cancelled by asyncio's
        `Task.cancel`, which cannot be held off, the result has nobody to go to: `undo` gets it.
        With `certain` the call takes place even in a task that is cancelled already.
        """
        return await self._finish(_Job(partial(call, *args)), self._calls, undo, certain=certain)

    async def run_asking(self, call: Callable[[Ask], T], *, undo: Callable[[T], object] | None = None) -> T:
        """The same for a call that has this task await things for it, one at a time.

        This task, and not another: so a source may hold cancel scopes and task groups open between its chunks.
        """
        job: _Job[T] = _Job(lambda: call(job.ask))
        return await self._finish(job, self._asking, undo, certain=False)

    async def _finish(
        self, job: _Job[T], limiter: CapacityLimiter, undo: Callable[[T], object] | None, *, certain: bool
    ) -> T:
        try:
            # The thread is awaited by a task of its own, because Task.cancel() breaks into any await of this one, be
            # it shielded or not; a task group waits for its tasks all the same.
            async with create_task_group() as group:
                group.start_soon(partial(job.work, limiter, certain=certain))
                await job.serve()
                # All is done but the end of the group's task; a cancellation in that moment must not hide the result.
                group.cancel_scope.shield = True
        except get_cancelled_exc_class():
            if undo is not None and job.returned:
                await self._undo(partial(undo, job.take()))
            raise
        if not job.returned:
            # If it did not return because of the cancellation, that is raised here, by whom it came from.
            await checkpoint_if_cancelled()
        return job.take()

    async def _undo(self, call: Callable[[], object]) -> None:
        try:
            await self.run(call, certain=True)
        except Exception:  # noqa: BLE001 - the cancellation is what the caller must see
            _log.warning("could not undo a call whose task was cancelled", exc_info=True)


class _Abandoned(BaseException):
    """Raised on the thread when its task is gone."""


class _Job(Generic[T]):
    """A call on a thread, and the errands its task runs for it meanwhile."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._news = Event()
        self._errand: Callable[[], Awaitable[Any]] | None = None
        self._answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    @property
    def returned(self) -> bool:
        return bool(self._result)

    def take(self) -> T:
        """The result, or the exception raised. Once: neither is kept, so that no traceback holds itself alive."""
        if self._result:
            return self._result.pop()
        error, self._error = self._error, None
        try:
            raise error or RuntimeError("the call did not take place")
        finally:
            del error

    async def work(self, limiter: CapacityLimiter, *, certain: bool) -> None:
        try:
            with CancelScope(shield=certain):
                await to_thread.run_sync(self._run, limiter=limiter)
        finally:
            self._post(None)

    async def serve(self) -> None:
        """Run the thread's errands until it has finished. Cancellation is felt only inside an errand."""
        try:
            while True:
                with CancelScope(shield=True):
                    await self._news.wait()
                self._news = Event()
                if self._errand is None:
                    return
                self._answers.put(await _attempt(self._errand))
        finally:
            self._answers.put((None, _Abandoned()))

    def ask(self, errand: Callable[[], Awaitable[Any]]) -> Any:
        from_thread.run_sync(self._post, errand)
        value, error = self._answers.get()
        if error is not None:
            raise error
        return value

    def _post(self, errand: Callable[[], Awaitable[Any]] | None) -> None:
        self._errand = errand
        self._news.set()

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised in the task that awaits it, see take()
            self._error = error


async def _attempt(errand: Callable[[], Awaitable[Any]]) -> tuple[Any, BaseException | None]:
    try:
        # A source that never waits would otherwise keep the task from noticing that it is cancelled.
        await checkpoint_if_cancelled()
        return await errand(), None
    except (get_cancelled_exc_class(), GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - raised on the thread, which passes it on
        return None, error
