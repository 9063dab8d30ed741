"""Blocking calls on worker threads, none of which outlives the task that awaits it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary

from anyio import (
    CancelScope,
    CapacityLimiter,
    Event,
    create_task_group,
    get_cancelled_exc_class,
    to_thread,
)
from anyio.lowlevel import checkpoint_if_cancelled, current_token

from holdall.errors import InvalidRequest

__all__ = ["DEFAULT_MAX_THREADS", "Threads"]

DEFAULT_MAX_THREADS = 40

_log = logging.getLogger("holdall")

T = TypeVar("T")


class Threads:
    """At most `most` worker threads for the calls of one store, in each event loop that uses it."""

    def __init__(self, most: int) -> None:
        if isinstance(most, bool) or not isinstance(most, int) or most < 1:
            raise InvalidRequest(f"max_threads must be a whole number, 1 or more, not {most!r}")
        self._most = most
        # A limiter wakes its waiters in the loop it was first used in: another loop's would wait forever.
        self._limiters: WeakKeyDictionary[object, CapacityLimiter] = WeakKeyDictionary()

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
        job = _Job(partial(call, *args))
        try:
            # The thread is awaited by a task of its own, because Task.cancel() breaks into any await of this one, be
            # it shielded or not; a task group waits for its tasks all the same.
            async with create_task_group() as group:
                group.start_soon(partial(job.work, self._limiter(), certain=certain))
                with CancelScope(shield=True):
                    await job.ended.wait()
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

    def _limiter(self) -> CapacityLimiter:
        token: Any = current_token()
        # Newer versions of anyio wrap what identifies the loop, in a new object each time.
        loop = getattr(token, "native_token", token)
        limiter = self._limiters.get(loop)
        if limiter is None:
            limiter = self._limiters[loop] = CapacityLimiter(self._most)
        return limiter

    async def _undo(self, call: Callable[[], object]) -> None:
        try:
            await self.run(call, certain=True)
        except Exception:  # noqa: BLE001 - the cancellation is what the caller must see
            _log.warning("could not undo a call whose task was cancelled", exc_info=True)


class _Job(Generic[T]):
    """A call on a thread, and what came of it."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._result: list[T] = []
        self._error: BaseException | None = None
        self.ended = Event()

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
        except Exception as error:  # noqa: BLE001 - there may be no more threads; raised by take()
            self._error = error
        finally:
            self.ended.set()

    def _run(self) -> None:
        try:
            self._result.append(self._call())
        except BaseException as error:  # noqa: BLE001 - raised in the task that awaits it, see take()
            self._error = error
