"""The backend's five operations, on a directory."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import logging
import os
import stat
import time
from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from pydantic import Field

from holdall import ids
from holdall.backend import Backend, BackendOptions, Capability, Debris
from holdall.backends.local import _debris
from holdall.backends.local._files import (
    DATA,
    META,
    NO_ROOM,
    NOT_A_DIRECTORY,
    NOT_A_FILE,
    DataStream,
    Directory,
    durably,
    erase,
    exists,
    open_directory,
    open_in_entry,
    read_in_entry,
)
from holdall.backends.local._filesystem import is_on_this_machine
from holdall.backends.local._reaper import Reaper
from holdall.backends.local._staging import STAGING, LocalStagedFile, move, move_back, new_name
from holdall.errors import FileNotFound, InvalidRequest, InvalidStoreURL, StorageError, storage_error

if TYPE_CHECKING:
    from holdall.backend import StagedFile
    from holdall.url import StoreURL

__all__ = ["LocalBackend"]

_log = logging.getLogger("holdall")

_BASE = (
    Capability.ATOMIC_PUBLISH
    | Capability.EXCLUSIVE_REMOVE
    | Capability.RANGED_READS
    | Capability.SHARED
    | Capability.PERSISTENT
    | Capability.PORTABLE_LAYOUT
    | Capability.LOCAL_PATHS
)

# It is rare that a sweep removes a new directory before it is locked; failing this often must have another cause.
_ATTEMPTS = 10

# A metadata document has up to 64 KiB, usually less than 1 KiB.
_READ_AT_ONCE = 100

# Two changes may get the same timestamp: the kernel's clock for file times advances only every 10 ms at worst, and a
# timestamp without a fraction comes from a file system that stores whole seconds.
_GRAIN_NS = 50_000_000
_COARSE_GRAIN_NS = 2_100_000_000

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class LocalBackend(Backend):
    """Entries below one directory. Directories are created with mode 0700, files with 0600.

    The root may be a symbolic link; below it, no symbolic link is followed.
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
        self._directory: Directory | None = _open_root(self._root, fsync=fsync)
        self.quick = is_on_this_machine(self._root)
        if self.quick:
            self.capabilities |= Capability.EXACT_LISTING
        self._staging_directory: Directory | None = None
        self._reaper = Reaper()

    @classmethod
    def from_url(cls, url: StoreURL, options: Options) -> Self:
        if url.host not in {"", "localhost"} or url.port is not None or url.username is not None:
            raise InvalidStoreURL(f"{url}: a file URL has three slashes; did you mean file:///{url.host}{url.path}?")
        if not url.path:
            raise InvalidStoreURL(f"{url} names no directory; write file:///path/to/directory")
        return cls(url.path, fsync=options.fsync)

    def stage(self, file_id: str) -> StagedFile:
        root = self._held()
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._staged(root, file_id)
            except FileNotFoundError:
                # A sweep removed the new directory before it was locked, or the staging directory was deleted.
                self._staging_directory = None
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                # The space of recently removed entries may not be freed yet.
                self._reaper.wait()
                break
        return self._staged(root, file_id)

    def read_meta(self, file_id: str) -> bytes:
        return self._read_meta(file_id, self._held())

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        # Many are read before the first is yielded: system calls in a row are cheaper than the same calls spread out.
        ids = iter(file_ids)
        while some := list(itertools.islice(ids, _READ_AT_ONCE)):
            root = self._held()
            found: list[tuple[str, bytes]] = []
            try:
                for file_id in some:
                    try:
                        found.append((file_id, self._read_meta(file_id, root)))
                    except FileNotFound:
                        continue
            except Exception as error:
                yield from found
                if isinstance(error, OSError) and not isinstance(error, StorageError):
                    # The caller passed many ids and cannot know which of them failed.
                    raise storage_error(error, "read", file_id=file_id) from error
                raise
            yield from found

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return cast("BinaryIO", DataStream(self._open_data(file_id), start, stop))

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        root = self._held()
        # A new descriptor for each listing: reading a directory moves its offset, which duplicated descriptors share,
        # so two threads listing through one descriptor would each miss what the other read.
        fd = open_directory(".", root.fd)
        try:
            names = os.listdir(fd)
        finally:
            os.close(fd)
        if not names and _is_removed(root):
            raise self._gone(root)
        with contextlib.suppress(ValueError):
            names.remove(STAGING)
        found = sorted(names if ids.have_minted_form(names) else filter(ids.is_valid, names))
        first = 0 if after is None else bisect.bisect_right(found, after)
        last = len(found) if before is None else bisect.bisect_left(found, before)
        return iter(found[first:last])

    def listing_version(self) -> Hashable | None:
        # Publishing and removing an entry are a rename in the root, which updates the root's timestamps.
        return _version(os.fstat(self._held().fd), time.time_ns()) if self.quick else None

    def remove(self, file_id: str) -> None:
        root = self._held()
        if not exists(file_id, META, root.fd):
            raise self._absent(file_id, root)
        try:
            self._take_out(file_id, root)
        except FileNotFoundError:
            if not exists(file_id, META, root.fd):
                raise self._absent(file_id, root) from None
            # The staging directory was deleted from outside.
            self._staging_directory = None
            self._take_out(file_id, root)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._remove_in_place(file_id, root)

    def debris(self) -> Iterator[Debris]:
        root = self._held()
        # Entries that this process will erase anyway are not leftovers.
        self._reaper.wait()
        yield from _debris.find(root.fd)

    def discard_debris(self, debris: Debris) -> None:
        root = self._held()
        _debris.discard(debris, root.fd)

    def local_path(self, file_id: str) -> str:
        os.close(self._open_data(file_id))
        return os.path.join(self._root, file_id, DATA)

    def close(self) -> None:
        """Calls in other threads finish, and a write that has begun can still be published."""
        try:
            self._reaper.close()
        finally:
            self._directory = self._staging_directory = None

    def _held(self) -> Directory:
        """The root directory. The caller must keep the reference for as long as it uses the descriptor."""
        directory = self._directory
        if directory is None:
            raise InvalidRequest(f"the store in {self._root} was closed; open it again")
        return directory

    def _staging(self, root: Directory) -> Directory:
        """The staging directory. It is created by the first write, so that a read-only root can be read."""
        directory = self._staging_directory
        if directory is None:
            # If two threads both open it, the `Directory` that is not kept is closed when the last reference to it is
            # dropped.
            directory = self._staging_directory = self._make_staging(root)
        return directory

    def _staged(self, root: Directory, file_id: str) -> LocalStagedFile:
        return LocalStagedFile(root, self._staging(root), file_id, fsync=self._fsync, make_room=self._reaper.wait)

    def _make_staging(self, root: Directory) -> Directory:
        where = f"the store in {self._root}"
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(STAGING, 0o700, dir_fd=root.fd)
            return Directory(open_directory(STAGING, root.fd))
        except FileNotFoundError as error:
            raise self._gone(root) from error
        except OSError as error:
            if error.errno in NOT_A_DIRECTORY:
                raise StorageError(f"cannot write to {where}: its {STAGING} is not a directory; remove it") from error
            raise storage_error(error, "write to", where=where) from error

    def _read_meta(self, file_id: str, root: Directory) -> bytes:
        try:
            return read_in_entry(file_id, META, root.fd)
        except FileNotFoundError:
            raise self._absent(file_id, root) from None
        except OSError as error:
            if error.errno in NOT_A_FILE:
                # A link, a directory or a FIFO instead of the file: the entry exists but is damaged, so it is not
                # reported as absent.
                return b""
            raise

    def _open_data(self, file_id: str) -> int:
        root = self._held()
        try:
            fd = open_in_entry(file_id, DATA, root.fd)
        except FileNotFoundError:
            raise self._absent(file_id, root) from None
        except OSError as error:
            if error.errno in NOT_A_FILE:
                raise self._absent(file_id, root) from error
            raise
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise self._absent(file_id, root)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def _take_out(self, file_id: str, root: Directory) -> None:
        """Remove an entry by one rename into the staging directory."""
        staging = self._staging(root)
        trash = new_name(file_id, "old")
        try:
            if self._fsync:
                durably(root, lambda: move(file_id, root.fd, trash, staging.fd))
            else:
                move(file_id, root.fd, trash, staging.fd)
        except BaseException:
            # A delete that is reported as failed must leave the file in place. If the rename never happened, there is
            # nothing to undo.
            try:
                move_back(trash, staging.fd, file_id, root.fd, root if self._fsync else None)
            except FileNotFoundError:
                pass
            except OSError:
                _log.warning("could not put back %s, which is reported as not deleted", file_id, exc_info=True)
            raise
        self._reaper.submit(trash, staging)

    def _remove_in_place(self, file_id: str, root: Directory) -> None:
        """Remove an entry without creating a name in the staging directory.

        For a full disk, where deleting must still work. An entry exists for as long as its metadata does.
        """
        try:
            entry = Directory(open_directory(file_id, root.fd))
            os.unlink(META, dir_fd=entry.fd)
        except FileNotFoundError:
            raise self._absent(file_id, root) from None
        if self._fsync:
            os.fsync(entry.fd)
        erase(file_id, root.fd)

    def _absent(self, file_id: str, root: Directory) -> FileNotFound | StorageError:
        """The error for an entry that was not found; `StorageError` if the root was removed."""
        if _is_removed(root):
            return self._gone(root)
        return FileNotFound(f"there is no file {file_id}", file_id=file_id)

    def _gone(self, root: Directory) -> StorageError:
        # After a restore from a backup, the server should not need a restart.
        again = (
            "try again: the directory now in its place will be used"
            if self._adopt(root)
            else "restore it or open the store again"
        )
        return StorageError(f"cannot use the store in {self._root}: the directory was removed; {again}")

    def _adopt(self, removed: Directory) -> bool:
        """If a directory exists at the path of the removed root, use it as the root. Returns whether it did."""
        try:
            found = Directory(os.open(self._root, _ROOT))
            # On a different file system, what was detected when the store was opened may be wrong, and it may be an
            # empty mount point rather than the store.
            if os.fstat(found.fd).st_dev != os.fstat(removed.fd).st_dev:
                return False
        except OSError:
            return False
        if self._directory is removed:
            self._directory, self._staging_directory = found, None
        return True


