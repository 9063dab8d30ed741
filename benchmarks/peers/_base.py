"""The interface of a peer, and a base class for key-value stores."""

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
    """A new id and the metadata of a file with this content, as an application without holdall would create them."""
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
    """A store in one directory. Results are checked after the time has been measured."""

    name: ClassVar[str]
    """The name in the tables."""
    promises: ClassVar[str]
    """How its guarantees differ from the others', in a few words: numbers mean little without it."""
    distribution: ClassVar[str | None] = None
    """The distribution whose version is reported."""
    syncs: ClassVar[bool] = False
    """Whether it syncs to disk."""

    @abc.abstractmethod
    def __init__(self, root: Path) -> None:
        """Open a store in a directory that is empty, or that was used by the same kind of store."""

    @abc.abstractmethod
    def create(self, data: bytes) -> str:
        """Store data with its metadata, and return the id."""

    @abc.abstractmethod
    def get(self, file_id: str) -> Any:
        """The metadata, in whatever form the peer returns it."""

    @abc.abstractmethod
    def get_content(self, file_id: str) -> bytes:
        """The data."""

    @abc.abstractmethod
    def list(self) -> Sequence[Any]:
        """The metadata of all files."""

    @abc.abstractmethod
    def delete(self, file_id: str) -> None:
        """Remove a file. Returns when the caller may continue."""

    def page(self, limit: int) -> Sequence[Any]:
        """The metadata of the newest files. A peer without pages lists all files, as its users must."""
        return sorted(self.list(), key=self.created)[-limit:]

    @abc.abstractmethod
    def facts(self, found: Any) -> tuple[str, int | None]:
        """The name and size in a result of `get` or `list`; None: it contains no size. Not timed."""

    def created(self, found: Any) -> Any:
        """The sort key for the newest files."""
        return found["created_at"]

    def settle(self) -> None:
        """Wait for background work of calls that have returned."""

    def close(self) -> None:
        """Release resources."""


class TwoObjects(Peer):
    """A key-value store: an object of data and one of JSON for each file, as an application would write them."""

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
