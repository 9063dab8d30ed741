"""Upkeep: `verify` finds every kind of damage, `sweep` removes what nobody needs and nothing else."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from tests import fakes

from holdall import FileNotFound, FileStore, InvalidRequest, StorageError
from holdall.backend import Debris
from holdall.upkeep import DEFAULT_GRACE_SECONDS
from holdall.wrappers import Prefixed

NOW = 1_800_000_000.0


class Littered(fakes.Failing):
    """Has leftovers."""

    def __init__(self):
        super().__init__()
        self.litter = [
            Debris("new", "unfinished write", None, 10, NOW - 60),
            Debris("old", "removed entry", "file-a", 20, NOW - 2 * 3600),
            Debris("edge", "data without metadata", "file-b", 30, NOW - DEFAULT_GRACE_SECONDS),
        ]

    def debris(self):
        yield from list(self.litter)

    def discard_debris(self, debris):
        self.litter.remove(debris)


@pytest.fixture
def clock():
    return fakes.Clock(NOW)


@pytest.fixture
def backend():
    return Littered()


@pytest.fixture
def store(backend, clock):
    return FileStore(backend, clock=clock)


@pytest.fixture
def file(store):
    return store.create("a", b"content", purpose="batch")


def change(backend, file, *, meta=None, data=None):
    """Damage an entry behind the store's back."""
    old_meta, old_data = backend._space.entries[file.id]
    backend._space.entries[file.id] = (old_meta if meta is None else meta, old_data if data is None else data)


def test_an_undamaged_store_is_ok(store, file):
    """All files are counted, all bytes read; leftovers are no damage."""
    store.create("b", b"more", purpose="batch")
    seen = []
    report = store.verify(on_file=lambda file_id, size: seen.append((file_id, size)))

    assert report.ok
    assert (report.files, report.bytes, report.problems) == (2, 11, ())
    assert seen == [(f.id, f.bytes) for f in store]
    assert [d.name for d in report.leftovers] == ["old", "edge"]


@pytest.mark.parametrize(
    ("damage", "kind", "detail"),
    [
        ({"meta": b"{"}, "unreadable metadata", "cannot be read"),
        ({"meta": b'{"id": "file-other"}'}, "unreadable metadata", "cannot be read"),
        ({"data": b"conten"}, "wrong size", "the data has 6 bytes, the metadata says 7"),
        ({"data": b"content and more"}, "wrong size", "the data has 16 bytes, the metadata says 7"),
        ({"data": b"Content"}, "wrong sha256", "the data's SHA-256 is "),
    ],
)
def test_damage_is_reported_by_kind(store, backend, file, damage, kind, detail):
    """Each kind has its name and a sentence; the undamaged files are still counted."""
    good = store.create("b", b"more", purpose="batch")
    change(backend, file, **damage)
    report = store.verify()

    assert not report.ok
    assert [(p.file_id, p.kind) for p in report.problems] == [(file.id, kind)]
    assert detail in report.problems[0].detail
    assert report.files == 2
    assert store.get_content(good.id) == b"more"


@pytest.mark.parametrize(
    ("verb", "error", "kind"),
    [
        ("open_data", FileNotFound("no data"), "missing data"),
        ("open_data", OSError(5, "Input/output error"), "unreadable data"),
        ("open_data", RuntimeError("a client's"), "unreadable data"),
        ("read_meta", OSError(5, "Input/output error"), "unreadable metadata"),
        ("read_meta", PermissionError(13, "Permission denied"), "unreadable metadata"),
    ],
)
def test_what_cannot_be_read_is_a_problem_of_that_entry(store, backend, file, monkeypatch, verb, error, kind):
    """A disk that fails for one file does not end the look at the others."""
    good = store.create("b", b"more", purpose="batch")
    original = getattr(backend, verb)

    def failing(file_id, *args):
        if file_id == file.id:
            raise error
        return original(file_id, *args)

    monkeypatch.setattr(backend, verb, failing)
    report = store.verify()

    assert [(p.file_id, p.kind) for p in report.problems] == [(file.id, kind)]
    assert (report.files, report.bytes) == (2, good.bytes)


