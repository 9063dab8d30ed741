"""The five verbs on a directory."""

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

# A sweep that takes a new directory before it is locked is rare; one that does so again and again is none.
_ATTEMPTS = 10

# Documents have up to 64 KiB, most of them less than one.
_READ_AT_ONCE = 100

# Two changes may bear the same time: the kernel's clock for them ticks up to every 10 ms, and a time without a fraction
# comes from a file system that keeps whole seconds.
_GRAIN_NS = 50_000_000
_COARSE_GRAIN_NS = 2_100_000_000

_ROOT = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


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
                # A sweep was faster, or somebody removed the staging directory.
                self._staging_directory = None
            except OSError as error:
                if error.errno not in NO_ROOM:
                    raise
                # What was removed a moment ago still takes room.
                self._reaper.wait()
                break
        return self._staged(root, file_id)

    def read_meta(self, file_id: str) -> bytes:
        return self._read_meta(file_id, self._held())

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        # Many are read before the first is given out: calls of the kernel in a row cost less than each by itself.
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
                    # Of the many that were asked for, nobody else knows which one it is.
                    raise storage_error(error, "read", file_id=file_id) from error
                raise
            yield from found

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return cast("BinaryIO", DataStream(self._open_data(file_id), start, stop))

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        root = self._held()
        # A descriptor of its own: listing moves the offset of the open directory, which duplicates share, so two
        # threads listing through one descriptor would each miss what the other read.
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
        # Entries come and go by one rename in the root, so nothing changes without changing its times.
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
            # Somebody removed the staging directory.
            self._staging_directory = None
            self._take_out(file_id, root)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._remove_in_place(file_id, root)

    def debris(self) -> Iterator[Debris]:
        root = self._held()
        # What this process is about to erase anyway is no leftover.
        self._reaper.wait()
        yield from _debris.find(root.fd)

    def discard_debris(self, debris: Debris) -> None:
        root = self._held()
        _debris.discard(debris, root.fd)

    def local_path(self, file_id: str) -> str:
        os.close(self._open_data(file_id))
        return os.path.join(self._root, file_id, DATA)

    def close(self) -> None:
        """Calls in other threads finish; a write that was begun can still be published."""
        try:
            self._reaper.close()
        finally:
            self._directory = self._staging_directory = None

    def _held(self) -> Directory:
        """The root, for the caller to hold as long as it uses the descriptor."""
        directory = self._directory
        if directory is None:
            raise InvalidRequest(f"the store in {self._root} was closed; open it again")
        return directory

    def _staging(self, root: Directory) -> Directory:
        """The staging directory, made with the first write: a read-only root can be read."""
        directory = self._staging_directory
        if directory is None:
            # Two threads may both open it: the one that is not kept is closed when its user is done.
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
                # A link, a directory or a FIFO in its place holds no metadata: the entry is damaged, not absent.
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
        """Remove an entry by one rename."""
        staging = self._staging(root)
        trash = new_name(file_id, "old")
        try:
            if self._fsync:
                durably(root, lambda: move(file_id, root.fd, trash, staging.fd))
            else:
                move(file_id, root.fd, trash, staging.fd)
        except BaseException:
            # Reported as failed means still there. If it never moved, there is nothing to move back.
            try:
                move_back(trash, staging.fd, file_id, root.fd, root if self._fsync else None)
            except FileNotFoundError:
                pass
            except OSError:
                _log.warning("could not put back %s, which is reported as not deleted", file_id, exc_info=True)
            raise
        self._reaper.submit(trash, staging)

    def _remove_in_place(self, file_id: str, root: Directory) -> None:
        """Remove an entry without the room that a name in the staging directory takes.

        On a full disk, deleting is the way out. The metadata's presence is what makes the entry exist.
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
        """What to raise when an entry was not found: with the root removed, nothing can be said about it."""
        if _is_removed(root):
            return self._gone(root)
        return FileNotFound(f"there is no file {file_id}", file_id=file_id)

    def _gone(self, root: Directory) -> StorageError:
        # A directory restored from a backup should not require a restart of the server.
        again = (
            "try again: the directory now in its place will be used"
            if self._adopt(root)
            else "restore it or open the store again"
        )
        return StorageError(f"cannot use the store in {self._root}: the directory was removed; {again}")

    def _adopt(self, removed: Directory) -> bool:
        """If a directory exists where the removed one was, make it the root. Returns whether it did."""
        try:
            found = Directory(os.open(self._root, _ROOT))
            # What was probed about one file system may not hold on another; an empty mount point is not the store.
            if os.fstat(found.fd).st_dev != os.fstat(removed.fd).st_dev:
                return False
        except OSError:
            return False
        if self._directory is removed:
            self._directory, self._staging_directory = found, None
        return True


def _version(status: os.stat_result, now_ns: int) -> Hashable | None:
    """The state of a directory; None while it may change again without looking different."""
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
    """The nearest directory above that is there."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def _sync_between(first: str, last: str) -> None:
    """Sync the directories from `last` up to `first`, so that the way to the root survives a loss of power."""
    while len(last) >= len(first):
        # A directory in which one may create but not look around cannot be synced.
        with contextlib.suppress(PermissionError):
            directory = Directory(os.open(last, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            os.fsync(directory.fd)
        if last == first:
            return
        last = os.path.dirname(last)
