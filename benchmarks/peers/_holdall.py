"""holdall itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import holdall
from benchmarks.peers._base import FILENAME, Peer

__all__ = ["Holdall", "HoldallDurable"]


class Holdall(Peer):
    """`file://…?fsync=false`."""

    name = "holdall, fsync=false"
    promises = "atomic; validates, hashes while writing"
    distribution = "holdall"
    fsync = False

    def __init__(self, root: Path) -> None:
        self.store = holdall.open_store(str(root), fsync=self.fsync, max_bytes=2**40)

    def create(self, data: bytes) -> str:
        return self.store.create(FILENAME, data, purpose="user_data").id

    def get(self, file_id: str) -> Any:
        return self.store.get(file_id)

    def get_content(self, file_id: str) -> bytes:
        return self.store.get_content(file_id)

    def list(self) -> Sequence[Any]:
        return self.store.list().data

    def page(self, limit: int) -> Sequence[Any]:
        return self.store.list(limit=limit, order="desc").data

    def delete(self, file_id: str) -> None:
        self.store.delete(file_id)

    def settle(self) -> None:
        # Finding leftovers waits for entries that this process is erasing.
        for _ in self.store.backend.debris():
            pass

    def facts(self, found: Any) -> tuple[str, int]:
        return found.filename, found.bytes

    def close(self) -> None:
        self.store.close()


class HoldallDurable(Holdall):
    """`file://…` with default options."""

    name = "holdall"
    promises = "atomic; survives a loss of power; validates, hashes while writing"
    fsync = True
    syncs = True
