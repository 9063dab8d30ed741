"""obstore's LocalStore."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from obstore.store import LocalStore

from benchmarks.peers._base import TwoObjects

__all__ = ["Obstore"]


class Obstore(TwoObjects):
    """Two of its objects for each file."""

    name = "obstore LocalStore"
    promises = "each of the two files atomic"
    distribution = "obstore"

    def __init__(self, root: Path) -> None:
        self._store = LocalStore(str(root), automatic_cleanup=True)

    def put(self, key: str, data: bytes) -> None:
        self._store.put(key, data, use_multipart=False)

    def read(self, key: str) -> bytes:
        return self._store.get(key).bytes().to_bytes()

    def ids(self) -> Sequence[str]:
        return [name.rpartition("/")[2] for name in self._store.list_with_delimiter()["common_prefixes"]]

    def delete(self, file_id: str) -> None:
        self._store.delete([f"{file_id}/meta.json", f"{file_id}/data.bin"])
