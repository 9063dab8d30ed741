"""The five verbs on a SQLite database."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import time
import uuid
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from pydantic import Field

from holdall.backend import Backend, BackendOptions, Capability, Debris, StagedFile
from holdall.errors import FileNotFound, InvalidStoreURL, StorageError
from holdall_sqlite._database import Database

if TYPE_CHECKING:
    from holdall.backend import Buffer
    from holdall.url import StoreURL

__all__ = ["SQLiteBackend"]

_CHUNK_BYTES = 256 * 1024
_CHUNK_BITS = 24  # 4 TiB a file, which is all that a database holds at SQLite's usual page size
_PAGE_OF_IDS = 1000
_AFTER_EVERY_ID = "\U0010ffff"

# The writes of this process that live, by a name no other write has. Weak: a write that was dropped is a dead one.
_alive: weakref.WeakValueDictionary[str, _SQLiteStagedFile] = weakref.WeakValueDictionary()


class SQLiteBackend(Backend):
    """Files in one SQLite database, each published, and removed, by one transaction."""

    class Options(BackendOptions):
        """Options of `sqlite://`."""

        fsync: bool = Field(
            default=True,
            description="wait for the disk: a stored file survives a loss of power; false: only a crash of the process",
        )
        timeout_seconds: float = Field(
            default=30.0, gt=0, le=3600, description="how long a write waits for those of others"
        )

    # Not LOCAL_PATHS, PORTABLE_LAYOUT or SIGNED_URLS: the bytes are in rows. Their methods raise NotSupported already.
    capabilities = (
        Capability.ATOMIC_PUBLISH
        | Capability.EXCLUSIVE_REMOVE
        | Capability.RANGED_READS
        | Capability.ORDERED_LISTING
        | Capability.EXACT_LISTING
        | Capability.SHARED
        | Capability.PERSISTENT
    )

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool = True, timeout_seconds: float = 30.0) -> None:
        self._database = Database(os.path.abspath(path), fsync=fsync, timeout_seconds=timeout_seconds)
        if fsync:
            self.capabilities |= Capability.DURABLE

    @classmethod
    def from_url(cls, url: StoreURL, options: Options) -> Self:
        if url.host or url.port is not None or url.username is not None:
            raise InvalidStoreURL(f"{url}: a database has three slashes; did you mean sqlite:///{url.host}{url.path}?")
        if not url.path or url.path.endswith("/"):
            raise InvalidStoreURL(f"{url} names no file; write sqlite:///path/to/files.db")
        return cls(url.path, fsync=options.fsync, timeout_seconds=options.timeout_seconds)

    def stage(self, file_id: str) -> StagedFile:
        return _SQLiteStagedFile(self._database, file_id)

    def read_meta(self, file_id: str) -> bytes:
        return cast("bytes", self._row("meta", file_id)[0])

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        key, size = self._row("key, bytes", file_id)
        stream = _DataStream(self._database, file_id, key, start, size if stop is None else min(stop, size))
        return io.BufferedReader(stream, _CHUNK_BYTES)

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        # A page at a time, by key and not by offset: between two pages there is no transaction, which would keep the
        # log from being emptied for as long as somebody iterates.
        last, end = after or "", _AFTER_EVERY_ID if before is None else before
        while True:
            with self._database.connection("list") as db:
                rows = db.execute(
                    "SELECT id FROM file WHERE meta IS NOT NULL AND id > ? AND id < ? ORDER BY id LIMIT ?",
                    (last, end, _PAGE_OF_IDS),
                ).fetchall()
            yield from (file_id for (file_id,) in rows)
            if len(rows) < _PAGE_OF_IDS:
                return
            last = rows[-1][0]

    def remove(self, file_id: str) -> None:
        with self._database.transaction(f"delete {file_id}", durable=True) as db:
            row = db.execute("SELECT key FROM file WHERE id = ? AND meta IS NOT NULL", (file_id,)).fetchone()
            if row is not None:
                _erase(db, row[0])
        if row is None:
            raise _absent(file_id)

    def debris(self) -> Iterator[Debris]:
        with self._database.connection("look for leftovers") as db:
            rows = db.execute("SELECT key, id, bytes, changed, writer FROM file WHERE meta IS NULL").fetchall()
        # Writes of other processes cannot be told from dead ones, other than by their age.
        for key, file_id, size, changed, writer in rows:
            if writer not in _alive:
                yield Debris(str(key), "unfinished write", file_id, size, changed)

    def discard_debris(self, debris: Debris) -> None:
        key = int(debris.name)
        with self._database.transaction("sweep", durable=False) as db:
            # It may have been published since it was seen.
            if db.execute("SELECT 1 FROM file WHERE key = ? AND meta IS NULL", (key,)).fetchone():
                _erase(db, key)

    def close(self) -> None:
        self._database.close()

    def _row(self, columns: str, file_id: str) -> tuple[int, ...]:
        with self._database.connection(f"read {file_id}") as db:
            query = f"SELECT {columns} FROM file WHERE id = ? AND meta IS NOT NULL"  # noqa: S608 - ours, no user's
            row: tuple[int, ...] | None = db.execute(query, (file_id,)).fetchone()
        # Raised here and not inside: an absent file is no reason to give up the connection.
        if row is None:
            raise _absent(file_id)
        return row


class _SQLiteStagedFile(StagedFile):
    """A write: whole chunks in the database, where nobody looks, the rest in memory until it fills one."""

    def __init__(self, database: Database, file_id: str) -> None:
        self._database = database
        self._file_id = file_id
        self._writer = uuid.uuid4().hex
        self._key: int | None = None
        self._chunks = self._bytes = 0
        self._buffer = bytearray()
        self._finished = False
        _alive[self._writer] = self

    def write(self, chunk: Buffer) -> None:
        view = memoryview(chunk)
        while view:
            room = _CHUNK_BYTES - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]
            if len(self._buffer) == _CHUNK_BYTES:
                self._flush()

    def publish(self, meta: bytes) -> None:
        try:
            if self._buffer or self._key is None:
                self._flush()
            with self._database.transaction(f"create {self._file_id}", durable=True) as db:
                try:
                    cursor = db.execute("UPDATE file SET meta = ? WHERE key = ? AND meta IS NULL", (meta, self._key))
                except sqlite3.IntegrityError as error:
                    raise StorageError(
                        f"cannot create {self._file_id}: an entry with this id exists already"
                    ) from error
                if cursor.rowcount == 0:
                    raise self._swept()
        except BaseException:
            # Reported as failed means not there. A commit that could not be synced lies in the log complete, and the
            # next one to recover the log would bring it to life: erasing the file writes over it.
            with contextlib.suppress(StorageError):
                self.discard()
            raise
        self._finish()

    def discard(self) -> None:
        if self._finished:
            return
        self._finish()
        if self._key is not None:
            with self._database.transaction(f"discard {self._file_id}", durable=False) as db:
                _erase(db, self._key)

    def _flush(self) -> None:
        """The buffer as one more chunk. Need not be durable: the commit of `publish` syncs the log it is in."""
        size = self._bytes + len(self._buffer)
        with self._database.transaction(f"write {self._file_id}", durable=False) as db:
            key = self._key
            if key is None:
                cursor = db.execute(
                    "INSERT INTO file (id, writer, bytes, changed) VALUES (?, ?, ?, ?)",
                    (self._file_id, self._writer, size, time.time()),
                )
                key = cast("int", cursor.lastrowid)
            else:
                cursor = db.execute("UPDATE file SET bytes = ?, changed = ? WHERE key = ?", (size, time.time(), key))
                if cursor.rowcount == 0:
                    raise self._swept()
            if self._buffer:
                db.execute("INSERT INTO chunk VALUES (?, ?)", (_place(key, self._chunks), self._buffer))
        # Only now: had the transaction failed, the key would be given to somebody else, and discard erase their file.
        self._key, self._bytes, self._chunks = key, size, self._chunks + 1
        self._buffer.clear()

    def _finish(self) -> None:
        self._finished = True
        self._buffer = bytearray()
        _alive.pop(self._writer, None)

    def _swept(self) -> StorageError:
        return StorageError(f"cannot create {self._file_id}: a sweep removed it as a leftover; send it again")


class _DataStream(io.RawIOBase):
    """Bytes from `start` to `stop`, read by incremental blob I/O: as much as is asked for, and no more.

    Holds nothing between two reads, so closing it early costs nothing and no reader keeps the log from being emptied.
    """

    def __init__(self, database: Database, file_id: str, key: int, start: int, stop: int) -> None:
        super().__init__()
        self._database = database
        self._file_id = file_id
        self._key = key
        self._position = start
        self._stop = stop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        number, offset = divmod(self._position, _CHUNK_BYTES)
        wanted = min(len(buffer), _CHUNK_BYTES - offset, self._stop - self._position)
        if wanted <= 0:
            return 0
        data = self._read(number, offset, wanted)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _read(self, number: int, offset: int, count: int) -> bytes:
        with self._database.connection(f"read {self._file_id}") as db:
            try:
                with db.blobopen("chunk", "data", _place(self._key, number), readonly=True) as blob:
                    blob.seek(min(offset, len(blob)))
                    return blob.read(count)
            except sqlite3.OperationalError as error:
                # The plain code is what a row that is not there has; the others are failures.
                if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                    raise
            there = db.execute("SELECT 1 FROM file WHERE key = ? AND meta IS NOT NULL", (self._key,)).fetchone()
        if not there:
            raise _absent(self._file_id)
        return b""  # damaged: the store sees that bytes are missing, and says so


def _place(key: int, number: int) -> int:
    """Where a chunk is: the chunks of a file lie side by side, so that removing them is one range."""
    return key << _CHUNK_BITS | number


def _erase(db: sqlite3.Connection, key: int) -> None:
    db.execute("DELETE FROM file WHERE key = ?", (key,))
    db.execute("DELETE FROM chunk WHERE place >= ? AND place < ?", (_place(key, 0), _place(key + 1, 0)))


def _absent(file_id: str) -> FileNotFound:
    return FileNotFound(f"there is no file {file_id}", file_id=file_id)
