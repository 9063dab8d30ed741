"""Leftovers of writes and deletes that died: in the staging directory, and entries without metadata in the root."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from holdall import ids
from holdall.backend import Debris
from holdall.backends.local._files import DATA, META, erase, exists, open_directory, open_in_entry
from holdall.backends.local._staging import STAGING, move, new_name

__all__ = ["discard", "find"]

_KINDS = {"new": "unfinished write", "old": "removed entry"}


def find(root_fd: int) -> Iterator[Debris]:
    """All leftovers. A write whose process lives holds a lock on its data, and is not one."""
    for name in _names(STAGING, root_fd):
        path = f"{STAGING}/{name}"
        file_id, _, suffix = name.partition(".")
        if not _is_live(path, root_fd):
            kind = _KINDS.get(suffix.rpartition(".")[2], "stray file")
            yield from _describe(path, kind, file_id if ids.is_valid(file_id) else None, root_fd)
    for name in _names(".", root_fd):
        # The layout's older writers made the entry's directory first: a crash left it without metadata.
        if ids.is_valid(name) and not exists(name, META, root_fd):
            yield from _describe(name, "data without metadata", name, root_fd)


def discard(debris: Debris, root_fd: int) -> None:
    """Remove a leftover. One in the root is moved out first, so that nobody meets it half-removed."""
    name = debris.name
    if not name.startswith(f"{STAGING}/"):
        if exists(name, META, root_fd):
            return  # its writer was alive after all
        trash = f"{STAGING}/{new_name(name, 'old')}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(STAGING, 0o700, dir_fd=root_fd)
        try:
            move(name, trash, root_fd)
        except FileNotFoundError:
            return
        name = trash
    erase(name, root_fd)


def _names(directory: str, root_fd: int) -> list[str]:
    try:
        fd = open_directory(directory, root_fd)
    except FileNotFoundError:
        return []
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def _describe(path: str, kind: str, file_id: str | None, root_fd: int) -> Iterator[Debris]:
    size, modified_at = 0, 0.0
    try:
        own = os.stat(path, dir_fd=root_fd, follow_symlinks=False)
        modified_at = max(own.st_mtime, own.st_ctime)
        fd = open_directory(path, root_fd)
    except FileNotFoundError:
        return
    except OSError:
        # A stray file or link: it is described by itself.
        yield Debris(path, "stray file", file_id, own.st_size, modified_at)
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
    yield Debris(path, kind, file_id, size, modified_at)


def _is_live(path: str, root_fd: int) -> bool:
    try:
        fd = open_in_entry(path, DATA, root_fd)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False
