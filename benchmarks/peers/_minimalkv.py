"""minimalkv on a directory: keys are flat, so metadata and data are in the same directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minimalkv.fs import FilesystemStore

from benchmarks.peers._base import TwoObjects

__all__ = ["Minimalkv"]


class Minimalkv(TwoObjects):
    """Two of its keys for each file."""

    name = "minimalkv"
    promises = "not atomic: writes in place; one flat directory"
    distribution = "minimalkv"

    def __init__(self, root: Path) -> None:
        self._store = FilesystemStore(str(root))

    def put(self, key: str, data: bytes) -> None:
        self._store.put(key.replace("/", "."), data)

    def read(self, key: str) -> bytes:
        return self._store.get(key.replace("/", "."))

    def ids(self) -> Sequence[str]:
        return [key.partition(".")[0] for key in self._store.iter_keys() if key.endswith(".meta.json")]

    def delete(self, file_id: str) -> None:
        self._store.delete(f"{file_id}.meta.json")
        self._store.delete(f"{file_id}.data.bin")
