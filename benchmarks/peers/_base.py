"""The interface of a peer, and the half of it that stores of plain keys have in common."""

from __future__ import annotations

import abc
import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["FILENAME", "Peer", "TwoObjects", "described"]

FILENAME = "report.jsonl"


def described(data: bytes) -> tuple[str, dict[str, Any]]:
    """A new id and the metadata of a file with these bytes, as an application without holdall would make them."""
    file_id = f"file-{uuid.uuid4().hex}"
    return file_id, {
        "id": file_id,
        "object": "file",
        "filename": FILENAME,
        "purpose": "user_data",
        "bytes": len(data),
        "created_at": int(time.time()),
        "status": "uploaded",
    }


class Peer(abc.ABC):
    """A store in one directory. What a call returns is checked after the clock has stopped."""

    name: ClassVar[str]
    """As the tables say it."""
    promises: ClassVar[str]
    """What it does that others do not, or not, in a few words: numbers mean little without it."""
    distribution: ClassVar[str | None] = None
    """Whose version the report gives."""
    syncs: ClassVar[bool] = False
    """Whether it waits for the disk."""

    @abc.abstractmethod
    def __init__(self, root: Path) -> None:
        """Open a store in a directory that is empty, or that another of this kind has used."""

    @abc.abstractmethod
    def create(self, data: bytes) -> str:
        """Store bytes with their metadata, and return the id."""

    @abc.abstractmethod
    def get(self, file_id: str) -> Any:
        """The metadata, in whatever form the peer has it."""

    @abc.abstractmethod
    def get_content(self, file_id: str) -> bytes:
        """The bytes."""

    @abc.abstractmethod
    def list(self) -> Sequence[Any]:
        """The metadata of all files."""

    @abc.abstractmethod
    def delete(self, file_id: str) -> None:
        """Remove a file; returns when the caller may go on."""

    def page(self, limit: int) -> Sequence[Any]:
        """The metadata of the newest files. Who has no pages lists all, as its users must."""
        return sorted(self.list(), key=self.created)[-limit:]

    @abc.abstractmethod
    def facts(self, found: Any) -> tuple[str, int | None]:
        """The name and size in what `get` or `list` returned; None: it says no size. Not timed."""

    def created(self, found: Any) -> Any:
        """What the newest are found by."""
        return found["created_at"]

    def settle(self) -> None:
        """Wait for what goes on behind the calls that have returned."""

    def close(self) -> None:
        """Let go of what is held."""


class TwoObjects(Peer):
    """A store of keys: an object of bytes and one of JSON for each file, as an application would write it."""

    def create(self, data: bytes) -> str:
        file_id, meta = described(data)
        self.put(f"{file_id}/data.bin", data)
        self.put(f"{file_id}/meta.json", json.dumps(meta).encode())
        return file_id

    def get(self, file_id: str) -> Any:
        return json.loads(self.read(f"{file_id}/meta.json"))

    def get_content(self, file_id: str) -> bytes:
        return self.read(f"{file_id}/data.bin")

    def list(self) -> Sequence[Any]:
        return [self.get(file_id) for file_id in self.ids()]

    def facts(self, found: Any) -> tuple[str, int | None]:
        return found["filename"], found["bytes"]

    @abc.abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object."""

    @abc.abstractmethod
    def read(self, key: str) -> bytes:
        """Read an object."""

    @abc.abstractmethod
    def ids(self) -> Sequence[str]:
        """The ids, in any order."""
