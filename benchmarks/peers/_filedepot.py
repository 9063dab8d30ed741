"""filedepot, which stores metadata itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depot.io.local import LocalFileStorage

from benchmarks.peers._base import FILENAME, Peer

__all__ = ["Filedepot"]


class Filedepot(Peer):
    """Its local storage."""

    name = "filedepot"
    promises = "not atomic: writes in place"
    distribution = "filedepot"

    def __init__(self, root: Path) -> None:
        self._store = LocalFileStorage(str(root))

    def create(self, data: bytes) -> str:
        return self._store.create(data, FILENAME, "text/plain")

    def get(self, file_id: str) -> Any:
        # It also opens the data, so a reader of metadata must close it.
        with self._store.get(file_id) as file:
            return file

    def get_content(self, file_id: str) -> bytes:
        with self._store.get(file_id) as file:
            return file.read()

    def list(self) -> Sequence[Any]:
        return [self.get(file_id) for file_id in self._store.list()]

    def delete(self, file_id: str) -> None:
        self._store.delete(file_id)

    def facts(self, found: Any) -> tuple[str, int]:
        return found.filename, found.content_length

    def created(self, found: Any) -> Any:
        return found.last_modified
