"""A backend of your own: entries in one SQLite file, used through FileStore.

Installed as a package with the entry point `sqlite = "module:SQLiteBackend"` in the group `holdall.backends`, it would
answer to `sqlite:///path/to/files.db`. It prints:

    stored notes.txt
    found again: b'kept in a database'
    after deleting it: there is no file file-00000000000000000000000000000000
"""
# ruff: noqa: D102 - the methods are documented on Backend and StagedFile

from __future__ import annotations

import contextlib
import io
import sqlite3
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Self

from holdall import Backend, Capability, FileNotFound, FileStore, StagedFile, StorageError, StoreURL
from holdall.backend import Limits


class SQLiteBackend(Backend):
    """Every verb is one statement, so SQLite's transactions make all the promises."""

    capabilities = (
        Capability.DURABLE
        | Capability.ATOMIC_PUBLISH
        | Capability.EXCLUSIVE_REMOVE
        | Capability.ORDERED_LISTING
        | Capability.SHARED
        | Capability.PERSISTENT
    )
    limits = Limits(max_file_bytes=500_000_000)  # a value in SQLite ends at a billion bytes

    def __init__(self, path: str) -> None:
        self._path = path
        self.run("CREATE TABLE IF NOT EXISTS entry (id TEXT PRIMARY KEY, meta BLOB, data BLOB)")

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Self:
        return cls(url.path)

    def run(self, statement: str, *values: Any) -> tuple[list[tuple[Any, ...]], int]:
        """The rows of a statement and how many it changed, in a transaction of its own."""
        # A connection each time: it may not be shared by threads, and opening one costs microseconds.
        with contextlib.closing(sqlite3.connect(self._path)) as connection, connection:
            connection.execute("PRAGMA synchronous = EXTRA")  # what DURABLE needs
            cursor = connection.execute(statement, values)
            return cursor.fetchall(), cursor.rowcount

    def stage(self, file_id: str) -> StagedFile:
        return SQLiteStagedFile(self, file_id)

    def read_meta(self, file_id: str) -> bytes:
        return self._column("meta", file_id)

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        return io.BytesIO(self._column("data", file_id))

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        lower, upper = after or "", "~" if before is None else before
        while True:
            rows, _ = self.run("SELECT id FROM entry WHERE id > ? AND id < ? ORDER BY id LIMIT 1000", lower, upper)
            if not rows:
                return
            yield from (row[0] for row in rows)
            lower = rows[-1][0]

    def remove(self, file_id: str) -> None:
        _, removed = self.run("DELETE FROM entry WHERE id = ?", file_id)
        if not removed:
            raise FileNotFound(f"there is no file {file_id}")

    def _column(self, column: str, file_id: str) -> bytes:
        rows, _ = self.run(f"SELECT {column} FROM entry WHERE id = ?", file_id)  # noqa: S608 - one of our two names
        if not rows:
            raise FileNotFound(f"there is no file {file_id}")
        return bytes(rows[0][0])


class SQLiteStagedFile(StagedFile):
    """Collects the bytes in memory; the INSERT is the commit."""

    def __init__(self, backend: SQLiteBackend, file_id: str) -> None:
        self._backend = backend
        self._file_id = file_id
        self._data = bytearray()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self._data += chunk

    def publish(self, meta: bytes) -> None:
        try:
            self._backend.run("INSERT INTO entry VALUES (?, ?, ?)", self._file_id, meta, self._data)
        except sqlite3.IntegrityError as error:
            raise StorageError(f"{self._file_id} exists already") from error

    def discard(self) -> None:
        self._data = bytearray()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = StoreURL.parse(f"sqlite://{folder}/files.db")

        with FileStore(SQLiteBackend.from_url(url, SQLiteBackend.Options())) as store:
            file = store.create("notes.txt", b"kept in a database", purpose="user_data")
            print("stored", file.filename)

        # Another store on the same URL, as another process would open it.
        with FileStore(SQLiteBackend.from_url(url, SQLiteBackend.Options()), url=url) as store:
            print("found again:", store.get_content(file.id))
            store.delete(file.id)
            try:
                store.get(file.id)
            except FileNotFound as error:
                print("after deleting it:", error)


if __name__ == "__main__":
    main()
