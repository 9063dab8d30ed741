"""The sweep in the background: everybody's store has its turn, a live upload is never touched, and it ends when told."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
import uuid

import anyio
import httpx
import pytest
from tests.server._serving import KEY, answer_to, begin_upload, serving, until

import holdall
from holdall import AsyncFileStore, FileStore
from holdall.backends.memory import MemoryBackend
from holdall.server import Keys, Quota, create_app, sweeping
from holdall.server._places import PREFIX
from holdall.server._sweeper import Sweeper
from holdall.server._tenants import Stores
from holdall.wrappers import Prefixed

DIED = """
import os, sys, holdall
upload = holdall.open_store(sys.argv[1]).begin("dead", purpose="batch")
upload.append(b"x" * 6_000_000)
os._exit(9)
"""
ROUND = """
import sys, anyio
from holdall.server._sweeper import Sweeper
from holdall.server._tenants import Stores

async def sweep():
    async with Stores(sys.argv[1]) as stores:
        observers = [lambda swept: print(len(swept.report.leftovers))]
        options = {"older_than": float(sys.argv[2])} if sys.argv[2:] else {}
        await Sweeper({"files": stores}, observers=observers, **options).round()

anyio.run(sweep)
"""


def _expired(url):
    """The id of a file in this store that has expired."""
    with holdall.open_store(url) as opened:
        past = FileStore(opened.backend, clock=lambda: time.time() - 100)
        return past.create("old", b"x" * 10, purpose="batch", expires_after=50).id


def _run(program, *arguments):
    return subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)


class _Enough(Exception):
    pass


class _Pauses(list):
    """Stands in for waiting: notes how long it would be, and ends the sweeper after so many."""

    def __init__(self, most):
        super().__init__()
        self._most = most

    async def __call__(self, seconds):
        self.append(seconds)
        if len(self) == self._most:
            raise _Enough


def test_every_tenants_files_and_uploads_are_swept_and_no_store_stays_open(tmp_path):
    """Also of tenants who asked for nothing since the start; and what a file took of a quota is given back at once."""
    names = ["ann", "ben"]
    gone = [_expired(tmp_path / kind / name) for kind in ("files", "parts") for name in names]
    swept = []

    async def run():
        async with (
            Stores(str(tmp_path / "files"), tenants=lambda: names, quota=lambda _: Quota(max_files=1)) as files,
            Stores(str(tmp_path / "parts"), tenants=lambda: names) as parts,
        ):
            async with files.lease("ann") as store:
                with pytest.raises(holdall.StorageError):
                    await store.create("b", b"", purpose="batch")
                await Sweeper({"files": files, "parts": parts}, observers=[swept.append]).round()
                file = await store.create("b", b"", purpose="batch")
                assert [found.id async for found in store] == [file.id]
            assert list(files._entries) == ["ann"]
            assert list(parts._entries) == []

    anyio.run(run)
    assert [(one.what, *one.report.expired) for one in swept] == list(
        zip(["files", "files", "parts", "parts"], gone, strict=True)
    )


@pytest.mark.parametrize("keys", [None, Keys(f"ann:{KEY}")], ids=["without keys", "with keys"])
def test_an_application_sweeps_its_files_and_its_uploads(tmp_path, keys):
    """Those that were left before it started, too; and its lifespan ends while the sweeper waits."""
    names = ["ann"] if keys else []
    gone = [
        tmp_path.joinpath(*names, _expired(tmp_path.joinpath(*names))),
        tmp_path.joinpath(*names, ".uploads", _expired(tmp_path.joinpath(*names, ".uploads"))),
    ]
    assert all(entry.exists() for entry in gone)
    with serving(create_app(str(tmp_path), keys=keys, sweep_seconds=0.01)):
        until(lambda: not any(entry.exists() for entry in gone))


@pytest.mark.parametrize("off", [None, 0])
def test_a_sweep_can_be_turned_off(monkeypatch, off):
    """With None or 0 there is no sweeper."""
    monkeypatch.setattr("holdall.server._app.Sweeper", None)
    with serving(create_app("memory://", sweep_seconds=off)) as running:
        assert httpx.get(f"{running.url}/healthz").status_code == 200


def test_a_store_that_was_given_is_swept_and_stays_open():
    """It is the caller's to close, but nobody else would sweep it, nor the uploads that are kept in the same storage."""
    backend = MemoryBackend()
    store = FileStore(backend)
    for kept in (backend, Prefixed(backend, PREFIX)):
        FileStore(kept, clock=lambda: time.time() - 100).create("old", b"", purpose="batch", expires_after=50)
    with serving(create_app(store, sweep_seconds=0.01)):
        until(lambda: not list(backend.list_ids()))
    assert list(store) == []


