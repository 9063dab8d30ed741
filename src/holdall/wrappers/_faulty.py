"""A storage that fails when it is told to, for tests."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar, get_args

from holdall.backend import Backend
from holdall.errors import InvalidRequest
from holdall.wrappers._intercepting import Intercepting, Verb

__all__ = ["Fault", "Faulty"]

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Fault:
    """One thing that goes wrong: `Fault("publish", OSError(errno.EIO, "broken disk"), nth=2)`."""

    verb: Verb
    error: BaseException
    """What is raised, this very object; a `KeyboardInterrupt` is possible too."""
    nth: int = 1
    """Which call of this verb, counted from 1 over all threads, staged files and streams of the wrapper."""
    times: int | None = 1
    """How many calls fail from there on; None: all of them."""
    when: Literal["before", "after"] = "before"
    """Before the call, which then does not take place; or after it: its work is done, its answer is lost."""

    def __post_init__(self) -> None:
        if self.verb not in get_args(Verb):
            raise InvalidRequest(f"{self.verb!r} cannot be made to fail; these can: {', '.join(get_args(Verb))}")
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise InvalidRequest("nth and times are counted from 1")
        if self.when not in {"before", "after"}:
            raise InvalidRequest(f"when is {self.when!r}; it must be 'before' or 'after'")

    def hits(self, call_number: int) -> bool:
        """Whether this call of its verb is to fail, counted from 1."""
        return call_number >= self.nth and (self.times is None or call_number < self.nth + self.times)


class Faulty(Intercepting):
    """Does what `inner` does, except for the faults in its script; the first that fits a call is raised.

    `faults` may be changed at any time; `calls` counts what was called, `fired` lists the faults that were raised.
    A fault "after" breaks a promise that every backend makes (what was reported as failed did not happen), as real
    networks do: use it to see what your application makes of that.
    """

    def __init__(self, inner: Backend, faults: Iterable[Fault] = ()) -> None:
        super().__init__(inner)
        self.faults = list(faults)
        self.calls: Counter[Verb] = Counter()
        self.fired: list[Fault] = []
        self._lock = threading.Lock()

    def around(self, verb: Verb, file_id: str | None, call: Callable[[], T]) -> T:
        with self._lock:
            self.calls[verb] += 1
            number = self.calls[verb]
            fault = next((f for f in self.faults if f.verb == verb and f.hits(number)), None)
            if fault is not None:
                self.fired.append(fault)
        if fault is not None and fault.when == "before":
            raise fault.error
        result = call()
        if fault is not None:
            raise fault.error
        return result
