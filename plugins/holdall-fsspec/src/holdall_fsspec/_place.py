"""The root of a store on a filesystem: its paths, its instances, and the few calls that differ between filesystems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fsspec.spec import AbstractFileSystem

from holdall_fsspec._errors import Border, is_denied
from holdall_fsspec._pool import Pool

__all__ = ["ABSENT", "DATA", "META", "Place", "base_name"]

DATA = "data.bin"
META = "meta.json"


# A file where a directory should be holds no entry either.
ABSENT = (FileNotFoundError, NotADirectoryError)


def base_name(path: str) -> str:
    """The last part of a path."""
    return path.rstrip("/").rpartition("/")[2]


class Place:
    """Where the entries are. Only calls that take one path literally are used: never a pattern, never a cache."""

    def __init__(
        self, pool: Pool, border: Border, root: str, *, buckets: bool, directories: bool, moves: bool, part_size: int
    ) -> None:
        """`directories`: whether one has to be made before there can be a file in it.

        `moves`: whether metadata is moved to its place, or put there.
        """
        self.pool = pool
        self.border = border
        self.root = root
        self.buckets = buckets
        self.directories = directories
        self.moves = moves
        self.part_size = part_size

    def path(self, file_id: str, name: str = "") -> str:
        """The path of an entry, or of a file of it."""
        return f"{self.root}/{file_id}/{name}" if name else f"{self.root}/{file_id}"

    def info(self, fs: AbstractFileSystem, path: str) -> dict[str, Any] | None:
        """What is known about a file; None if it is absent. `exists` would take every failure for that."""
        try:
            found: dict[str, Any] = fs.info(path)
        except ABSENT:
            return None
        return found

    def make_root(self, fs: AbstractFileSystem) -> None:
        """Make the location; of a bucket, only look that it is there."""
        if self.buckets:
            if self.bucket_is_absent(fs):
                raise self.border.gone("open")
        elif self.directories and self.root:
            try:
                fs.makedirs(self.root, exist_ok=True)
            except Exception:  # noqa: BLE001 - which one it is depends on the filesystem
                # Some filesystems look first, and fail where another worker is faster. What has failed below a
                # directory that was made meanwhile is tried once more.
                if self.info(fs, self.root) is None:
                    fs.makedirs(self.root, exist_ok=True)

    def root_is_absent(self, fs: AbstractFileSystem) -> bool:
        """Whether nothing can be said about entries, since what should hold them is not there."""
        if self.buckets:
            return self.bucket_is_absent(fs)
        return self.directories and bool(self.root) and self.info(fs, self.root) is None

    def bucket_is_absent(self, fs: AbstractFileSystem) -> bool:
        """Whether the bucket is known to be absent; who may not look at it is not told so."""
        try:
            fs.info(self.root.partition("/")[0])
        except FileNotFoundError:
            return True
        except Exception as error:
            if not is_denied(error):
                raise
        return False

    def make_entry(self, fs: AbstractFileSystem, file_id: str) -> bool:
        """Make an entry's directory where directories are needed; False if it was there already."""
        if not self.directories:
            return True
        try:
            fs.mkdir(self.path(file_id), create_parents=False)
        except FileExistsError:
            return False
        except Exception:
            # Not every filesystem tells this error from others.
            if self.info(fs, self.path(file_id)) is None:
                raise
            return False
        return True

    def move(self, fs: AbstractFileSystem, source: str, target: str) -> None:
        """Rename a file on the storage. Where `mv` copies, the client is asked itself."""
        client = getattr(fs, "client", None)
        if type(fs).__module__ == "webdav4.fsspec" and client is not None:
            client.move(source, target, overwrite=True)
        else:
            fs.mv(source, target)

    def remove_file(self, fs: AbstractFileSystem, path: str) -> None:
        """Remove a file. If it is gone, does nothing."""
        self._remove(fs, path, fs.rm_file)

    def remove_directory(self, fs: AbstractFileSystem, path: str) -> None:
        """Remove an empty directory. If it is gone, does nothing."""
        self._remove(fs, path, fs.rmdir)

    def _remove(self, fs: AbstractFileSystem, path: str, remove: Callable[[str], None]) -> None:
        try:
            remove(path)
        except FileNotFoundError:
            pass
        except Exception:
            # FTP has one answer, 550, for what is not there and for what may not be removed.
            if self.info(fs, path) is not None:
                raise

    def is_linked(self, fs: AbstractFileSystem, file_id: str, name: str) -> bool:
        """Whether a local entry is a symbolic link, or a file of it is: a trap of somebody's, and no entry."""
        if not getattr(fs, "local_file", False):
            return False
        return bool(fs.islink(self.path(file_id)) or fs.islink(self.path(file_id, name)))

    def names(self, fs: AbstractFileSystem, path: str) -> list[dict[str, Any]]:
        """What is directly below a path, each with its `name`, `size` and `type`; nothing if it is absent."""
        try:
            found: list[dict[str, Any]] = fs.ls(path, detail=True)
        except FileNotFoundError:
            return []
        return [item for item in found if item["name"].strip("/") != path.strip("/")]
