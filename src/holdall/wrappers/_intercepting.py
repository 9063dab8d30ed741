"""A wrapper in which every call passes through one method."""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Literal, TypeVar, cast

from holdall.backend import Debris, StagedFile
from holdall.wrappers._base import Wrapper

if TYPE_CHECKING:
    from holdall.backend import Buffer

__all__ = ["Intercepting", "Verb"]

T = TypeVar("T")

Verb = Literal[
    "stage", "write", "publish", "discard", "read_meta", "read_metas", "open_data", "read", "list_ids",
    "listing_version", "remove", "debris", "discard_debris", "signed_url", "local_path", "close",
]  # fmt: skip
"""The interceptable calls: the methods of `Backend` and `StagedFile`, and `read` of the stream of `open_data`."""


class Intercepting(Wrapper):
    """Sends every call through `around`, including those on staged files and streams. Subclass it and override
    `around`.

    If `around` may block, for example to pause before a retry, set `quick` to False: otherwise it may be called on the
    event loop.
    """

    def around(self, verb: Verb, file_id: str | None, call: Callable[[], T]) -> T:
        """Make the call and return its result. May be called by many threads at once.

        `file_id` is None for calls that do not concern a single entry. For `list_ids`, `read_metas` and `debris`, the
        call creates the iterator; iterating over it is not intercepted.
        """
        return call()

    def stage(self, file_id: str) -> StagedFile:
        return self._staged(file_id, lambda: self.inner.stage(file_id))

    def read_meta(self, file_id: str) -> bytes:
        return self.around("read_meta", file_id, lambda: self.inner.read_meta(file_id))

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self._stream(file_id, lambda: self.inner.open_data(file_id, start, stop))

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        return self.around("list_ids", None, lambda: self.inner.list_ids(after, before))

    def remove(self, file_id: str) -> None:
        self.around("remove", file_id, lambda: self.inner.remove(file_id))

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        return self.around("read_metas", None, lambda: self.inner.read_metas(file_ids))

    def listing_version(self) -> Hashable | None:
        return self.around("listing_version", None, self.inner.listing_version)

    def debris(self) -> Iterator[Debris]:
        return self.around("debris", None, self.inner.debris)

    def discard_debris(self, debris: Debris) -> None:
        self.around("discard_debris", debris.file_id, lambda: self.inner.discard_debris(debris))

    def signed_url(self, file_id: str, expires_in: int) -> str:
        return self.around("signed_url", file_id, lambda: self.inner.signed_url(file_id, expires_in))

    def local_path(self, file_id: str) -> str:
        return self.around("local_path", file_id, lambda: self.inner.local_path(file_id))

    def close(self) -> None:
        self.around("close", None, self.inner.close)

    def _staged(self, file_id: str, call: Callable[[], StagedFile]) -> StagedFile:
        return _Staged(self, file_id, self.around("stage", file_id, call))

    def _stream(self, file_id: str, call: Callable[[], BinaryIO]) -> BinaryIO:
        return cast("BinaryIO", _Stream(self, file_id, self.around("open_data", file_id, call)))


class _Staged(StagedFile):
    def __init__(self, owner: Intercepting, file_id: str, inner: StagedFile) -> None:
        self._owner, self._file_id, self._inner = owner, file_id, inner

    def write(self, chunk: Buffer) -> None:
        self._owner.around("write", self._file_id, lambda: self._inner.write(chunk))

    def publish(self, meta: bytes) -> None:
        self._owner.around("publish", self._file_id, lambda: self._inner.publish(meta))

    def discard(self) -> None:
        self._owner.around("discard", self._file_id, self._inner.discard)


class _Stream(io.BufferedIOBase):
    def __init__(self, owner: Intercepting, file_id: str, inner: BinaryIO) -> None:
        self._owner, self._file_id, self._inner = owner, file_id, inner

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = -1 if size is None else size
        return self._owner.around("read", self._file_id, lambda: self._inner.read(wanted))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._inner.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._inner.seek(offset, whence)

    def tell(self) -> int:
        return self._inner.tell()

    def close(self) -> None:
        if not self.closed:
            try:
                self._inner.close()
            finally:
                super().close()
