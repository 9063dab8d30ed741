"""Many processes and threads on one root: nothing is lost, nothing is half, no raw error of the system comes out."""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import holdall
from holdall.backends.local import LocalBackend

# Each of the processes opens the store by itself. What a thread did is reported only after it was acknowledged.
_CROWD = """
import threading

def work(store, me, kept, removed, errors):
    try:
        mine = []
        for i in range(rounds):
            name = f"{me}-{i}."
            mine.append(store.create(name, (name.encode() * 200)[: 20 * i * i + 7], purpose="batch"))
            for file in store.list(limit=5, order="desc").data:
                try:
                    content = store.get_content(file.id)
                except holdall.FileNotFound:
                    continue
                assert content == (file.filename.encode() * len(content))[: len(content)], file
                assert len(content) == file.bytes, file
            if i % 2:
                victim = mine.pop(i % len(mine))
                store.delete(victim.id)
                removed.append(victim.id)
            if i == rounds // 2:
                store.sweep(older_than=0)
            for file in mine:
                assert store.get(file.id) == file
        kept += [file.id for file in mine]
    except BaseException as error:
        errors.append(repr(error))

def process(number):
    kept, removed, errors = [], [], []
    with holdall.open_store(root, fsync=fsync) as store:
        threads = [
            threading.Thread(target=work, args=(store, f"{number}-{t}", kept, removed, errors)) for t in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    say(kept=kept, removed=removed, errors=errors)

pids = []
for number in range(8):
    pid = os.fork()
    if pid == 0:
        process(number)
        os._exit(0)
    pids.append(pid)
for pid in pids:
    os.waitpid(pid, 0)
"""


@pytest.mark.parametrize(("fsync", "rounds"), [(False, 10), (True, 2)])
def test_a_crowd(child, root, check_store, fsync, rounds):
    """Eight processes of eight threads create, read, list, delete and sweep at once: what was acknowledged as kept is
    there and right, what was acknowledged as deleted is gone, and there was no error.
    """
    *said, end = child.run(_CROWD, root=root, fsync=fsync, rounds=rounds)
    assert end == {"exit": 0}
    assert len(said) == 8
    assert [error for message in said for error in message["errors"]] == []
    kept = {file_id for message in said for file_id in message["kept"]}
    removed = {file_id for message in said for file_id in message["removed"]}
    assert len(kept) + len(removed) == 64 * rounds
    assert check_store(root) == kept


@pytest.fixture
def backend(root):
    """A backend without waiting for the disk."""
    opened = LocalBackend(root, fsync=False)
    yield opened
    opened.close()


def _at_once(*functions):
    """Runs the functions at the same time; their results, or what they raised."""
    barrier = threading.Barrier(len(functions))

    def run(function):
        barrier.wait()
        try:
            return function()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(run, functions))


def _put(backend, file_id, data=b"data"):
    with backend.stage(file_id) as staged:
        staged.write(data)
        staged.publish(b"{}")


def test_one_of_many_removers_wins(backend, root):
    """Of those who remove one entry at the same time, through the same handle and another, exactly one succeeds."""
    other = LocalBackend(root, fsync=False)
    for i in range(100):
        _put(backend, f"file-{i}")
        results = _at_once(*[lambda b=b, i=i: b.remove(f"file-{i}") for b in (backend, other) * 2])
        assert results.count(None) == 1
        assert sum(isinstance(r, holdall.FileNotFound) for r in results) == 3
    other.close()


def test_one_of_two_writers_wins(backend, root):
    """Of those who publish one id, one succeeds, the others get `StorageError`, and the winner's bytes stay."""
    for i in range(100):

        def write(who, file_id=f"file-{i}"):
            with backend.stage(file_id) as staged:
                staged.write(who)
                staged.publish(who)
            return who

        results = _at_once(*[lambda who=who: write(who) for who in (b"one", b"two", b"three")])
        (winner,) = [r for r in results if isinstance(r, bytes)]
        assert sum(type(r) is holdall.StorageError and "exists already" in str(r) for r in results) == 2
        assert backend.read_meta(f"file-{i}") == winner
        with backend.open_data(f"file-{i}") as stream:
            assert stream.read() == winner
    assert os.listdir(f"{root}/.staging") == []


def test_reading_against_deleting(backend):
    """A read that races a delete gives the right bytes or `FileNotFound`."""
    data = os.urandom(300_000)

    def read(file_id):
        with backend.open_data(file_id) as stream:
            return b"".join(iter(lambda: stream.read(50_000), b"")) == data

    outcomes = set()
    for i in range(150):
        _put(backend, f"file-{i}", data)
        results = _at_once(
            lambda i=i: read(f"file-{i}"),
            lambda i=i: backend.remove(f"file-{i}"),
            lambda i=i: backend.read_meta(f"file-{i}") == b"{}",
        )
        assert results[1] is None
        for result in (results[0], results[2]):
            assert result is True or type(result) is holdall.FileNotFound, repr(result)
            outcomes.add(type(result))
    assert outcomes <= {bool, holdall.FileNotFound}


def test_an_open_stream_outlives_its_entry(backend):
    """A stream that was opened before its entry was removed and erased delivers all of its bytes."""
    data = os.urandom(100_000)
    _put(backend, "file-a", data)
    with backend.open_data("file-a") as stream:
        backend.remove("file-a")
        backend._reaper.wait()
        assert stream.read() == data


