"""A wrapper that forwards every call."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from holdall.backend import Backend, Debris, StagedFile
from holdall.errors import InvalidStoreURL

if TYPE_CHECKING:
    from holdall.url import StoreURL

__all__ = ["Wrapper"]


class Wrapper(Backend):
    """Forwards every call to `inner`, and makes the same promises.

    Subclass it and override what should differ; where a promise of `inner` no longer holds, remove it from
    `capabilities`.
    """

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.capabilities = inner.capabilities
        self.limits = inner.limits
        self.quick = inner.quick

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> NoReturn:
        """Always raises `InvalidStoreURL`: a URL names a storage, not a wrapper."""
        raise InvalidStoreURL(f"{url}: {cls.__name__} has no URL; make it from a backend, and FileStore from it")

    def stage(self, file_id: str) -> StagedFile:
        return self.inner.stage(file_id)

    def read_meta(self, file_id: str) -> bytes:
        return self.inner.read_meta(file_id)

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return self.inner.open_data(file_id, start, stop)

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        return self.inner.list_ids(after, before)

    def remove(self, file_id: str) -> None:
        self.inner.remove(file_id)

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        return self.inner.read_metas(file_ids)

    def listing_version(self) -> Hashable | None:
        return self.inner.listing_version()

    def debris(self) -> Iterator[Debris]:
        return self.inner.debris()

    def discard_debris(self, debris: Debris) -> None:
        self.inner.discard_debris(debris)

    def signed_url(self, file_id: str, expires_in: int) -> str:
        return self.inner.signed_url(file_id, expires_in)

    def local_path(self, file_id: str) -> str:
        return self.inner.local_path(file_id)

    def close(self) -> None:
        self.inner.close()
