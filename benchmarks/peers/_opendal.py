"""OpenDAL's service fs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import opendal

from benchmarks.peers._base import TwoObjects

__all__ = ["OpenDAL"]


class OpenDAL(TwoObjects):
    """Two of its files for each file."""

    name = "OpenDAL fs"
    promises = "each of the two files atomic, and synced (not its directory)"
    distribution = "opendal"
    syncs = True

    def __init__(self, root: Path) -> None:
        self._store = opendal.Operator("fs", root=str(root), atomic_write_dir=f"{root}/.atomic")

    def put(self, key: str, data: bytes) -> None:
        self._store.write(key, data)

    def read(self, key: str) -> bytes:
        return bytes(self._store.read(key))

    def ids(self) -> Sequence[str]:
        return [entry.path.strip("/") for entry in self._store.list("") if entry.path.startswith("file-")]

    def delete(self, file_id: str) -> None:
        self._store.remove_all(f"{file_id}/")
