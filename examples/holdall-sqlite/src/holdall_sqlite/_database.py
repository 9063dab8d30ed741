"""One SQLite file: how it is made, shared by threads and processes, and how its errors are told."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from urllib.parse import quote

from holdall.errors import AccessDenied, StorageError, StorageFull, StorageUnavailable

__all__ = ["Database"]

_APPLICATION_ID = 0x686F6C64  # "hold": tells our databases from other programs'
_VERSION = 1

# A file is a row of `file` and its bytes in rows of `chunk`, since a blob cannot grow once it is made. A row without
# `meta` is a write that nobody sees: both indexes are partial, so staged and published files never meet in one.
# AUTOINCREMENT: a key is never given twice, so a reader of a removed file finds nothing, never another file's bytes.
_SCHEMA = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
BEGIN;
CREATE TABLE file (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    writer TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    changed REAL NOT NULL,
    meta BLOB
);
CREATE UNIQUE INDEX published ON file (id) WHERE meta IS NOT NULL;
CREATE INDEX staged ON file (key) WHERE meta IS NULL;
CREATE TABLE chunk (place INTEGER PRIMARY KEY, data BLOB NOT NULL);
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {_VERSION};
COMMIT;
"""

_VACUUM_PAGES = 1000

# By SQLite's primary result codes (https://sqlite.org/rescode.html); all others are a plain StorageError.
_KINDS = {
    sqlite3.SQLITE_BUSY: StorageUnavailable,
    sqlite3.SQLITE_LOCKED: StorageUnavailable,
    sqlite3.SQLITE_NOMEM: StorageUnavailable,
    sqlite3.SQLITE_FULL: StorageFull,
    sqlite3.SQLITE_AUTH: AccessDenied,
    sqlite3.SQLITE_PERM: AccessDenied,
    sqlite3.SQLITE_READONLY: AccessDenied,
}

# Connections from before a fork. SQLite forbids a child to use or even close them, so here they outlive every use.
_inherited: list[list[sqlite3.Connection]] = []


class Database:
    """A database file, made if it is absent. Safe in many threads, and after a fork.

    Each call takes an idle connection, or opens another, and gives it back. One connection with a lock would let
    readers wait for a writer's disk; one a thread would stay open when the thread has ended.
    """

    def __init__(self, path: str, *, fsync: bool, timeout_seconds: float) -> None:
        self._path = path
        self._fsync = fsync
        self._timeout_seconds = timeout_seconds
        self._idle: list[sqlite3.Connection] = []
        self._pid = os.getpid()
        self._closed = False
        if not os.path.exists(path):
            with _errors("make", path):
                _make(path, fsync=fsync)
        with self.connection("open") as db:
            names = "application_id", "user_version"
            found = [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]
        if found != [_APPLICATION_ID, _VERSION]:
            self._close_idle()
            raise StorageError(f"cannot open {path}: it is not a database of holdall-sqlite, or one of another version")

    @contextlib.contextmanager
    def connection(self, doing: str) -> Iterator[sqlite3.Connection]:
        """A connection for this thread alone; a statement on it is a transaction of its own."""
        with _errors(doing, self._path):
            db = self._take()
            try:
                yield db
            except BaseException:
                # Whatever state it is in, nobody else gets it. Closing alone would not end a transaction as long as
                # a cursor lives, and the traceback may hold one.
                with contextlib.suppress(sqlite3.Error):
                    db.rollback()
                db.close()
                raise
            self._connections().append(db)
        if self._closed:
            self._close_idle()

    @contextlib.contextmanager
    def transaction(self, doing: str, *, durable: bool) -> Iterator[sqlite3.Connection]:
        """A write, all or nothing. With `durable`, it is on the disk when this ends, and so is every one before it."""
        with self.connection(doing) as db:
            # Some builds overwrite what is deleted: every page of a file would go through the log once more.
            db.execute("PRAGMA secure_delete = OFF")
            # FULL syncs the log at each commit, NORMAL leaves that to the next one that is FULL.
            db.execute(f"PRAGMA synchronous = {'FULL' if durable and self._fsync else 'NORMAL'}")
            # IMMEDIATE: a transaction that reads first and writes later can fail where waiting would have helped.
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    def close(self) -> None:
        """Give free pages back to the file system and close. Calls in other threads finish."""
        if not self._closed:
            # In steps, so that nobody waits long. Not at all, if it cannot be now: free pages are used again anyway.
            with contextlib.suppress(StorageError), self.connection("shrink") as db:
                for _ in range(0, db.execute("PRAGMA freelist_count").fetchone()[0], _VACUUM_PAGES):
                    # Not execute: this steps by the page, and execute takes a single step where no columns come back.
                    db.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")
        self._closed = True
        self._close_idle()

    def _take(self) -> sqlite3.Connection:
        with contextlib.suppress(IndexError):
            return self._connections().pop()
        db = sqlite3.connect(
            f"file://{quote(self._path)}?mode=rw",  # a database that has gone is an error, not a new one
            uri=True,
            timeout=self._timeout_seconds,
            isolation_level=None,  # we say BEGIN ourselves
            check_same_thread=False,  # one thread at a time is all SQLite asks for
        )
        try:
            # Reading opens the log, and makes it if it is not there. SQLite syncs its name with the first commit, but
            # does not tell if that fails.
            db.execute("PRAGMA user_version").fetchone()
            if self._fsync:
                _sync(os.path.dirname(self._path))
        except BaseException:
            db.close()
            raise
        return db

    def _connections(self) -> list[sqlite3.Connection]:
        if self._pid != os.getpid():
            _inherited.append(self._idle)
            self._idle, self._pid = [], os.getpid()
        return self._idle

    def _close_idle(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._connections().pop().close()


@contextlib.contextmanager
def _errors(doing: str, path: str) -> Iterator[None]:
    """Turn SQLite's errors into holdall's. An `OSError` may pass: the store turns it into the kind that fits."""
    try:
        yield
    except sqlite3.Error as error:
        # An extended code has its primary code in the lowest byte; errors of the module itself have none.
        kind = _KINDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF, StorageError)
        raise kind(f"cannot {doing} in {path}: {error}") from error


def _make(path: str, *, fsync: bool) -> None:
    """Make the database aside and let it appear complete, by one link(2).

    So nobody opens half a database, of two who make it at once the second uses the first one's, and the file and all
    that SQLite puts beside it are 0600 from the start.
    """
    folder = present = os.path.dirname(path)
    while not os.path.exists(present):
        present = os.path.dirname(present)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(prefix=".making-", dir=folder)
    os.close(descriptor)
    try:
        with contextlib.closing(sqlite3.connect(draft, isolation_level=None)) as db:
            db.executescript(_SCHEMA)
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        os.unlink(draft)
    while fsync:
        _sync(folder)
        if folder == present:
            break
        folder = os.path.dirname(folder)


def _sync(folder: str) -> None:
    """A new name survives a loss of power once its directory is synced (fsync(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
