"""obstore's store in a local directory, for comparisons and migration; holdall's own `file://` makes more promises."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Self

from obstore.store import LocalStore

from holdall import FileNotFound, InvalidStoreURL
from holdall.backend import BackendOptions, Capability, Debris, StagedFile
from holdall.errors import storage_error
from holdall.ids import is_valid
from holdall_obstore._backend import ObstoreBackend
from holdall_obstore._staged import is_alive

if TYPE_CHECKING:
    from holdall.url import StoreURL

__all__ = ["LocalBackend"]

_KEPT = frozenset({"data.bin", "meta.json"})


class LocalBackend(ObstoreBackend):
    """`file+obstore:///directory`. Not DURABLE: obstore does not sync what it writes.

    obstore follows symbolic links; here, an entry that is a link or contains one counts as absent.
    """

    capabilities = (
        Capability.ATOMIC_PUBLISH
        | Capability.EXCLUSIVE_REMOVE
        | Capability.RANGED_READS
        | Capability.SHARED
        | Capability.PERSISTENT
        | Capability.PORTABLE_LAYOUT
    )

    class Options(BackendOptions):
        """This backend has no options."""

    def __init__(self, root: str) -> None:
        self._root = os.path.abspath(root)
        try:
            os.makedirs(self._root, mode=0o700, exist_ok=True)
        except OSError as error:
            raise storage_error(error, "open", where=self._root) from error
        super().__init__(LocalStore(self._root, automatic_cleanup=True), "", f"file+obstore://{self._root}")

    @classmethod
    def from_url(cls, url: StoreURL, options: Options) -> Self:
        if url.host or url.port is not None or url.username is not None:
            raise InvalidStoreURL(
                f"{url}: a local directory has three slashes; did you mean file+obstore:///{url.host}{url.path}?"
            )
        if not url.path.strip("/"):
            raise InvalidStoreURL(f"{url} names no directory; write file+obstore:///path/to/files")
        return cls(url.path)

    def stage(self, file_id: str) -> StagedFile:
        self._refuse_link(file_id)
        return super().stage(file_id)

    def read_meta(self, file_id: str) -> bytes:
        self._refuse_link(file_id, "meta.json")
        return super().read_meta(file_id)

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        self._refuse_link(file_id, "data.bin")
        return super().open_data(file_id, start, stop)

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        # Not obstore's list, which would descend into every directory, and follow links out of the root.
        with os.scandir(self._root) as found:
            names = [e.name for e in found if is_valid(e.name) and e.is_dir(follow_symlinks=False)]
        yield from sorted(n for n in names if (after is None or n > after) and (before is None or n < before))

    def remove_data(self, file_id: str) -> None:
        self._refuse_link(file_id)
        super().remove_data(file_id)
        self.discarded(file_id)

    def discarded(self, file_id: str) -> None:
        # This removes only an empty directory.
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(self._root, file_id))

    def debris(self) -> Iterator[Debris]:
        for file_id in self.list_ids():
            if is_alive(file_id):
                continue
            folder = os.path.join(self._root, file_id)
            try:
                names = os.listdir(folder)
            except FileNotFoundError:
                continue  # removed in the meantime
            # Parts of interrupted writes are next to the two files, with a number at the end of their names.
            dead = [n for n in names if n.partition("#")[0] in _KEPT and ("#" in n or "meta.json" not in names)]
            # "" stands for an empty directory itself.
            for name in dead or ([""] if not names else []):
                with contextlib.suppress(FileNotFoundError):
                    status = os.lstat(os.path.join(folder, name))
                    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
                    yield Debris(f"{file_id}/{name}", "unfinished write", file_id, size, status.st_mtime)

    def discard_debris(self, debris: Debris) -> None:
        file_id, _, name = debris.name.partition("/")
        if name and ("#" in name or self.find_meta(file_id) is None):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(os.path.join(self._root, file_id, name))
        self.discarded(file_id)

    def _remove_meta(self, file_id: str) -> None:
        self._refuse_link(file_id)
        # Only one of several concurrent callers can unlink it.
        self.delete_meta(file_id)

    def _refuse_link(self, file_id: str, name: str = "") -> None:
        folder = os.path.join(self._root, file_id)
        if os.path.islink(folder) or (name and os.path.islink(os.path.join(folder, name))):
            raise FileNotFound(f"there is no file {file_id}: a link is in its place", file_id=file_id)