def test_listings_lose_nothing(backend):
    """Listings in many threads, while entries come and go, each hold every entry that was there all the time."""
    lasting = [f"file-{i:04}" for i in range(0, 600, 2)]
    for file_id in lasting:
        _put(backend, file_id)
    done = threading.Event()

    def come_and_go():
        while not done.is_set():
            for i in range(1, 60, 2):
                _put(backend, f"file-{i:04}")
            for i in range(1, 60, 2):
                backend.remove(f"file-{i:04}")

    def look():
        try:
            for _ in range(30):
                found = list(backend.list_ids())
                assert found == sorted(set(found))
                assert set(lasting) <= set(found)
        finally:
            done.set()

    assert _at_once(come_and_go, look, look, look) == [None] * 4


@pytest.mark.parametrize("own", [True, False], ids=["same handle", "other process"])
def test_a_slow_write_outlives_a_sweep(child, root, check_store, own):
    """A write in progress, however slow, is not a leftover to a sweep of any age, here or in another process; the
    debris of a dead one beside it goes.
    """
    store = holdall.open_store(root, fsync=False)
    os.makedirs(f"{root}/.staging/file-dead.000000000000.new")
    with open(f"{root}/.staging/file-dead.000000000000.new/data.bin", "wb") as dead:
        dead.write(b"dead")
    swept = []

    def source():
        for _ in range(3):
            yield b"slow"
            if own:
                swept.extend(d.file_id for d in store.sweep(older_than=0).leftovers)
            else:
                swept.extend(
                    child.tell(
                        """
                        with holdall.open_store(root) as store:
                            say(swept=[d.file_id for d in store.sweep(older_than=0).leftovers])
                        """,
                        root=root,
                    )["swept"]
                )

    file = store.create("slow", source(), purpose="batch")
    store.close()
    assert swept == ["file-dead"]
    assert check_store(root) == {file.id}


def test_where_nothing_can_be_locked_a_write_is_told_from_a_leftover_by_its_age(monkeypatch, root, check_store):
    """Not every network file system has locks. On one without, files are stored all the same, and a sweep removes what
    is old.
    """

    def unsupported(fd, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with holdall.open_store(root, fsync=False) as store:
        with store.begin("young", purpose="batch") as upload:
            upload.write(b"young")
            assert store.sweep().leftovers == ()
            file = upload.finish()
        with store.begin("old", purpose="batch") as upload:
            assert [d.file_id for d in store.sweep(older_than=0).leftovers] == [upload.file_id]
        assert check_store(root) == {file.id}


def test_a_sweep_at_every_step_of_a_write(calls, root, check_store):
    """A sweep by somebody else before any single step of a create never spoils it: not while the write has no lock yet,
    nor while it appears.
    """
    with holdall.open_store(root, fsync=False) as store, holdall.open_store(root, fsync=False) as other:

        def create():
            created.append(store.create("a", b"a" * 1000, purpose="batch").id)

        def sweep_before(name, real):
            other.sweep(older_than=0)
            return real()

        def sweep_after(name, real):
            result = real()
            other.sweep(older_than=0)
            return result

        created = []
        create()
        for action in (sweep_before, sweep_after):
            nth = 1
            while calls.fault(create, nth, action):
                nth += 1
            assert nth > 9
        assert check_store(root) == set(created)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("where", ["os.open", "fcntl.flock"])
def test_a_write_that_begins_at_every_step_of_a_sweep(calls, monkeypatch, root, check_store, where):
    """A write that has made its directory but not its data, or its data but not locked it, and goes on while a sweep
    looks at that directory, is not spoilt, whichever step of the sweep it is.
    """
    events = paused, go_on, staged, swept = [threading.Event() for _ in range(4)]
    below = os.open if where == "os.open" else fcntl.flock

    def pausing(what, *args, **kwargs):
        begins = where == "fcntl.flock" or str(what).endswith(".new/data.bin")
        if threading.current_thread().name == "writer" and begins and not go_on.is_set():
            paused.set()
            go_on.wait()
        return below(what, *args, **kwargs)

    monkeypatch.setattr(where, pausing)
    with holdall.open_store(root, fsync=False) as store:
        created: list[str] = []

        def source():
            staged.set()
            swept.wait()
            yield b"a"

        def write():
            try:
                created.append(store.create("a", source(), purpose="batch").id)
            finally:
                staged.set()

        def let_go(name, real):
            go_on.set()
            staged.wait()
            return real()

        for nth in itertools.count(1):
            for event in events:
                event.clear()
            writer = threading.Thread(target=write, name="writer", daemon=True)
            writer.start()
            paused.wait()
            reached = calls.fault(lambda: store.sweep(older_than=0), nth, let_go)
            go_on.set()
            swept.set()
            writer.join()
            # Taken out again, as a sweep makes more calls the more files there are.
            assert check_store(root) == set(created)
            store.delete(created.pop())
            if not reached:
                break
        assert nth > 8


def test_a_leftover_that_comes_to_life(calls, root):
    """An entry without metadata, taken for a leftover, whose writer then finishes, is not removed: neither before nor
    after it was moved out of the root.
    """
    with holdall.open_store(root, fsync=False) as store:
        backend = store.backend

        def finish(name, real):
            try:
                with open(f"{root}/file-old/meta.json", "wb") as meta:
                    meta.write(b"{}")
            except FileNotFoundError:
                outcomes.append("too late")
            else:
                outcomes.append("in time")
            return real()

        outcomes = []
        for nth in itertools.count(1):
            os.makedirs(f"{root}/file-old")
            (debris,) = backend.debris()
            if not calls.fault(lambda debris=debris: backend.discard_debris(debris), nth, finish):
                break
            if outcomes[-1] == "in time":
                assert backend.read_meta("file-old") == b"{}"
                backend.remove("file-old")
                backend._reaper.wait()
            assert os.listdir(root) == [".staging"]
        assert set(outcomes) == {"in time", "too late"}
