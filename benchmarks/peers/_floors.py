"""Plain system calls: the cost of the layout without validation, hashing, counting or parsing."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers._base import FILENAME, Peer

__all__ = ["META", "SeedFloor", "StageFloor", "StageFloorDurable"]

META = b"""{
  "id": "file-0123456789abcdef0123456789abcdef",
  "object": "file",
  "filename": "%s",
  "purpose": "user_data",
  "bytes": 1024,
  "created_at": 1700000000,
  "status": "uploaded",
  "sha256": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
}""" % FILENAME.encode()

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _Floor(Peer):
    """The reading half; metadata is constant and is not parsed."""

    distribution = None

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, _DIRECTORY)
        self._next = 0

    def get(self, file_id: str) -> Any:
        return self._read(f"{file_id}/meta.json", 4096)

    def get_content(self, file_id: str) -> bytes:
        fd = os.open(f"{file_id}/data.bin", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._root)
        try:
            return os.read(fd, os.fstat(fd).st_size)
        finally:
            os.close(fd)

    def list(self) -> Sequence[Any]:
        os.lseek(self._root, 0, os.SEEK_SET)
        return [self._read(f"{name}/meta.json", 4096) for name in os.listdir(self._root) if name[0] != "."]

    def page(self, limit: int) -> Sequence[Any]:
        os.lseek(self._root, 0, os.SEEK_SET)
        names = sorted(name for name in os.listdir(self._root) if name[0] != ".")
        return [self._read(f"{name}/meta.json", 4096) for name in names[-limit:]]

    def delete(self, file_id: str) -> None:
        os.unlink(f"{file_id}/meta.json", dir_fd=self._root)
        os.unlink(f"{file_id}/data.bin", dir_fd=self._root)
        os.rmdir(file_id, dir_fd=self._root)

    def facts(self, found: Any) -> tuple[str, int | None]:
        return (FILENAME if found == META else "", None)

    def close(self) -> None:
        os.close(self._root)

    def _new_id(self) -> str:
        self._next += 1
        return f"file-{self._next:032x}"

    def _read(self, name: str, size: int) -> bytes:
        fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._root)
        try:
            return os.read(fd, size)
        finally:
            os.close(fd)


class SeedFloor(_Floor):
    """The protocol from which the layout originates: each file under a temporary name, then renamed."""

    name = "seed-protocol floor"
    promises = "bare calls: mkdir, two files, each renamed into place; constant metadata"

    def create(self, data: bytes) -> str:
        file_id = self._new_id()
        os.mkdir(file_id, 0o700, dir_fd=self._root)
        for name, content in (("data.bin", data), ("meta.json", META)):
            temporary = f"{file_id}/.tmp{self._next:06x}"
            fd = os.open(temporary, _CREATE, 0o600, dir_fd=self._root)
            _write(fd, content)
            os.close(fd)
            os.rename(temporary, f"{file_id}/{name}", src_dir_fd=self._root, dst_dir_fd=self._root)
        return file_id


class StageFloor(_Floor):
    """The protocol of the local backend: a directory filled elsewhere, then renamed into the root."""

    name = "staging floor"
    promises = "bare calls: mkdir, two files, one rename; constant metadata"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        with contextlib.suppress(FileExistsError):
            os.mkdir(".staging", 0o700, dir_fd=self._root)
        self._staging = os.open(".staging", _DIRECTORY, dir_fd=self._root)

    def create(self, data: bytes) -> str:
        file_id = self._new_id()
        os.mkdir(file_id, 0o700, dir_fd=self._staging)
        for name, content in (("data.bin", data), ("meta.json", META)):
            fd = os.open(f"{file_id}/{name}", _CREATE, 0o600, dir_fd=self._staging)
            _write(fd, content)
            os.close(fd)
        os.rename(file_id, file_id, src_dir_fd=self._staging, dst_dir_fd=self._root)
        return file_id

    def close(self) -> None:
        os.close(self._staging)
        super().close()


class StageFloorDurable(StageFloor):
    """The same, with the four syncs that a file needs to survive a power failure."""

    name = "staging floor, four syncs"
    promises = "bare calls: mkdir, two files, one rename, four syncs; constant metadata"
    syncs = True

    def create(self, data: bytes) -> str:
        file_id = self._new_id()
        os.mkdir(file_id, 0o700, dir_fd=self._staging)
        for name, content in (("data.bin", data), ("meta.json", META)):
            fd = os.open(f"{file_id}/{name}", _CREATE, 0o600, dir_fd=self._staging)
            _write(fd, content)
            os.fdatasync(fd)
            os.close(fd)
        fd = os.open(file_id, _DIRECTORY, dir_fd=self._staging)
        os.fsync(fd)
        os.close(fd)
        os.rename(file_id, file_id, src_dir_fd=self._staging, dst_dir_fd=self._root)
        os.fsync(self._root)
        return file_id


def _write(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    view = memoryview(data)
    while written < len(data):
        written += os.write(fd, view[written:])
