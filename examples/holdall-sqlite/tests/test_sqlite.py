"""What is SQLite's alone: its locks, limits, logs and files. All that every backend must hold is in the suite."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from holdall_sqlite import SQLiteBackend

import holdall
from holdall.backend import Capability
from holdall.errors import AccessDenied, FileNotFound, InvalidStoreURL, StorageError, StorageFull, StorageUnavailable

MIB = 1024 * 1024


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database is."""
    return tmp_path / "new folder" / "files.db"


def opened(path: Path, **options: Any) -> holdall.FileStore:
    """A handle on the database; it does not wait for the disk unless asked to."""
    return holdall.open_store(f"sqlite://{path}", **{"fsync": False, **options})


def python(code: str, *arguments: object, under: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run a program in a new interpreter, perhaps under a tracer."""
    command = [*under, sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603 - our own


def limited(pragma: str) -> Any:
    """`sqlite3.connect`, with a limit put on each connection."""
    connect = sqlite3.connect

    def limiting(*arguments: Any, **options: Any) -> sqlite3.Connection:
        db = connect(*arguments, **options)
        db.execute(f"PRAGMA {pragma}")
        return db

    return limiting


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///a/", "sqlite://files.db", "sqlite://u@/a.db"])
def test_a_url_that_names_no_file_is_refused(url: str) -> None:
    """What cannot be a database's path is InvalidStoreURL, with how to write it."""
    with pytest.raises(InvalidStoreURL, match=r"sqlite:///"):
        holdall.open_store(url)


@pytest.mark.parametrize("name", ["a?b=c.db", "a#b%20.db", "ä ö/ü.db", "/doubled.db"])
def test_a_path_with_characters_that_mean_something_in_a_url_is_that_path(tmp_path: Path, name: str) -> None:
    """The database is where the path says, however it is spelt."""
    url = holdall.StoreURL("sqlite", path=f"/{tmp_path}/{name}")

    with holdall.open_store(url) as store:
        store.create("a", b"a", purpose="user_data")

    assert (tmp_path / name.lstrip("/")).is_file()


def test_only_a_store_that_waits_for_the_disk_declares_it(path: Path) -> None:
    """`fsync=false` gives up DURABLE, and nothing else."""
    with opened(path, fsync=True) as durable, opened(path) as fast:
        assert durable.capabilities ^ fast.capabilities == Capability.DURABLE


def test_database_and_log_are_for_their_owner_only(path: Path) -> None:
    """Nobody else on the machine can read what was stored, not even from the log."""
    with opened(path) as store:
        store.create("a", b"private", purpose="user_data")
        modes = {p.name: p.stat().st_mode & 0o777 for p in path.parent.iterdir()}

    assert modes == {"files.db": 0o600, "files.db-shm": 0o600, "files.db-wal": 0o600}
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_many_who_open_a_new_database_at_once_open_the_same(path: Path) -> None:
    """Nobody meets half a database, and no file stored through one handle is missing in another."""
    barrier = threading.Barrier(8)
    results: list[Any] = []

    def work() -> None:
        barrier.wait(30)
        try:
            with opened(path) as store:
                results.append(store.create("a", b"a", purpose="user_data").id)
        except BaseException as error:  # noqa: BLE001 - the assertion shows it
            results.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    with opened(path) as store:
        assert sorted(map(str, results)) == [file.id for file in store]
    assert [p.name for p in path.parent.iterdir()] == ["files.db"]


@pytest.mark.parametrize("content", [b"", b"plain text, no database\n" * 50])
def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    """Opening something else is a StorageError, and does not turn it into a database."""
    path = tmp_path / "notes.txt"
    path.write_bytes(content)

    with pytest.raises(StorageError):
        opened(path)

    assert path.read_bytes() == content


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    """A database with other tables is refused by name, and gets none of ours."""
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (x)")

    with pytest.raises(StorageError, match="not a database of holdall-sqlite"):
        opened(path)

    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_readers_do_not_wait_for_a_writer_and_another_writer_is_told_to_try_again(path: Path) -> None:
    """While somebody holds the lock for writing, all reading goes on; writing is StorageUnavailable after its time."""
    with opened(path, timeout_seconds=0.01) as store:
        file = store.create("a", b"a" * MIB, purpose="user_data")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("UPDATE file SET writer = 'changed, not committed'")

            assert store.get_content(file.id, 5, 7) == b"aa"
            assert [f.id for f in store] == [file.id]
            with pytest.raises(StorageUnavailable, match="locked"):
                store.create("b", b"b", purpose="user_data")
            with pytest.raises(StorageUnavailable, match="locked"):
                store.delete(file.id)
            other.execute("ROLLBACK")

        store.delete(file.id)
        assert list(store) == []


@pytest.mark.parametrize(("pragma", "kind"), [("max_page_count = 20", StorageFull), ("query_only = ON", AccessDenied)])
def test_a_refused_write_is_of_its_kind_and_stores_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, pragma: str, kind: type[StorageError]
) -> None:
    """A full database is StorageFull, one that may not be written AccessDenied; afterwards all works."""
    with opened(path) as store:
        kept = store.create("a", b"a", purpose="user_data")
    monkeypatch.setattr(sqlite3, "connect", limited(pragma))
    with opened(path) as store, pytest.raises(kind):
        store.create("b", b"b" * MIB, purpose="user_data")
    monkeypatch.undo()

    with opened(path) as store:
        assert [f.id for f in store] == [kept.id]
        store.create("c", b"c" * MIB, purpose="user_data")