def test_an_application_with_stores_of_its_own_has_them_swept(tmp_path):
    """Each of them, with the uploads to it, of either face; and they stay open."""
    backends = [MemoryBackend(), MemoryBackend()]
    local = holdall.open_store(tmp_path)
    stores = [FileStore(backends[0]), AsyncFileStore(FileStore(backends[1])), local]
    for kept in (*backends, *(Prefixed(backend, PREFIX) for backend in backends)):
        FileStore(kept, clock=lambda: time.time() - 100).create("old", b"", purpose="batch", expires_after=50)
    gone = [tmp_path / _expired(tmp_path), tmp_path / ".uploads" / _expired(tmp_path / ".uploads")]

    def swept():
        return not any(list(backend.list_ids()) for backend in backends) and not any(entry.exists() for entry in gone)

    async def run():
        async with sweeping(*stores, every=0.01):
            await anyio.to_thread.run_sync(until, swept)
        assert [file async for file in stores[1]] == []

    anyio.run(run)
    assert list(stores[0]) == list(local) == []
    local.close()


def test_a_store_that_fails_is_told_once_and_keeps_no_other_from_its_turn(tmp_path, caplog):
    """Logged when it begins, when it becomes another failure, and when it is over; the next tenant is swept."""
    names, swept = ["ann", "ben"], []
    (tmp_path / "ann").write_bytes(b"in the way")

    async def run():
        async with Stores(str(tmp_path), tenants=lambda: names) as stores:
            sweeper = Sweeper({"files": stores}, observers=[swept.append])
            for _ in range(3):
                await sweeper.round()
            (tmp_path / "ann").unlink()
            await sweeper.round()
            await sweeper.round()

    anyio.run(run)
    assert [(one.report is None) for one in swept] == [True, False] * 3 + [False] * 4
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(told) == 2
    assert told[0].startswith("cannot sweep the files of ann: ")
    assert told[1] == "sweeping the files of ann works again"


def test_another_failure_is_told_again_and_one_of_the_program_with_its_traceback(caplog):
    """Each kind of failure is told as it comes; holdall's own errors say all in a sentence."""
    failures = [
        holdall.AccessDenied("no"),
        holdall.AccessDenied("no"),
        ZeroDivisionError("oh"),
        ZeroDivisionError("oh"),
    ]

    class Failing:
        def tenants(self):
            return [None]

        def apart(self, tenant):
            raise failures.pop(0)

    async def run():
        sweeper = Sweeper({"files": Failing()})
        for _ in range(4):
            await sweeper.round()

    anyio.run(run)
    assert [(record.getMessage(), bool(record.exc_info)) for record in caplog.records] == [
        ("cannot sweep the files of everybody: no", False),
        ("cannot sweep the files of everybody: oh", True),
    ]


@pytest.mark.parametrize(
    ("chance", "took", "expected"),
    [(0.0, 0.0, [60, 300, 300]), (1.0, 0.0, [600, 900, 900]), (0.5, 30.0, [330, 3000, 3000])],
)
def test_rounds_begin_at_times_that_differ_and_take_a_hundredth_of_the_time(chance, took, expected):
    """The first after a tenth of the interval at least; and a round that takes long makes the next one wait longer."""
    pauses, now = _Pauses(3), [0.0]

    class Slow:
        def tenants(self):
            now[0] += took
            return []

    sweeper = Sweeper({"files": Slow()}, every=600, pause=pauses, chance=lambda: chance, clock=lambda: now[0])
    with pytest.raises(_Enough):
        anyio.run(sweeper.run)
    assert pauses == pytest.approx(expected)


