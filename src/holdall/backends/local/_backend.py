"""The five verbs on a directory."""

from __future__ import annotations

import bisect
import contextlib
import os
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from pydantic import Field

from holdall import ids
from holdall.backend import Backend, BackendOptions, Capability, Debris
from holdall.backends.local import _debris
from holdall.backends.local._files import (
    ABSENT,
    DATA,
    META,
    DataStream,
    erase,
    exists,
    open_directory,
    open_in_entry,
    read_all,
)
from holdall.backends.local._reaper import Reaper
from holdall.backends.local._staging import STAGING, LocalStagedFile, move, new_name
from holdall.errors import FileNotFound, InvalidStoreURL, StorageError, storage_error

if TYPE_CHECKING:
    from holdall.backend import StagedFile
    from holdall.url import StoreURL

__all__ = ["LocalBackend"]

_BASE = (
    Capability.ATOMIC_PUBLISH
    | Capability.EXCLUSIVE_REMOVE
    | Capability.RANGED_READS
    | Capability.SHARED
    | Capability.PERSISTENT
    | Capability.PORTABLE_LAYOUT
    | Capability.LOCAL_PATHS
)


class LocalBackend(Backend):
    """Entries below one directory. Directories are made 0700, files 0600.

    The root may be reached through a symbolic link; below it none is ever followed.
    """

    class Options(BackendOptions):
        """Options of `file://`."""

        fsync: bool = Field(
            default=True,
            description="wait for the disk: a stored file survives a loss of power; false: only a crash of the process",
        )

    def __init__(self, root: str | os.PathLike[str], *, fsync: bool = True) -> None:
        self._root = os.path.abspath(root)
        self._fsync = fsync
        self.capabilities = _BASE | Capability.DURABLE if fsync else _BASE
        self._fd = _open_root(self._root)
        self._staging_fd = -1
        self._lock = threading.Lock()
        self._reaper = Reaper(self._erase)

    @classmethod
    def from_url(cls, url: StoreURL, options: Options) -> Self:
        if url.host not in {"", "localhost"} or url.port is not None or url.username is not None:
            raise InvalidStoreURL(f"{url}: a file URL has three slashes; did you mean file:///{url.host}{url.path}?")
        if not url.path:
            raise InvalidStoreURL(f"{url} names no directory; write file:///path/to/directory")
        return cls(url.path, fsync=options.fsync)

    def stage(self, file_id: str) -> StagedFile:
        return LocalStagedFile(self._fd, self._staging(), file_id, fsync=self._fsync)

    def read_meta(self, file_id: str) -> bytes:
        fd = self._open(file_id, META)
        try:
            return read_all(fd)
        finally:
            os.close(fd)

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return cast("BinaryIO", DataStream(self._open(file_id, DATA), start, stop))

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        # A descriptor of its own: listing moves the offset of the open directory, which duplicates share, so two
        # threads listing through one descriptor would each miss what the other read.
        fd = open_directory(".", self._fd)
        try:
            names = os.listdir(fd)
        finally:
            os.close(fd)
        found = sorted(filter(ids.is_valid, names))
        first = 0 if after is None else bisect.bisect_right(found, after)
        last = len(found) if before is None else bisect.bisect_left(found, before)
        return iter(found[first:last])

    def remove(self, file_id: str) -> None:
        if not exists(file_id, META, self._fd):
            raise _absent(file_id)
        self._staging()
        trash = new_name(file_id, "old")
        try:
            move(file_id, f"{STAGING}/{trash}", self._fd)
        except FileNotFoundError:
            raise _absent(file_id) from None
        if self._fsync:
            try:
                os.fsync(self._fd)
            except OSError:
                # Reported as failed means still there.
                with contextlib.suppress(OSError):
                    move(f"{STAGING}/{trash}", file_id, self._fd)
                raise
        self._reaper.submit(trash)

    def debris(self) -> Iterator[Debris]:
        return _debris.find(self._fd)

    def discard_debris(self, debris: Debris) -> None:
        _debris.discard(debris, self._fd)

    def local_path(self, file_id: str) -> str:
        os.close(self._open(file_id, DATA))
        return os.path.join(self._root, file_id, DATA)

    def close(self) -> None:
        self._reaper.close()
        with self._lock:
            for fd in (self._fd, self._staging_fd):
                if fd >= 0:
                    os.close(fd)
            self._fd = self._staging_fd = -1

    def _open(self, file_id: str, name: str) -> int:
        try:
            return open_in_entry(file_id, name, self._fd)
        except OSError as error:
            if error.errno in ABSENT:
                raise _absent(file_id) from None
            raise

    def _staging(self) -> int:
        """The descriptor of the staging directory, made with the first write: a read-only root can be read."""
        if self._staging_fd < 0:
            with self._lock:
                if self._staging_fd < 0:
                    self._staging_fd = _make_staging(self._root, self._fd)
        return self._staging_fd

    def _erase(self, name: str) -> None:
        erase(name, self._staging_fd)


def _absent(file_id: str) -> FileNotFound:
    return FileNotFound(f"there is no file {file_id}", file_id=file_id)


def _open_root(root: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        try:
            return os.open(root, flags)
        except FileNotFoundError:
            os.makedirs(root, mode=0o700, exist_ok=True)
            fd = os.open(root, flags)
            _sync_path(os.path.dirname(root))
            return fd
    except (NotADirectoryError, FileExistsError) as error:
        raise StorageError(
            f"cannot open the store in {root}: it is not a directory, or lies below a file; name a directory",
            operation="open",
        ) from error
    except OSError as error:
        raise storage_error(error, "open", where=f"the store in {root}") from error


def _make_staging(root: str, root_fd: int) -> int:
    where = f"the store in {root}"
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(STAGING, 0o700, dir_fd=root_fd)
        return open_directory(STAGING, root_fd)
    except OSError as error:
        if error.errno in ABSENT:
            raise StorageError(f"cannot write to {where}: its {STAGING} is not a directory; remove it") from error
        raise storage_error(error, "write to", where=where) from error


def _sync_path(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