def test_space_of_deleted_files_is_used_again_and_given_back_on_close(path: Path) -> None:
    """Storing and deleting in turn does not make the database grow; closing makes it small."""
    with opened(path) as store:
        store.delete(store.create("a", b"a" * 4 * MIB, purpose="user_data").id)
        with closing(sqlite3.connect(path)) as db:
            pages = db.execute("PRAGMA page_count").fetchone()
        for _ in range(5):
            store.delete(store.create("a", b"a" * 4 * MIB, purpose="user_data").id)
        with closing(sqlite3.connect(path)) as db:
            assert db.execute("PRAGMA page_count").fetchone() == pages

    assert path.stat().st_size < 100_000


def test_a_sweep_leaves_a_live_write_alone_and_takes_a_dropped_one(path: Path) -> None:
    """However old it must be, what another handle of this process is writing is no leftover."""
    with opened(path) as store, opened(path) as other:

        def source() -> Iterator[bytes]:
            yield b"a" * MIB
            assert other.sweep(older_than=0).leftovers == ()
            yield b"a" * MIB

        file = store.create("a", source(), purpose="user_data")
        assert store.get_content(file.id) == b"a" * 2 * MIB

        dropped = other.backend.stage(f"file-{'0' * 32}")
        dropped.write(b"b" * MIB)
        del dropped
        assert [d.bytes for d in store.sweep(older_than=0).leftovers] == [MIB]
        assert [f.id for f in store] == [file.id]


def test_a_write_that_another_process_swept_fails_and_stores_nothing(path: Path) -> None:
    """Another process cannot know that a write lives; taking it must not leave half a file behind."""
    sweep = "import holdall, sys; print(len(holdall.open_store(sys.argv[1]).sweep(older_than=0).leftovers))"

    def source() -> Iterator[bytes]:
        yield b"a" * MIB
        assert python(sweep, f"sqlite://{path}").stdout == "1\n"
        yield b"a"

    with opened(path) as store:
        with pytest.raises(StorageError, match="sweep"):
            store.create("a", source(), purpose="user_data")
        assert list(store) == []
        assert list(store.backend.debris()) == []


def test_a_stream_whose_file_was_removed_says_so_and_never_shows_another_files_bytes(path: Path) -> None:
    """Rows of a removed file are used again, its key is not."""
    backend = SQLiteBackend(path, fsync=False)
    for n in range(2):
        with backend.stage(f"file-{n}") as staged:
            staged.write(bytes([n]) * MIB)
            staged.publish(b"{}")
        if n == 0:
            stream = backend.open_data("file-0")
            assert stream.read(10) == bytes(10)
            backend.remove("file-0")

    with pytest.raises(FileNotFound):
        stream.read(MIB)
    stream.close()
    backend.close()


