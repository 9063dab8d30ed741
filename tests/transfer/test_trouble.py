"""Copying a store when something is damaged, fails or is interrupted: the report says so, and nothing is lost."""

from __future__ import annotations

import hashlib
import os

import pytest
from tests.transfer._kit import Wrapped, everything, plant, root, write

import holdall
from holdall.backends.memory import MemoryBackend
from holdall.transfer import copy_store
from holdall.wrappers import Prefixed


def test_an_interrupted_copy_is_resumed(source, wrapped):
    """A copy that is interrupted keeps what it has done, leaves no half file, and goes on from there."""
    ids = list(source.backend.list_ids())

    def interrupt(file_id, chunk):
        if file_id == ids[3]:
            raise KeyboardInterrupt

    wrapped.backend.on["write"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        copy_store(source, wrapped)

    assert list(wrapped.backend.list_ids()) == ids[:3]
    assert ("discard", ids[3]) in wrapped.backend.calls

    wrapped.backend.on.clear()
    report = copy_store(source, wrapped)
    assert (report.copied, report.skipped, report.failures) == (2, 3, ())
    assert everything(wrapped) == everything(source)


@pytest.mark.parametrize("error", [holdall.StorageFull, holdall.AccessDenied, holdall.StorageUnavailable])
@pytest.mark.parametrize("call", ["read_meta", "stage", "write", "publish", "open_data"])
def test_trouble_of_the_target_stops_the_copy(source, wrapped, error, call):
    """A target that is full, forbidden or away is not tried with every further file: its own error comes out."""

    def fail(*_):
        raise error("no")

    wrapped.backend.on[call] = fail
    with pytest.raises(error):
        copy_store(source, wrapped)

    assert [name for name, _ in wrapped.backend.calls].count(call) == 1


def test_an_errno_of_the_target_counts_as_its_error(source, wrapped):
    """A backend that lets `OSError` through stops the copy as well, with holdall's error."""

    def fail(*_):
        raise OSError(28, "No space left on device")

    wrapped.backend.on["write"] = fail
    with pytest.raises(holdall.StorageFull):
        copy_store(source, wrapped)


@pytest.mark.parametrize("call", ["stage", "write", "publish"])
def test_one_file_that_fails_does_not_stop_the_rest(source, wrapped, call):
    """Another failure of the target is reported with the id, nothing of the file is left, and the rest arrives."""
    ids = list(source.backend.list_ids())

    def fail(file_id, *_):
        if file_id == ids[2]:
            raise holdall.StorageError("a bad sector")

    wrapped.backend.on[call] = fail
    report = copy_store(source, wrapped)

    assert [(failure.file_id, failure.reason) for failure in report.failures] == [(ids[2], "a bad sector")]
    assert not report.ok
    assert list(wrapped.backend.list_ids()) == ids[:2] + ids[3:]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("data.bin", b"too short", "has 9 bytes instead of 100"),
        ("data.bin", b"x" * 100, "its SHA-256 is " + hashlib.sha256(b"x" * 100).hexdigest()),
        ("meta.json", b"{", "cannot be read"),
        ("meta.json", b'{"id": "file-other"}', "cannot be read"),
    ],
)
def test_what_is_damaged_in_the_source_is_not_published(source, target, name, content, reason):
    """A damaged entry of the source is reported with what is wrong; nothing of it appears in the target."""
    ids = list(source.backend.list_ids())
    write(source, ids[2], name, content)
    report = copy_store(source, target)

    [failure] = report.failures
    assert failure.file_id == ids[2]
    assert reason in failure.reason
    assert list(target.backend.list_ids()) == ids[:2] + ids[3:]
    assert list(target.backend.debris()) == []


@pytest.mark.parametrize("error", [holdall.StorageUnavailable("away"), PermissionError(13, "Permission denied")])
@pytest.mark.parametrize("call", ["read_meta", "open_data"])
def test_a_source_that_cannot_be_read_is_reported(wrapped, target, call, error):
    """Whatever hinders reading one file of the source, the others arrive."""
    ids = [wrapped.create("a", b"a", purpose="batch").id for _ in range(3)]

    def fail(file_id):
        if file_id == ids[1]:
            raise error

    wrapped.backend.on[call] = fail
    report = copy_store(wrapped, target)

    assert [failure.file_id for failure in report.failures] == [ids[1]]
    assert list(target.backend.list_ids()) == [ids[0], ids[2]]


def test_missing_data_is_reported(source, target):
    """Metadata without data is damage of the source."""
    ids = list(source.backend.list_ids())
    _remove_data(source, ids[1])
    report = copy_store(source, target)

    assert [(f.file_id, "missing in the source" in f.reason) for f in report.failures] == [(ids[1], True)]


def _remove_data(store, file_id):
    os.unlink(f"{root(store)}/{file_id}/data.bin")


@pytest.mark.parametrize("call", ["read_meta", "open_data"])
def test_a_file_deleted_meanwhile_is_no_failure(wrapped, target, call):
    """A file that goes after the listing, or between its metadata and its data, is left out, not reported as damaged."""
    ids = [wrapped.create("a", b"a", purpose="batch").id for _ in range(2)]
    wrapped.backend.on[call] = lambda file_id: wrapped.backend.inner.remove(ids[1]) if file_id == ids[1] else None
    report = copy_store(wrapped, target)

    assert (report.copied, report.failures) == (1, ())
    assert list(target.backend.list_ids()) == ids[:1]


