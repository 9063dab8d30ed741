"""A wrapper that times every call to the backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from holdall.backend import Backend, Debris
from holdall.errors import HoldallError, StorageError, storage_error
from holdall.wrappers import Intercepting, Verb

__all__ = ["Measured", "kind_of"]

T = TypeVar("T")

Note = Callable[[str, str, float, Exception | None], None]


class Measured(Intercepting):
    """Reports each call to the storage: the kind of store, the operation, how many seconds it took, and its error.

    A listing counts as one call, from its first step to its last, without the time that its consumer takes.
    """

    def __init__(
        self, inner: Backend, note: Note, what: str = "files", clock: Callable[[], float] = time.perf_counter
    ) -> None:
        super().__init__(inner)
        self._note = partial(note, what)
        self._say = note
        self._clock = clock

    def beside(self, other: Backend, what: str) -> Measured:
        """Another backend, measured in the same way."""
        return Measured(other, self._say, what, self._clock)

    def around(self, verb: Verb, file_id: str | None, call: Callable[[], T]) -> T:
        """See `Intercepting.around`."""
        started = self._clock()
        try:
            result = call()
        except Exception as error:
            self._note(verb, self._clock() - started, error)
            raise
        self._note(verb, self._clock() - started, None)
        return result

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        """See `Backend.list_ids`."""
        return self._steps("list_ids", lambda: self.inner.list_ids(after, before))

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """See `Backend.read_metas`."""
        return self._steps("read_metas", lambda: self.inner.read_metas(file_ids))

    def debris(self) -> Iterator[Debris]:
        """See `Backend.debris`."""
        return self._steps("debris", self.inner.debris)

    def _steps(self, verb: Verb, call: Callable[[], Iterator[T]]) -> Iterator[T]:
        took, failed = 0.0, None
        started = self._clock()
        try:
            for item in call():
                took += self._clock() - started
                yield item
                started = self._clock()
            took += self._clock() - started
        except Exception as error:
            took += self._clock() - started
            failed = error
            raise
        finally:
            self._note(verb, took, failed)


def kind_of(error: Exception) -> str:
    """The name of the holdall class that this error becomes: a small set, whatever the storage's client raises."""
    if isinstance(error, HoldallError):
        # A plugin's own subclass counts as the holdall class that it is derived from.
        kinds = (kind for kind in type(error).__mro__ if kind.__module__ == HoldallError.__module__)
        return next(kinds).__name__
    return type(storage_error(error, "")).__name__ if isinstance(error, OSError) else StorageError.__name__
