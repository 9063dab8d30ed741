"""A wrapper that injects errors, for tests."""

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
    """An error to inject: `Fault("publish", OSError(errno.EIO, "broken disk"), nth=2)`."""

    verb: Verb
    error: BaseException
    """The exception that is raised, this very object; may be a `KeyboardInterrupt`."""
    nth: int = 1
    """The number of the call of this verb, counted from 1 over all threads, staged files and streams."""
    times: int | None = 1
    """How many calls fail, from the `nth` on; None: all of them."""
    when: Literal["before", "after"] = "before"
    """Before the call, which then does not take place; or after it, when its work is done but its result is lost."""

    def __post_init__(self) -> None:
        if self.verb not in get_args(Verb):
            raise InvalidRequest(f"{self.verb!r} cannot be made to fail; these can: {', '.join(get_args(Verb))}")
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise InvalidRequest("nth and times are counted from 1")
        if self.when not in {"before", "after"}:
            raise InvalidRequest(f"when is {self.when!r}; it must be 'before' or 'after'")

    def hits(self, call_number: int) -> bool:
        """Whether the call of its verb with this number, counted from 1, fails."""
        return call_number >= self.nth and (self.times is None or call_number < self.nth + self.times)


class Faulty(Intercepting):
    """Behaves as `inner` does, except for the given faults; the first fault that matches a call is raised.

    `faults` may be changed at any time; `calls` counts the calls, `fired` lists the faults that were raised. A fault
    "after" breaks a promise that every backend makes (a call that failed had no effect), as real networks do: use it to
    see how an application copes with that.
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