def _version(status: os.stat_result, now_ns: int) -> Hashable | None:
    """A value that changes whenever the directory does; None if the last change is so recent that another could have
    the same timestamp.
    """
    changed = max(status.st_ctime_ns, status.st_mtime_ns)
    grain = _GRAIN_NS if status.st_ctime_ns % 1_000_000_000 else _COARSE_GRAIN_NS
    return (status.st_ctime_ns, status.st_mtime_ns, status.st_nlink) if now_ns - changed >= grain else None


def _is_removed(directory: Directory) -> bool:
    return os.fstat(directory.fd).st_nlink == 0


def _open_root(root: str, *, fsync: bool) -> Directory:
    try:
        try:
            return Directory(os.open(root, _ROOT))
        except FileNotFoundError:
            present = _present_part(root)
            os.makedirs(root, mode=0o700, exist_ok=True)
            directory = Directory(os.open(root, _ROOT))
            if fsync:
                _sync_between(present, os.path.dirname(root))
            return directory
    except (NotADirectoryError, FileExistsError) as error:
        raise StorageError(
            f"cannot open the store in {root}: it is not a directory, or lies below a file; name a directory",
            operation="open",
        ) from error
    except OSError as error:
        raise storage_error(error, "open", where=f"the store in {root}") from error


def _present_part(path: str) -> str:
    """The path itself, or its nearest ancestor that exists."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _sync_between(first: str, last: str) -> None:
    """Sync the directories from `last` up to `first`, so that the path to the root survives a power failure."""
    while len(last) >= len(first):
        # A directory with permission to write but not to read cannot be opened, and so not synced.
        with contextlib.suppress(PermissionError):
            directory = Directory(os.open(last, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            os.fsync(directory.fd)
        if last == first:
            return
        last = os.path.dirname(last)
