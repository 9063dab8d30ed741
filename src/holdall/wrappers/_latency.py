"""A storage that is far away, for tests."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from holdall.backend import Backend
from holdall.wrappers._intercepting import Intercepting, Verb

__all__ = ["Latency"]

T = TypeVar("T")


class Latency(Intercepting):
    """Every call takes `seconds` longer: a round trip to the storage.

    `sleep` does the waiting. A test that asks how many round trips something takes passes a function that notes them
    and returns at once; one that needs a call to be under way passes one that waits for an event.
    """

    def __init__(self, inner: Backend, seconds: float, *, sleep: Callable[[float], object] = time.sleep) -> None:
        super().__init__(inner)
        self.quick = False
        self._seconds = seconds
        self._sleep = sleep

    def around(self, verb: Verb, file_id: str | None, call: Callable[[], T]) -> T:
        self._sleep(self._seconds)
        return call()