def test_publishing_an_id_that_exists_keeps_what_was_there(path: Path) -> None:
    """Of two writes with one id the second to publish fails, and leaves nothing."""
    backend = SQLiteBackend(path, fsync=False)
    first, second = backend.stage("file-1"), backend.stage("file-1")
    first.write(b"first")
    second.write(b"second")
    first.publish(b"{}")

    with pytest.raises(StorageError, match="exists already"):
        second.publish(b"[]")

    assert (backend.read_meta("file-1"), backend.open_data("file-1").read()) == (b"{}", b"first")
    assert list(backend.debris()) == []
    backend.close()


def test_a_write_that_failed_erases_nothing_of_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Discarding a write whose first chunk did not fit leaves the next write alone, though that takes its place."""
    other = SQLiteBackend(path, fsync=False)
    monkeypatch.setattr(sqlite3, "connect", limited("max_page_count = 20"))
    backend = SQLiteBackend(path, fsync=False)
    failed = backend.stage("file-1")
    with pytest.raises(StorageFull):
        failed.write(b"a" * MIB)
    with other.stage("file-2") as staged:
        staged.write(b"other")
        staged.publish(b"{}")

    failed.discard()

    assert other.open_data("file-2").read() == b"other"
    backend.close()
    other.close()


def test_a_store_opened_before_a_fork_works_on_both_sides(path: Path) -> None:
    """The child neither uses nor closes the parent's connections: it stores on when the parent has closed its store."""
    program = """
import holdall, os, sys
store = holdall.open_store(sys.argv[1])
before = store.create("before", b"before", purpose="user_data")
reading, writing = os.pipe()
child = os.fork()
if child:
    store.close()
    os.write(writing, b"closed")
    sys.exit(os.waitpid(child, 0)[1])
os.read(reading, 6)
made = store.create("child", os.urandom(600_000), purpose="user_data")
assert store.get_content(before.id) == b"before" and len(store.get_content(made.id)) == 600_000
os._exit(0)
"""
    done = python(program, f"sqlite://{path}")

    assert (done.returncode, done.stderr) == (0, "")
    with opened(path) as store:
        assert [file.filename for file in store] == ["before", "child"]
        assert store.verify().ok


def test_a_commit_that_could_not_be_synced_does_not_come_to_life_later(path: Path, tmp_path: Path) -> None:
    """What create reported as failed is not there when all processes die and the log is recovered."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("needs strace(1): nothing else makes fsync fail")
    program = """
import holdall, os, signal, sys
store = holdall.open_store(sys.argv[1])
store.create("kept", b"kept", purpose="user_data")
other = holdall.open_store(sys.argv[1])  # the last connection to be closed would empty the log
os.write(2, b"now")
try:
    store.create("lost", b"lost", purpose="user_data")
except holdall.StorageError as error:
    print(type(error).__name__, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    trace = tmp_path / "trace"
    command = (strace, "-f", "-o", str(trace), "-e", "trace=fdatasync,fsync,write")
    python(program, f"sqlite://{tmp_path}/dry.db", under=command)
    calls = trace.read_text().partition('"now"')[0]
    last = calls.count("fdatasync(") + 1

    done = python(program, f"sqlite://{path}", under=(*command, "-e", f"inject=fdatasync:error=EIO:when={last}"))

    assert done.stdout == "StorageError\n"
    with opened(path) as store:
        assert [f.filename for f in store] == ["kept"]


def test_a_database_that_has_gone_is_an_error_and_not_a_new_empty_one(path: Path) -> None:
    """A new connection to a path without a database fails: the files are missing, they were not deleted."""
    backend = SQLiteBackend(path, fsync=False)
    backend.close()
    os.unlink(path)

    with pytest.raises(StorageError, match="unable to open"):
        backend.read_meta("file-1")
    assert not path.exists()
