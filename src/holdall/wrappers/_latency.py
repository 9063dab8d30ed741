"""A wrapper that simulates a remote storage, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from holdall.backend import Backend
from holdall.wrappers._intercepting import Intercepting, Verb

__all__ = ["Latency"]

T = TypeVar("T")


class Latency(Intercepting):
    """Delays every call by `seconds`, as a round trip to the storage would.

    `sleep` does the waiting. To count round trips, pass a function that records the call and returns at once; to keep a
    call in progress, pass one that waits for an event.
    """

    def __init__(self, inner: Backend, seconds: float, *, sleep: Callable[[float], object] = time.sleep) -> None:
        super().__init__(inner)
        self.quick = False
        self._seconds = seconds
        self._sleep = sleep

    def around(self, verb: Verb, file_id: str | None, call: Callable[[], T]) -> T:
        self._sleep(self._seconds)
        return call()
