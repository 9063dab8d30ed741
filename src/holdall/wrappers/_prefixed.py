"""Several stores in one storage, separated by a prefix of their ids."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, TypeVar

from holdall.backend import Backend, Capability, Debris, StagedFile
from holdall.errors import FileNotFound, HoldallError, StorageError
from holdall.wrappers._intercepting import Intercepting, Verb
from holdall.wrappers._names import Names

__all__ = ["Prefixed"]

T = TypeVar("T")


class Prefixed(Intercepting):
    """A separate store within `inner`: the entry `file-X` is kept as `file-<prefix>_X`.

    `prefix` is 1 to 32 of `a-z 0-9 -`, neither beginning nor ending with `-`. Stores with different prefixes do not see
    each other's entries, nor entries without a prefix, and a store on `inner` itself does not see theirs. The metadata
    is stored unchanged and so contains the id without the prefix: `PORTABLE_LAYOUT` is not declared.

    After `file-`, an id may have 127 characters minus the length of the prefix; holdall's own have 32. Leftovers for
    which `inner` reports no id are removed only by a sweep of `inner` itself.
    """

    def __init__(self, inner: Backend, prefix: str) -> None:
        super().__init__(inner)
        self.capabilities &= ~Capability.PORTABLE_LAYOUT
        self._names = Names(prefix)

    def around(self, verb: Verb, file_id: str | None, call: Callable[[], T]) -> T:
        with self._known_names():
            return call()

    def stage(self, file_id: str) -> StagedFile:
        try:
            inside = self._names.inside(file_id)
        except FileNotFound as error:
            raise StorageError(f"cannot create {file_id}: with its prefix the id is too long") from error
        return self._staged(file_id, lambda: self.inner.stage(inside))

    def read_meta(self, file_id: str) -> bytes:
        with self._known_names():
            return self.inner.read_meta(self._names.inside(file_id))

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self._stream(file_id, lambda: self.inner.open_data(self._names.inside(file_id), start, stop))

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        # Prepending the same text to all ids preserves their order.
        lower, upper = self._names.between(after, before)
        if lower < upper:
            with self._known_names():
                yield from filter(None, map(self._names.outside, self.inner.list_ids(lower, upper)))

    def remove(self, file_id: str) -> None:
        with self._known_names():
            self.inner.remove(self._names.inside(file_id))

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        with self._known_names():
            for inside, meta in self.inner.read_metas(self._present(file_ids)):
                if (outside := self._names.outside(inside)) is not None:
                    yield outside, meta

    def debris(self) -> Iterator[Debris]:
        with self._known_names():
            for debris in self.inner.debris():
                outside = None if debris.file_id is None else self._names.outside(debris.file_id)
                if outside is not None:
                    yield dataclasses.replace(debris, file_id=outside)

    def discard_debris(self, debris: Debris) -> None:
        inside = None if debris.file_id is None else self._names.inside(debris.file_id)
        with self._known_names():
            self.inner.discard_debris(dataclasses.replace(debris, file_id=inside))

    def signed_url(self, file_id: str, expires_in: int) -> str:
        with self._known_names():
            return self.inner.signed_url(self._names.inside(file_id), expires_in)

    def local_path(self, file_id: str) -> str:
        with self._known_names():
            return self.inner.local_path(self._names.inside(file_id))

    def _present(self, file_ids: Iterable[str]) -> Iterator[str]:
        for file_id in file_ids:
            with contextlib.suppress(FileNotFound):
                yield self._names.inside(file_id)

    @contextlib.contextmanager
    def _known_names(self) -> Iterator[None]:
        try:
            yield
        except HoldallError as error:
            self._names.correct(error)
            raise
