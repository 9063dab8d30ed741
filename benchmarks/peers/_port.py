"""The protocol from which the layout originates, in straightforward Python: pathlib, tempfile, json, uuid, pydantic."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from benchmarks.peers._base import FILENAME, Peer

__all__ = ["SeedPort"]

_LIMIT = 512 * 1024 * 1024


class _Meta(BaseModel):
    id: str
    object: str
    filename: str
    purpose: str
    bytes: int
    created_at: int
    status: str


class SeedPort(Peer):
    """No checksums, no streams, no pages."""

    name = "plain port of the seed"
    promises = "each of the two files atomic; takes and returns whole files"
    distribution = "pydantic"

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, data: bytes) -> str:
        if len(data) > _LIMIT:
            raise ValueError("too large")
        file_id = f"file-{uuid.uuid4().hex}"
        folder = self._root / file_id
        folder.mkdir(parents=True, exist_ok=True)
        self._write(folder, "data.bin", data)
        meta = _Meta(
            id=file_id,
            object="file",
            filename=FILENAME,
            purpose="user_data",
            bytes=len(data),
            created_at=int(time.time()),
            status="uploaded",
        )
        self._write(folder, "meta.json", json.dumps(meta.model_dump(), indent=2).encode())
        return file_id

    def get(self, file_id: str) -> Any:
        text = (self._root / file_id / "meta.json").read_text()
        return _Meta.model_validate(json.loads(text))

    def get_content(self, file_id: str) -> bytes:
        folder = self._root / file_id
        if not (folder / "meta.json").exists():
            raise FileNotFoundError(file_id)
        return (folder / "data.bin").read_bytes()

    def list(self) -> Sequence[Any]:
        found = [
            self.get(folder.name)
            for folder in self._root.iterdir()
            if folder.is_dir() and (folder / "meta.json").exists()
        ]
        return sorted(found, key=self.created)

    def delete(self, file_id: str) -> None:
        folder = self._root / file_id
        if not (folder / "meta.json").exists():
            raise FileNotFoundError(file_id)
        shutil.rmtree(folder)

    def facts(self, found: Any) -> tuple[str, int]:
        return found.filename, found.bytes

    def created(self, found: Any) -> Any:
        return found.created_at

    @staticmethod
    def _write(folder: Path, name: str, data: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            file.write(data)
            file.flush()
            Path(file.name).replace(folder / name)