@pytest.mark.parametrize("given", [False, True], ids=["by URL", "given"])
@pytest.mark.parametrize("what", ["read_metas", "debris"])
def test_stopping_does_not_wait_for_the_end_of_a_sweep(monkeypatch, what, given):
    """A sweep of millions of files, or leftovers, ends with the one it is at."""
    begun, seen = threading.Event(), 0
    with holdall.open_store("memory://") as store:
        store.create("a", b"", purpose="batch")
        metas = list(store.backend.read_metas(store.backend.list_ids()))

    def endless(self, *_):
        nonlocal seen
        for _ in range(1_000_000):
            seen += 1
            begun.set()
            yield metas[0] if what == "read_metas" else holdall.backend.Debris("a", "b", None, 0, time.time())

    monkeypatch.setattr(MemoryBackend, what, endless)

    async def run():
        source = FileStore(MemoryBackend()) if given else "memory://"
        async with Stores(source) as stores, anyio.create_task_group() as tasks:
            tasks.start_soon(Sweeper({"files": stores}).round)
            await anyio.to_thread.run_sync(begun.wait)
            tasks.cancel_scope.cancel()

    anyio.run(run)
    assert seen < 1_000_000


def test_a_sweep_elsewhere_never_touches_an_upload_that_rests(tmp_path):
    """On local disk, whatever its age: a client is half-way while another process sweeps without any grace, which takes
    what a process left that died.
    """
    url, staging, data = f"file://{tmp_path}/files", tmp_path / "files" / ".staging", os.urandom(2_000_000)
    with serving(create_app(url)) as running, running.connect() as connection:
        rest = begin_upload(connection, data, sent=1_000_000)
        until(lambda: list(staging.glob("*/data.bin")))
        assert _run(DIED, url).returncode == 9
        assert len(list(staging.iterdir())) == 2

        swept = _run(ROUND, url, "0")
        assert (swept.stdout, swept.stderr) == ("1\n", "")
        assert len(list(staging.iterdir())) == 1
        _is_stored(url, connection, rest, data)


def test_a_sweep_elsewhere_leaves_an_upload_alone_that_only_its_age_protects(s3):
    """On S3 nobody can tell a slow upload from a dead one: a sweep without grace would take it, that of a server not."""
    prefix, data = uuid.uuid4().hex, os.urandom(24_000_000)
    url = s3.url(prefix, part_size="5MiB")
    with serving(create_app(url)) as running, running.connect() as connection:
        rest = begin_upload(connection, data, sent=18_000_000)
        until(lambda: s3.client().call_s3("list_multipart_uploads", Bucket=s3.bucket, Prefix=prefix).get("Uploads"))
        would = _run("from holdall.cli import main; main()", "-s", url, "sweep", "--older-than=0", "-n", "--json")
        assert len(json.loads(would.stdout)["leftovers"]) == 1

        swept = _run(ROUND, url)
        assert (swept.stdout, swept.stderr) == ("0\n", "")
        _is_stored(url, connection, rest, data)


def _is_stored(url, connection, rest, data):
    """Send what is left of an upload: it is acknowledged, and stored whole."""
    connection.sendall(rest)
    status, body = answer_to(connection)
    assert status == 200, body
    with holdall.open_store(url) as store:
        assert store.get_content(json.loads(body)["id"]) == data


def test_many_processes_sweep_at_once(tmp_path):
    """None fails because another was faster, and nothing that is to stay goes."""
    with holdall.open_store(tmp_path) as store:
        kept = [store.create("kept", b"x", purpose="batch").id for _ in range(20)]
        past = FileStore(store.backend, clock=lambda: time.time() - 100)
        for _ in range(200):
            past.create("old", b"x", purpose="batch", expires_after=50)
        command = [sys.executable, "-c", ROUND, str(tmp_path)]
        processes = [subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)]
        assert [process.communicate() for process in processes] == [(b"0\n", b"")] * 4
        assert [file.id for file in store] == kept
    assert sorted(path.name for path in tmp_path.glob("file-*")) == sorted(kept)