def test_a_file_that_is_deleted_meanwhile_is_no_problem(store, backend, file, monkeypatch):
    """Neither before its metadata was read, nor between metadata and data."""

    def vanish(file_id, *args):
        backend._space.entries.pop(file_id, None)
        backend._space.ids[:] = []
        raise FileNotFound("gone")

    monkeypatch.setattr(backend, "open_data", vanish)
    assert store.verify().problems == ()
    store.create("b", b"", purpose="batch")
    monkeypatch.setattr(backend, "read_meta", vanish)
    report = store.verify()
    assert (report.files, report.problems) == (0, ())


def test_a_file_without_a_hash_is_checked_by_its_size(store, backend, file):
    """Stores of other programs have none."""
    meta = backend.read_meta(file.id).replace(b'"sha256"', b'"other"')
    change(backend, file, meta=meta, data=b"CONTENT")
    assert store.verify().ok
    change(backend, file, data=b"CONTEN")
    assert [p.kind for p in store.verify().problems] == ["wrong size"]


def test_an_expired_file_that_is_still_there_is_verified(store, clock):
    """It takes space until it is swept."""
    store.create("a", b"content", purpose="batch", expires_after=1)
    clock.now += 100

    assert (store.verify().files, store.verify().bytes) == (1, 7)


class Mine(Exception):
    """The caller's own."""


@pytest.mark.parametrize("error", [Mine("x"), OSError(5, "mine"), FileNotFoundError("mine"), KeyboardInterrupt()])
def test_what_the_callers_function_raises_comes_through(store, file, error):
    """`on_file` may stop a verify in its own way; that is no error of the storage."""

    def stop(file_id, size):
        raise error

    with pytest.raises(type(error)) as caught:
        store.verify(on_file=stop)
    assert caught.value is error


def test_metadata_that_can_no_longer_be_read_is_a_problem_of_that_entry(store, backend, file, monkeypatch):
    """The data is missing, and whether the file was deleted cannot be found out: the others are still looked at."""
    good = store.create("b", b"more", purpose="batch")
    read_meta, open_data = backend.read_meta, backend.open_data

    def vanish(file_id, *args):
        if file_id != file.id:
            return open_data(file_id, *args)
        backend.failures["read_meta"] = OSError(5, "Input/output error")
        raise FileNotFound("no data")

    def once(file_id):
        try:
            return read_meta(file_id)
        finally:
            backend.failures.pop("read_meta", None)

    monkeypatch.setattr(backend, "open_data", vanish)
    monkeypatch.setattr(backend, "read_meta", once)
    report = store.verify()

    assert [(p.file_id, p.kind) for p in report.problems] == [(file.id, "unreadable metadata")]
    assert file.id in report.problems[0].detail
    assert (report.files, report.bytes) == (2, good.bytes)


@pytest.mark.parametrize("listed", [None, 0, 1])
def test_a_listing_that_fails_ends_a_verify(store, backend, file, monkeypatch, listed):
    """What could not be listed was not verified, whether all of it or what comes after the first."""
    list_ids, error = backend.list_ids, OSError(5, "Input/output error")

    def failing(*bounds):
        if listed is None:
            raise error
        return chain(list_ids(*bounds))

    def chain(file_ids):
        yield from itertools.islice(file_ids, listed)
        raise error

    monkeypatch.setattr(backend, "list_ids", failing)
    with pytest.raises(StorageError) as caught:
        store.verify()
    assert caught.value.operation == "verify"


def test_leftovers_that_cannot_be_read_do_not_cost_the_report(store, backend, file, monkeypatch):
    """Files, damage and the other leftovers are reported; so is what could not be read, and the store is not `ok`."""
    change(backend, file, data=b"")

    def failing():
        yield backend.litter[1]
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(backend, "debris", failing)
    report = store.verify()

    assert [p.kind for p in report.problems] == ["wrong size"]
    assert [d.name for d in report.leftovers] == ["old"]
    assert ["Permission denied" in sentence for sentence in report.unread] == [True]
    assert not report.ok
    change(backend, file, data=b"content")
    assert (store.verify().problems, store.verify().ok) == ((), False)


