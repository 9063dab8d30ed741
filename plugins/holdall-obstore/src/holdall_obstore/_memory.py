"""obstore's store in the memory of this process: for tests of applications that use obstore in production."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Self

from obstore.store import MemoryStore

from holdall import InvalidStoreURL
from holdall.backend import BackendOptions, Capability
from holdall_obstore._backend import ObstoreBackend

if TYPE_CHECKING:
    from holdall.url import StoreURL

__all__ = ["MemoryBackend"]


class _Space:
    """A store, and a lock that makes checking and removing atomic."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.lock = threading.Lock()


_shared: dict[str, _Space] = {}
_shared_lock = threading.Lock()


def _after_fork() -> None:
    # The other threads do not exist in the child, so a lock that one of them held would never be released.
    global _shared_lock  # noqa: PLW0603
    _shared_lock = threading.Lock()
    for space in _shared.values():
        space.lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


class MemoryBackend(ObstoreBackend):
    """`memory+obstore://` is private to the store that opened it; `memory+obstore://name` is shared in the process."""

    capabilities = (
        Capability.ATOMIC_PUBLISH | Capability.EXCLUSIVE_REMOVE | Capability.RANGED_READS | Capability.EXACT_LISTING
    )

    class Options(BackendOptions):
        """This backend has no options."""

    def __init__(self, name: str | None = None) -> None:
        if name is None:
            self._space = _Space()
        else:
            with _shared_lock:
                self._space = _shared.setdefault(name, _Space())
        super().__init__(self._space.store, "", f"memory+obstore://{name or ''}")

    @classmethod
    def from_url(cls, url: StoreURL, options: Options) -> Self:
        if url.port is not None or url.username is not None:
            raise InvalidStoreURL(f"{url}: memory+obstore:// takes a name, without user or port")
        return cls((url.host + url.path).strip("/") or None)

    def _remove_meta(self, file_id: str) -> None:
        with self._space.lock:
            super()._remove_meta(file_id)
