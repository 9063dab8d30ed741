"""fsspec's local filesystem."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from benchmarks.peers._base import TwoObjects

__all__ = ["Fsspec"]


class Fsspec(TwoObjects):
    """Two of its files for each file."""

    name = "fsspec local"
    promises = "not atomic: writes in place"
    distribution = "fsspec"

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._fs = LocalFileSystem(auto_mkdir=True, skip_instance_cache=True)

    def put(self, key: str, data: bytes) -> None:
        self._fs.pipe_file(f"{self._root}/{key}", data)

    def read(self, key: str) -> bytes:
        return self._fs.cat_file(f"{self._root}/{key}")

    def ids(self) -> Sequence[str]:
        return [name.rpartition("/")[2] for name in self._fs.ls(self._root, detail=False)]

    def delete(self, file_id: str) -> None:
        self._fs.rm(f"{self._root}/{file_id}", recursive=True)