def test_sweep_removes_expired_files_and_old_leftovers(store, backend, clock):
    """To the second and no sooner; what may belong to a write in progress stays; a second sweep finds nothing."""
    old = store.create("a", b"a", purpose="batch", expires_after=60)
    soon = store.create("b", b"b", purpose="batch", expires_after=61)
    never = store.create("c", b"c", purpose="batch")
    backend.put("file-corrupt", b"{")
    clock.now = old.expires_at
    backend.litter[2:] = []
    report = store.sweep(older_than=2 * 3600 + 60)

    assert (report.expired, [d.name for d in report.leftovers], report.dry_run) == ((old.id,), ["old"], False)
    assert sorted(backend.list_ids()) == sorted([soon.id, never.id, "file-corrupt"])
    assert [d.name for d in backend.litter] == ["new"]
    assert (store.sweep(older_than=7260).expired, store.sweep(older_than=7260).leftovers) == ((), ())


def test_a_dry_run_says_the_same_and_removes_nothing(store, backend, clock):
    """Its report is the one of the sweep that follows."""
    store.create("a", b"a", purpose="batch", expires_after=60)
    clock.now += 60
    dry = store.sweep(dry_run=True)

    assert dry.dry_run
    assert len(backend._space.entries) == 1
    assert len(backend.litter) == 3
    real = store.sweep()
    assert (dry.expired, dry.leftovers) == (real.expired, real.leftovers)
    assert len(real.expired) == 1


@pytest.mark.parametrize(
    ("older_than", "names"),
    [(0, ["new", "old", "edge"]), (3600, ["old", "edge"]), (3600.5, ["old"]), (dt.timedelta(hours=3), [])],
)
def test_the_age_of_a_leftover_decides(store, older_than, names):
    """From that age on it is removed; `verify` counts the same ones."""
    assert [d.name for d in store.verify(older_than=older_than).leftovers] == names
    assert [d.name for d in store.sweep(older_than=older_than).leftovers] == names


def test_of_two_sweeps_at_once_each_file_is_one_ones(store, backend, clock, monkeypatch):
    """A file that somebody else just removed is not counted, and is no error."""
    store.create("a", b"a", purpose="batch", expires_after=60)
    clock.now += 60
    remove = backend.remove

    def twice(file_id):
        remove(file_id)
        remove(file_id)

    monkeypatch.setattr(backend, "remove", twice)
    assert store.sweep().expired == ()


@pytest.mark.parametrize("verb", ["list_ids", "read_meta", "remove"])
def test_a_sweep_that_fails_says_so(store, backend, clock, verb):
    """The error of the storage names what was tried, and where."""
    store.create("a", b"a", purpose="batch", expires_after=60)
    clock.now += 60
    backend.failures[verb] = OSError(5, "Input/output error")

    with pytest.raises(StorageError) as caught:
        store.sweep()

    assert caught.value.operation == "sweep"
    assert caught.value.backend == "Littered"


def test_a_file_of_another_store_in_the_storage_is_let_be(store, backend, clock):
    """A store with a prefix keeps its files for itself: the other neither sweeps nor verifies them."""
    FileStore(Prefixed(backend, "team-a"), clock=clock).create("a", b"a", purpose="batch", expires_after=60)
    clock.now += 60

    assert store.sweep().expired == ()
    assert (store.verify().ok, store.verify().files) == (True, 0)
    assert len(backend._space.entries) == 1


@pytest.mark.parametrize("older_than", [-1, "1h", None, True, float("nan")])
def test_a_wrong_age_is_refused(store, older_than):
    """Before anything is removed or read."""
    for call in (store.sweep, store.verify):
        with pytest.raises(InvalidRequest):
            call(older_than=older_than)
