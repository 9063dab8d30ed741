"""Leftovers of interrupted writes and deletes: in the staging directory, and entries without metadata in the root."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from holdall import ids
from holdall.backend import Debris
from holdall.backends.local._files import (
    DATA,
    META,
    NOT_A_DIRECTORY,
    NOT_A_FILE,
    erase,
    exists,
    open_directory,
    open_in_entry,
)
from holdall.backends.local._staging import STAGING, move, new_name
from holdall.errors import storage_error

__all__ = ["discard", "find"]

_UNFINISHED = ".new"
_KINDS = {_UNFINISHED: "unfinished write", ".old": "removed entry"}


def find(root_fd: int) -> Iterator[Debris]:
    """All leftovers. A running write holds a lock on its data and is not reported.

    If some cannot be read, all others are yielded before a `StorageError` names these.
    """
    unread: dict[str, OSError] = {}
    yield from _in_staging(root_fd, unread)
    yield from _without_metadata(root_fd)
    if unread:
        cause = next(iter(unread.values()))
        raise storage_error(cause, "look for leftovers in", where=", ".join(unread)) from cause


def discard(debris: Debris, root_fd: int) -> None:
    """Remove a leftover. One in the root is first moved to `.staging`, so that readers never see it half-removed."""
    if debris.name == STAGING:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(STAGING, dir_fd=root_fd)
        return
    with contextlib.suppress(FileExistsError):
        os.mkdir(STAGING, 0o700, dir_fd=root_fd)
    staging_fd = open_directory(STAGING, root_fd)
    try:
        directory, _, name = debris.name.rpartition("/")
        if not directory:
            _discard_from_root(name, root_fd, staging_fd)
        elif name.endswith(_UNFINISHED):
            _discard_unfinished(name, staging_fd)
        else:
            erase(name, staging_fd)
    finally:
        os.close(staging_fd)


def _in_staging(root_fd: int, unread: dict[str, OSError]) -> Iterator[Debris]:
    """The leftovers in the staging directory. Adds to `unread` what cannot be read, with the error."""
    try:
        staging_fd = open_directory(STAGING, root_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno in NOT_A_DIRECTORY:
            # A file or link in place of the staging directory makes every write fail.
            yield from _describe(STAGING, "", "stray file", None, root_fd)
        else:
            unread[STAGING] = error
        return
    try:
        for name in os.listdir(staging_fd):
            if name.endswith(_UNFINISHED) and _is_live(name, staging_fd):
                continue
            file_id, _, suffix = name.partition(".")
            kind = _KINDS.get(suffix[-4:], "stray file")
            try:
                yield from _describe(name, f"{STAGING}/", kind, file_id if ids.is_valid(file_id) else None, staging_fd)
            except OSError as error:
                unread[f"{STAGING}/{name}"] = error
    finally:
        os.close(staging_fd)


def _without_metadata(root_fd: int) -> Iterator[Debris]:
    """Entries without metadata: older writers of this layout created the directory in the root before its files."""
    fd = open_directory(".", root_fd)
    try:
        names = os.listdir(fd)
    finally:
        os.close(fd)
    for name in filter(ids.is_valid, names):
        # Without permission to look inside, it cannot be known to be a leftover.
        with contextlib.suppress(PermissionError):
            if not exists(name, META, root_fd):
                yield from _describe(name, "", "data without metadata", name, root_fd)


def _discard_from_root(name: str, root_fd: int, staging_fd: int) -> None:
    trash = new_name(name, "old")
    if exists(name, META, root_fd):
        return  # its writer was still running
    try:
        move(name, root_fd, trash, staging_fd)
    except FileNotFoundError:
        return
    if exists(trash, META, staging_fd):
        # The writer published it between the check and the rename.
        move(trash, staging_fd, name, root_fd)
    else:
        erase(trash, staging_fd)


def _discard_unfinished(name: str, staging_fd: int) -> None:
    """Erase an unfinished write, unless its writer is running. The lock taken by the check is held until it is erased,
    so that no writer can take it in between.
    """
    try:
        fd = open_in_entry(name, DATA, staging_fd)
    except FileNotFoundError:
        # Without data it is dead, or its writer has created the directory but not the data yet. Then either this
        # removes the empty directory, and the writer starts again, or the writer creates the data first and this does
        # nothing.
        try:
            os.rmdir(name, dir_fd=staging_fd)
        except FileNotFoundError:
            return
        except OSError:
            if not exists(name, DATA, staging_fd):
                erase(name, staging_fd)
        return
    except OSError as error:
        if error.errno not in NOT_A_FILE:
            raise
        erase(name, staging_fd)
        return
    try:
        if not _is_locked(fd):
            erase(name, staging_fd)
    finally:
        os.close(fd)


def _describe(name: str, prefix: str, kind: str, file_id: str | None, dir_fd: int) -> Iterator[Debris]:
    try:
        own = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    size, modified_at = 0, max(own.st_mtime, own.st_ctime)
    try:
        fd = open_directory(name, dir_fd)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in NOT_A_DIRECTORY:
            raise
        # A stray file or link: its own size and time are reported.
        yield Debris(prefix + name, "stray file", file_id, own.st_size, modified_at)
        return
    try:
        with os.scandir(fd) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    size += status.st_size
                    modified_at = max(modified_at, status.st_mtime)
    finally:
        os.close(fd)
    yield Debris(prefix + name, kind, file_id, size, modified_at)


def _is_live(name: str, staging_fd: int) -> bool:
    try:
        fd = open_in_entry(name, DATA, staging_fd)
    except OSError as error:
        # Another user's write cannot be examined, and counts as running.
        return error.errno in {errno.EACCES, errno.EPERM}
    try:
        return _is_locked(fd)
    finally:
        os.close(fd)


def _is_locked(fd: int) -> bool:
    """Whether a writer holds the lock. If not, takes a shared lock, which is held until `fd` is closed."""
    try:
        # A shared lock excludes writers but not other sweeps; an exclusive one needs a writable descriptor on NFS.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
