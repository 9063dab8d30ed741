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
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Self, cast

from holdall import Backend, Capability, FileNotFound, FileStore, StagedFile, StorageError, StoreURL
from holdall.backend import Limits


class SQLiteBackend(Backend):
    """Every verb is one transaction, so SQLite makes all the promises."""

    capabilities = (
        Capability.DURABLE
        | Capability.ATOMIC_PUBLISH
        | Capability.EXCLUSIVE_REMOVE
        | Capability.RANGED_READS
        | Capability.ORDERED_LISTING
        | Capability.SHARED
        | Capability.PERSISTENT
    )
    limits = Limits(max_file_bytes=900_000_000)  # a value in SQLite ends at a billion bytes

    def __init__(self, path: str) -> None:
        self._path = path
        with self.connection() as connection:
            # With a write-ahead log, whoever reads a file for hours keeps nobody from writing.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE IF NOT EXISTS entry (id TEXT UNIQUE, meta BLOB, data BLOB)")

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Self:
        return cls(url.path)

    def connect(self) -> sqlite3.Connection:
        # One a call: a backend is called from many threads, and connecting costs less than sharing.
        connection = sqlite3.connect(self._path, timeout=60, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")  # what DURABLE needs
        return connection

    @contextlib.contextmanager
    def connection(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction, which is committed unless an error leaves it."""
        with contextlib.closing(self.connect()) as connection, connection:
            yield connection

    def stage(self, file_id: str) -> StagedFile:
        return SQLiteStagedFile(self, file_id)

    def read_meta(self, file_id: str) -> bytes:
        with self.connection() as connection:
            row = connection.execute("SELECT meta FROM entry WHERE id = ?", (file_id,)).fetchone()
        if row is None:
            raise FileNotFound(f"there is no file {file_id}")
        return bytes(row[0])

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        connection = self.connect()
        try:
            # One transaction, so that what was found cannot be deleted before it is opened, nor while it is read.
            connection.execute("BEGIN")
            row = connection.execute("SELECT rowid FROM entry WHERE id = ?", (file_id,)).fetchone()
            if row is None:
                raise FileNotFound(f"there is no file {file_id}")
            return cast("BinaryIO", BlobStream(connection, row[0], start, stop))
        except BaseException:
            connection.close()
            raise

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        query = "SELECT id FROM entry WHERE id > ? AND id < ? ORDER BY id LIMIT 1000"
        lower, upper = after or "", "~" if before is None else before  # no id is past "~"
        while True:
            with self.connection() as connection:
                ids = [row[0] for row in connection.execute(query, (lower, upper))]
            if not ids:
                return
            yield from ids
            lower = ids[-1]

    def remove(self, file_id: str) -> None:
        with self.connection() as connection:
            removed = connection.execute("DELETE FROM entry WHERE id = ?", (file_id,)).rowcount
        if not removed:
            raise FileNotFound(f"there is no file {file_id}")


class SQLiteStagedFile(StagedFile):
    """Collects the bytes in a temporary file; the transaction that inserts them is the commit."""

    def __init__(self, backend: SQLiteBackend, file_id: str) -> None:
        self._backend = backend
        self._file_id = file_id
        self._data = tempfile.TemporaryFile()  # noqa: SIM115 - closed by discard

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self._data.write(chunk)

    def publish(self, meta: bytes) -> None:
        size = self._data.tell()
        self._data.seek(0)
        try:
            with self._backend.connection() as connection:
                row = connection.execute("INSERT INTO entry VALUES (?, ?, zeroblob(?))", (self._file_id, meta, size))
                with connection.blobopen("entry", "data", row.lastrowid or 0) as blob:
                    shutil.copyfileobj(self._data, blob)
        except sqlite3.IntegrityError as error:
            raise StorageError(f"{self._file_id} exists already") from error
        self.discard()

    def discard(self) -> None:
        self._data.close()


class BlobStream(io.RawIOBase):
    """The bytes of an entry from `start` to `stop`, read as they are asked for; owns the connection."""

    def __init__(self, connection: sqlite3.Connection, row: int, start: int, stop: int | None) -> None:
        super().__init__()
        self._connection = connection
        self._blob = connection.blobopen("entry", "data", row, readonly=True)
        size = len(self._blob)
        self._blob.seek(min(start, size))
        self._left = max(min(size, size if stop is None else stop) - start, 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        chunk = self._blob.read(min(len(buffer), self._left))
        self._left -= len(chunk)
        buffer[: len(chunk)] = chunk
        return len(chunk)

    def close(self) -> None:
        if not self.closed:
            self._blob.close()
            self._connection.close()
        super().close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = StoreURL.parse(f"sqlite://{folder}/files.db")

        with FileStore(SQLiteBackend.from_url(url, SQLiteBackend.Options()), url=url) as store:
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
