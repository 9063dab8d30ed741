"""The root of a store on a filesystem: paths, instances, and the calls that differ between filesystems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fsspec.spec import AbstractFileSystem

from holdall_fsspec._errors import Border, is_denied
from holdall_fsspec._pool import Pool

__all__ = ["ABSENT", "DATA", "META", "Place", "base_name"]

DATA = "data.bin"
META = "meta.json"


# A file in the place of the directory is not an entry either.
ABSENT = (FileNotFoundError, NotADirectoryError)


def base_name(path: str) -> str:
    """The last segment of a path."""
    return path.rstrip("/").rpartition("/")[2]


class Place:
    """The location of the entries. Uses only calls that take a single path literally, without globbing and caches."""

    def __init__(
        self, pool: Pool, border: Border, root: str, *, buckets: bool, directories: bool, moves: bool, part_size: int
    ) -> None:
        """`directories`: whether a directory must be created before a file in it.

        `moves`: whether metadata is moved to its final name, or written there directly.
        """
        self.pool = pool
        self.border = border
        self.root = root
        self.buckets = buckets
        self.directories = directories
        self.moves = moves
        self.part_size = part_size

    def path(self, file_id: str, name: str = "") -> str:
        """The path of an entry, or of a file in it."""
        return f"{self.root}/{file_id}/{name}" if name else f"{self.root}/{file_id}"

    def info(self, fs: AbstractFileSystem, path: str) -> dict[str, Any] | None:
        """The description of a file; None if it does not exist. `exists` would treat every failure as absence."""
        try:
            found: dict[str, Any] = fs.info(path)
        except ABSENT:
            return None
        return found

    def make_root(self, fs: AbstractFileSystem) -> None:
        """Create the location; for a bucket, only check that it exists."""
        if self.buckets:
            if self.bucket_is_absent(fs):
                raise self.border.gone("open")
        elif self.directories and self.root:
            try:
                fs.makedirs(self.root, exist_ok=True)
            except Exception:  # noqa: BLE001 - the type depends on the filesystem
                # Some filesystems check first, and fail if another worker creates the directory in between; a failure
                # may also come from a parent directory that was created in the meantime. So this is tried once more.
                if self.info(fs, self.root) is None:
                    fs.makedirs(self.root, exist_ok=True)

    def root_is_absent(self, fs: AbstractFileSystem) -> bool:
        """Whether the container of the entries does not exist, so that their state is unknown."""
        if self.buckets:
            return self.bucket_is_absent(fs)
        return self.directories and bool(self.root) and self.info(fs, self.root) is None

    def bucket_is_absent(self, fs: AbstractFileSystem) -> bool:
        """Whether the bucket is known not to exist; without permission to look, that is unknown."""
        try:
            fs.info(self.root.partition("/")[0])
        except FileNotFoundError:
            return True
        except Exception as error:
            if not is_denied(error):
                raise
        return False

    def make_entry(self, fs: AbstractFileSystem, file_id: str) -> bool:
        """Create an entry's directory where directories are needed. Returns False if it existed already."""
        if not self.directories:
            return True
        try:
            fs.mkdir(self.path(file_id), create_parents=False)
        except FileExistsError:
            return False
        except Exception:
            # Not every filesystem distinguishes this error from others.
            if self.info(fs, self.path(file_id)) is None:
                raise
            return False
        return True

    def move(self, fs: AbstractFileSystem, source: str, target: str) -> None:
        """Rename a file on the storage. If `mv` would copy, calls the client directly."""
        client = getattr(fs, "client", None)
        if type(fs).__module__ == "webdav4.fsspec" and client is not None:
            client.move(source, target, overwrite=True)
        else:
            fs.mv(source, target)

    def remove_file(self, fs: AbstractFileSystem, path: str) -> None:
        """Remove a file. Does nothing if it does not exist."""
        self._remove(fs, path, fs.rm_file)

    def remove_directory(self, fs: AbstractFileSystem, path: str) -> None:
        """Remove an empty directory. Does nothing if it does not exist."""
        self._remove(fs, path, fs.rmdir)

    def _remove(self, fs: AbstractFileSystem, path: str, remove: Callable[[str], None]) -> None:
        try:
            remove(path)
        except FileNotFoundError:
            pass
        except Exception:
            # FTP has one reply, 550, both for a missing file and for a denied permission.
            if self.info(fs, path) is not None:
                raise

    def is_linked(self, fs: AbstractFileSystem, file_id: str, name: str) -> bool:
        """Whether a local entry or a file in it is a symbolic link: it may have been planted, and is not an entry."""
        if not getattr(fs, "local_file", False):
            return False
        return bool(fs.islink(self.path(file_id)) or fs.islink(self.path(file_id, name)))

    def names(self, fs: AbstractFileSystem, path: str) -> list[dict[str, Any]]:
        """Everything directly below a path, each with its `name`, `size` and `type`; empty if the path is absent."""
        try:
            found: list[dict[str, Any]] = fs.ls(path, detail=True)
        except FileNotFoundError:
            return []
        return [item for item in found if item["name"].strip("/") != path.strip("/")]
