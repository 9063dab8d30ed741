"""holdall's conformance suite on sqlite://: all that a backend must hold."""
# ruff: noqa: D102 - the methods of SQLiteRaw are documented on RawAccess

from __future__ import annotations

import glob
import os
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from holdall_sqlite._backend import _CHUNK_BITS, _CHUNK_BYTES

from holdall.conformance import StoreConformance, Target
from holdall.url import StoreURL


class TestSQLite(StoreConformance):
    """`sqlite://…` as it is by default: durable."""

    @pytest.fixture
    def holdall_target(self, tmp_path: Path) -> Target:
        """A database for each check, in one directory."""
        return SQLiteTarget(f"sqlite://{tmp_path}")


class SQLiteTarget(Target):
    """Adds a way past the store, so that the checks which damage things on purpose can run too."""

    def fresh(self) -> str:
        url = super().fresh()
        self.raw = SQLiteRaw(StoreURL.parse(url).path)
        return url


class SQLiteRaw:
    """`holdall.conformance.RawAccess`: what an operator with the sqlite3 program could do."""

    def __init__(self, path: str) -> None:
        self.path = path

    def run(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """The rows of a statement, in a transaction of its own."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as db:
            return db.execute(statement, values).fetchall()

    def corrupt(self, file_id: str) -> None:
        self.write_meta(file_id, b'{"id": "')

    def read_meta(self, file_id: str) -> bytes:
        return self.run("SELECT meta FROM file WHERE id = ?", file_id)[0][0]

    def write_meta(self, file_id: str, meta: bytes) -> None:
        self.run("UPDATE file SET meta = ? WHERE id = ?", meta, file_id)

    def truncate(self, file_id: str, size: int) -> None:
        number, rest = divmod(size, _CHUNK_BYTES)
        last = (self._key(file_id) << _CHUNK_BITS) + number
        self.run("DELETE FROM chunk WHERE place > ? AND place >> ? = ?", last, _CHUNK_BITS, self._key(file_id))
        self.run("UPDATE chunk SET data = substr(data, 1, ?) WHERE place = ?", rest, last)

    def drop_data(self, file_id: str) -> None:
        self.run("DELETE FROM chunk WHERE place >> ? = ?", _CHUNK_BITS, self._key(file_id))

    def drop_meta(self, file_id: str) -> None:
        self.run("UPDATE file SET meta = NULL WHERE id = ?", file_id)

    def orphan(self) -> str:
        file_id = f"file-{uuid.uuid4().hex}"
        self.run("INSERT INTO file (id, writer, bytes, changed) VALUES (?, 'nobody', 11, 0)", file_id)
        self.run("INSERT INTO chunk VALUES (?, ?)", self._key(file_id) << _CHUNK_BITS, b"half a file")
        return file_id

    def stray(self) -> None:
        self.run("CREATE TABLE notes (id TEXT, meta BLOB)")
        self.run("INSERT INTO notes VALUES ('file-1', 'of somebody else')")
        with open(f"{self.path}.txt", "wb") as file:
            file.write(b"beside the database")

    def link(self, file_id: str, outside: str) -> None:
        raise NotImplementedError("there are no links in a database")

    def deny(self, file_id: str) -> None:
        raise NotImplementedError("there are no permissions within a database")

    def allow(self, file_id: str) -> None:
        raise NotImplementedError("there are no permissions within a database")

    def leftovers(self) -> list[str]:
        rows = self.run(
            "SELECT 'write of ' || id FROM file WHERE meta IS NULL UNION ALL "
            "SELECT 'chunk ' || place FROM chunk WHERE place >> ? NOT IN (SELECT key FROM file)",
            _CHUNK_BITS,
        )
        return [name for (name,) in rows]

    def used_bytes(self) -> int:
        # The log is a buffer that is used over and over: what counts is what is left when it is emptied.
        self.run("PRAGMA wal_checkpoint(TRUNCATE)")
        return sum(os.path.getsize(path) for path in glob.glob(f"{glob.escape(self.path)}*"))

    def _key(self, file_id: str) -> int:
        return self.run("SELECT key FROM file WHERE id = ?", file_id)[0][0]