def test_files_of_another_store_in_the_same_storage_are_left_out(target):
    """What listings pass over is no failure of a copy: a tenant's files are copied from the tenant's own store."""
    backend = MemoryBackend()
    ours = holdall.FileStore(backend).create("ours", b"a", purpose="batch")
    holdall.FileStore(Prefixed(backend, "alice")).create("hers", b"b", purpose="batch")
    report = copy_store(holdall.FileStore(backend), target)

    assert (report.copied, report.failures) == (1, ())
    assert list(target.backend.list_ids()) == [ours.id]


@pytest.mark.parametrize("different", [False, True])
def test_another_copy_that_was_faster_is_no_failure(source, target, different):
    """Where a file appears in the target while it is written there, it counts as skipped if it is the same one."""
    ids = list(source.backend.list_ids())
    there = Wrapped(target.backend)

    def overtaken(file_id, meta):
        if file_id == ids[2]:
            plant(target, file_id, meta, b"y" * 100 if different else source.get_content(file_id))

    there.on["publish"] = overtaken
    report = copy_store(source, holdall.FileStore(there))

    assert (report.copied, report.skipped) == (4, 0 if different else 1)
    assert [failure.file_id for failure in report.failures] == ([ids[2]] if different else [])
    if not different:
        assert everything(target) == everything(source)


def test_what_another_copy_has_repaired_is_not_removed(source, target):
    """A damaged entry that was replaced while the source was read is looked at again, and stays."""
    copy_store(source, target)
    file_id = list(source.backend.list_ids())[2]
    whole = target.get_content(file_id)
    write(target, file_id, "data.bin", b"")
    here, there = Wrapped(source.backend), Wrapped(target.backend)
    here.on["open_data"] = lambda _: write(target, file_id, "data.bin", whole)
    report = copy_store(holdall.FileStore(here), holdall.FileStore(there))

    assert (report.copied, report.skipped, report.failures) == (0, 5, ())
    assert [name for name, _ in there.calls if name in {"remove", "stage"}] == []


@pytest.mark.parametrize(
    ("name", "content"), [("data.bin", b""), ("data.bin", b"x" * 100), ("meta.json", b"{}"), ("data.bin", None)]
)
def test_a_damaged_entry_of_the_target_is_replaced(source, target, name, content):
    """What does not verify by its own metadata is no file to be kept: the sound one takes its place."""
    copy_store(source, target)
    file_id = list(source.backend.list_ids())[2]
    if content is None:
        _remove_data(target, file_id)
    else:
        write(target, file_id, name, content)
    report = copy_store(source, target)

    assert (report.copied, report.skipped, report.failures) == (1, 4, ())
    assert everything(target) == everything(source)


def test_of_two_damaged_entries_neither_is_lost(source, target):
    """Where the source is damaged, too, the target's entry stays for whoever tries to rescue it."""
    copy_store(source, target)
    file_id = list(source.backend.list_ids())[2]
    write(source, file_id, "data.bin", b"x" * 100)
    write(target, file_id, "data.bin", b"y" * 100)
    before = everything(target)
    report = copy_store(source, target)

    assert [failure.file_id for failure in report.failures] == [file_id]
    assert everything(target) == before


def test_an_entry_that_cannot_be_read_is_not_replaced(source, wrapped):
    """A target entry that gives an error is no proof of damage: it stays, and is reported."""
    copy_store(source, wrapped)
    file_id = list(source.backend.list_ids())[2]

    def fail(asked):
        if asked == file_id:
            raise OSError(5, "Input/output error")

    wrapped.backend.on["open_data"] = fail
    report = copy_store(source, wrapped)

    assert (report.skipped, [failure.file_id for failure in report.failures]) == (4, [file_id])
    assert ("remove", file_id) not in wrapped.backend.calls


@pytest.mark.parametrize("lie", ["write", "publish"])
def test_what_comes_back_wrong_is_taken_out_again(source, wrapped, lie):
    """A target that alters bytes or metadata on the way gets its entry removed, and the file is reported."""
    file_id = list(source.backend.list_ids())[2]

    def alter(asked, content):
        return bytes(content[:-1]) + b" " if asked == file_id else content

    wrapped.backend.on[lie] = alter
    report = copy_store(source, wrapped)

    [failure] = report.failures
    assert failure.file_id == file_id
    assert "removed there" in failure.reason
    assert file_id not in list(wrapped.backend.list_ids())
    assert report.copied == 4


def test_what_does_not_come_back_is_taken_out_again(source, wrapped):
    """An entry just written that cannot be read is not left behind as if it were copied."""
    file_id = list(source.backend.list_ids())[2]

    def fail(asked):
        if asked == file_id:
            raise OSError(5, "Input/output error")

    wrapped.backend.on["open_data"] = fail
    report = copy_store(source, wrapped)

    assert [failure.file_id for failure in report.failures] == [file_id]
    assert file_id not in list(wrapped.backend.list_ids())
