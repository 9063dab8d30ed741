"""file-keeper's storage on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import file_keeper

from benchmarks.peers._base import TwoObjects

__all__ = ["FileKeeper"]


class FileKeeper(TwoObjects):
    """Two of its files for each file."""

    name = "file-keeper"
    promises = "not atomic; always MD5 and a look at the content"
    distribution = "file-keeper"

    def __init__(self, root: Path) -> None:
        settings = {"type": "file_keeper:fs", "path": str(root), "initialize": True}
        self._store = file_keeper.make_storage(root.name, settings)

    def put(self, key: str, data: bytes) -> None:
        self._store.upload(file_keeper.types.Location(key), file_keeper.make_upload(data))

    def read(self, key: str) -> bytes:
        return self._store.content(file_keeper.FileData(file_keeper.types.Location(key)))

    def ids(self) -> Sequence[str]:
        return [name.partition("/")[0] for name in self._store.scan() if name.endswith("/meta.json")]

    def delete(self, file_id: str) -> None:
        for name in ("meta.json", "data.bin"):
            self._store.remove(file_keeper.FileData(file_keeper.types.Location(f"{file_id}/{name}")))
