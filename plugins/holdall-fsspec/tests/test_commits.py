"""How an entry appears and goes: in which order, with how many calls, and what a failure leaves."""

from __future__ import annotations

import datetime as dt
import ftplib
import gc
import os

import pytest
from holdall_fsspec._stream import RangeStream

import holdall
from holdall import AccessDenied, FileNotFound, InvalidStoreURL, StorageError, StorageUnavailable
from holdall.backend import Capability

MIB = 1024 * 1024
BIG = 12 * MIB


def chunks(size, error=None):
    """A source of so many bytes that may fail at its end."""
    for _ in range(0, size, MIB):
        yield b"x" * MIB
    if error:
        raise error


def test_a_small_file_is_two_puts_and_its_metadata_is_the_last(store, bucket):
    """No more is asked than has to be: the second PUT is the commit."""
    store.create("a", b"abc", purpose="batch")

    assert bucket.calls() == ["put data.bin", "put done data.bin", "put meta.json", "put done meta.json"]


def test_a_large_file_goes_up_in_parts_and_is_completed_before_its_metadata(store, bucket):
    """Parts of the size that the option says."""
    file = store.create("a", chunks(BIG), purpose="batch")

    said = bucket.calls()
    assert said[0] == "begin data.bin"
    assert said.count("part data.bin") == 3
    assert said[-3:] == ["complete data.bin", "put meta.json", "put done meta.json"]
    assert len(store.get_content(file.id)) == BIG


def test_reading_asks_once_for_each_of_metadata_size_and_range(store, bucket):
    """A small file is three requests; a range is one more than its size and metadata."""
    file = store.create("a", b"0123456789", purpose="batch")
    bucket.calls()

    assert store.get_content(file.id) == b"0123456789"
    assert bucket.calls() == ["get meta.json", "head data.bin", "get data.bin"]
    assert store.get_content(file.id, 3, 5) == b"34"
    assert bucket.calls() == ["get meta.json", "head data.bin", "get data.bin"]


def test_a_large_file_is_read_in_few_requests_and_none_is_past_its_end(store, bucket, monkeypatch):
    """Pieces grow to 2 MiB; the last one ends where the file does, or the range that was asked for."""
    file = store.create("a", chunks(BIG), purpose="batch")
    ranges, real = [], bucket.cat_file

    def noted(self, path, start=None, end=None, **kwargs):
        ranges.append((start, end))
        return real(self, path, start, end, **kwargs)

    with store.open(file.id) as stream:
        monkeypatch.setattr(bucket, "cat_file", noted)
        while stream.read(100_000):
            pass

    assert len(ranges) <= 9
    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == BIG
    with store.backend.open_data(file.id, 0, 300_000) as stream:
        assert len(stream.read()) == 300_000
    assert ranges[-1][1] == 300_000


def test_a_file_that_is_shorter_than_it_was_said_to_be_ends_where_it_ends():
    """Whoever reads it gets what there is, and does not ask for more without end."""
    asked = []

    def fetch(start, stop):
        asked.append((start, stop))
        assert len(asked) < 5
        return b"12345"[start:stop]

    with RangeStream(fetch, 0, 10) as stream:
        assert stream.read() == b"12345"
    with pytest.raises(ValueError, match="closed"):
        stream.read(1)


@pytest.mark.parametrize("name", ["meta.json", "data.bin"])
def test_a_404_of_a_client_that_does_not_read_it_is_a_missing_file(store, bucket, name):
    """A file that webdav4 has looked for and somebody deletes: its GET fails with a bare status, and that is no fault."""

    class StatusError(Exception):
        status_code = 404

    file = store.create("a.txt", b"hello", purpose="batch")
    bucket.fail["get", name] = StatusError("Not Found")
    with pytest.raises(FileNotFound):
        store.backend.read_meta(file.id) if name == "meta.json" else store.backend.open_data(file.id).read()
    bucket.fail["get", name] = type("Busy", (StatusError,), {"status_code": 503})("Busy")
    with pytest.raises(StorageUnavailable):
        store.backend.read_meta(file.id) if name == "meta.json" else store.backend.open_data(file.id).read()


def test_a_listing_is_one_list_and_one_get_for_each_file(store, bucket):
    """Metadata is read, nothing else is looked at."""
    for n in range(30):
        store.create(str(n), b"", purpose="batch")
    bucket.calls()

    assert len(store.list().data) == 30
    said = bucket.calls()
    assert said.count("list p") == 1
    assert said.count("get meta.json") == 30
    assert len(said) == 31


def test_metadata_is_deleted_first(store, bucket):
    """From then on there is no entry, whatever becomes of its bytes."""
    file = store.create("a", b"abc", purpose="batch")
    bucket.calls()
    store.delete(file.id)

    assert [c for c in bucket.calls() if c.startswith("delete")] == ["delete meta.json", "delete data.bin"]


def test_a_delete_whose_second_half_fails_has_deleted(store, bucket):
    """The caller is told the truth: the file is gone. What is left is debris, which sweep removes."""
    file = store.create("a", b"abc", purpose="batch")
    bucket.fail["delete", "data.bin"] = ConnectionResetError("cut")
    store.delete(file.id)
    with pytest.raises(FileNotFound):
        store.get(file.id)
    bucket.fail.clear()

    assert [d.kind for d in store.sweep(older_than=0).leftovers] == ["data without metadata"]
    assert bucket.store == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mtime", 1_700_000_000),
        ("LastModified", dt.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dt.UTC)),
        ("updated", "2023-11-14T22:13:20.000Z"),
        ("modify", "20231114221320"),
        ("modificationTime", 1_700_000_000_000),
    ],
)
def test_the_age_of_a_leftover_is_known_however_it_is_told(store, bucket, monkeypatch, name, value):
    """Each filesystem has a name and a form of its own for the time; what is old is swept, by its true age."""
    path = "/b/p/file-1/data.bin"
    monkeypatch.setattr(bucket, "find", lambda *_, **__: {path: {"name": path, "size": 3, name: value}})

    assert [d.modified_at for d in store.sweep(dry_run=True).leftovers] == [1_700_000_000]


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_a_source_that_fails_aborts_the_upload_and_completes_nothing(store, bucket, error):
    """Not by closing it, and not later when the writer is dropped."""
    with pytest.raises(type(error)):
        store.create("a", chunks(BIG, error), purpose="batch")
    del error
    gc.collect()

    said = bucket.calls()
    assert "abort data.bin" in said
    assert "complete data.bin" not in said
    assert bucket.store == {}


def test_an_upload_that_fails_halfway_is_aborted(store, bucket):
    """The part that failed is reported; nothing is completed or left."""
    bucket.fail["part", "data.bin"] = ConnectionResetError("cut")
    with pytest.raises(StorageUnavailable):
        store.create("a", chunks(BIG), purpose="batch")
    gc.collect()

    assert "complete data.bin" not in bucket.calls()
    assert bucket.store == {}
    assert store.list().data == []


def test_metadata_that_cannot_be_put_leaves_nothing(store, bucket):
    """What is reported as failed is not there, and its bytes are taken back."""
    bucket.fail["put", "meta.json"] = PermissionError("no")
    with pytest.raises(AccessDenied):
        store.create("a", b"abc", purpose="batch")

    assert bucket.store == {}


def test_an_answer_that_was_lost_after_the_commit_is_no_failure(store, bucket):
    """The PUT did happen: it is read back before anything is said."""
    bucket.fail["put done", "meta.json"] = ConnectionResetError("cut")
    file = store.create("a", b"abc", purpose="batch")
    bucket.fail.clear()

    assert store.get_content(file.id) == b"abc"


def test_a_commit_of_which_nobody_knows_is_taken_back(store, bucket):
    """The answer was lost, and so is the next: reported as failed, and no entry remains."""
    bucket.fail["put done", "meta.json"] = ConnectionResetError("cut")
    bucket.fail["get", "meta.json"] = ConnectionResetError("cut")
    with pytest.raises(StorageUnavailable):
        store.create("a", b"abc", purpose="batch")

    assert bucket.store == {}


def test_a_missing_bucket_is_no_missing_file(store, bucket):
    """Deleted while the store is open, and absent when it is opened: said, with what to do."""
    bucket.fail["head", "b"] = FileNotFoundError("b")
    for call in (lambda: store.get("file-x"), lambda: store.delete("file-x"), store.list):
        with pytest.raises(StorageError, match="does not exist; create it, or correct the URL"):
            call()
    with pytest.raises(StorageError, match="does not exist; create it, or correct the URL"):
        holdall.open_store("fsspec+bucket://b/p")


def test_who_may_not_look_at_the_bucket_can_use_it(bucket):
    """Permission for the objects is enough."""
    bucket.fail["head", "b"] = PermissionError("no")
    with holdall.open_store("fsspec+bucket://b/p") as store:
        file = store.create("a", b"abc", purpose="batch")

        assert store.get_content(file.id) == b"abc"
        with pytest.raises(FileNotFound):
            store.get("file-x")


def test_metadata_is_moved_to_its_place_where_files_can_be_moved(tmp_path):
    """A reader of a directory never meets half a document, and no temporary name stays."""
    seen = []
    with holdall.open_store(f"fsspec+file://{tmp_path}") as store:
        move = type(store.backend._place).move

        def watched(place, fs, source, target):
            seen.append((source.rpartition("/")[2][:6], target.rpartition("/")[2], os.path.exists(target)))
            move(place, fs, source, target)
            assert not os.path.exists(source)

        store.backend._place.move = watched.__get__(store.backend._place)
        file = store.create("a", b"abc", purpose="batch")

    assert seen == [(".meta-", "meta.json", False)]
    assert sorted(os.listdir(tmp_path / file.id)) == ["data.bin", "meta.json"]


def test_the_commit_can_be_chosen(tmp_path):
    """An operator who knows the filesystem better than its class tells: `commit=put`."""
    with holdall.open_store(f"fsspec+file://{tmp_path}?commit=put") as store:
        file = store.create("a", b"abc", purpose="batch")
        assert not store.backend._place.moves
        assert store.get_content(file.id) == b"abc"
        store.delete(file.id)
        assert os.listdir(tmp_path) == []
    with pytest.raises(InvalidStoreURL, match="has no move of its own"):
        holdall.open_store("fsspec+memory://x?commit=move")


def test_patterns_in_the_path_of_a_store_are_taken_literally(tmp_path):
    """A directory named like a pattern is itself, and what the pattern would match is not touched."""
    (tmp_path / "1").mkdir()
    with (
        holdall.open_store(f"fsspec+file://{tmp_path}/1") as other,
        holdall.open_store(f"fsspec+file://{tmp_path}/%5B1%5D*") as store,
    ):
        kept = other.create("kept", b"kept", purpose="batch")
        file = store.create("a", b"abc", purpose="batch")
        assert [f.id for f in store] == [file.id]
        store.delete(file.id)
        store.sweep(older_than=0)

        assert other.get_content(kept.id) == b"kept"


def test_an_entry_that_is_there_is_not_replaced(tmp_path):
    """A directory tells when an id is given twice: what is there stays, and the error says what was attempted."""
    for url in (f"fsspec+file://{tmp_path}", "fsspec+memory://twice"):
        with holdall.open_store(url) as store:
            file = store.create("a", b"first", purpose="batch")
            meta = store.backend.read_meta(file.id)
            says = f"cannot create {file.id}: .* exists already"
            with pytest.raises(StorageError, match=says), store.backend.stage(file.id) as staged:
                staged.write(b"second")
                staged.publish(meta)

            assert store.get_content(file.id) == b"first"


def test_a_discarded_write_does_not_take_what_another_has_published(tmp_path):
    """Two writers of one id: the one that gives up leaves the other's entry alone."""
    with holdall.open_store(f"fsspec+file://{tmp_path}") as store:
        meta = store.backend.read_meta(store.create("a", b"", purpose="batch").id)
        late = store.backend.stage("file-same")
        late.write(bytes(MIB))
        with store.backend.stage("file-same") as first:
            first.write(b"published")
            first.publish(meta)
        late.discard()

        with store.backend.open_data("file-same") as stream:
            assert stream.read() == b"published"


def test_debris_of_a_bucket_is_found_by_one_listing(store, bucket):
    """Bytes without metadata belong to no entry; what is no entry's is not touched."""
    file = store.create("a", b"abc", purpose="batch")
    bucket.store[f"/b/p/{file.id}/notes"] = bucket.file("notes", b"of somebody")
    bucket.store["/b/p/file-orphan/data.bin"] = bucket.file("x", b"12345")
    bucket.calls()
    found = list(store.backend.debris())

    assert [(d.name, d.kind, d.bytes, d.file_id) for d in found] == [
        ("file-orphan", "data without metadata", 5, "file-orphan")
    ]
    assert not [c for c in bucket.calls() if c.startswith(("get", "head meta"))]
    store.sweep(older_than=0)
    assert sorted(path.rpartition("/")[2] for path in bucket.store) == ["data.bin", "meta.json", "notes"]


def test_one_error_for_absent_and_for_refused_is_told_apart(store, bucket, monkeypatch):
    """Some servers, those of FTP among them, say the same of both: what is gone is no failure, what stays is one."""
    error, real = ftplib.error_perm("550 No such file or not permitted."), bucket.rm_file

    def answered(self, path):
        if f"/{path.strip('/')}" not in self.store or refuses:
            raise error
        real(self, path)

    monkeypatch.setattr(bucket, "rm_file", answered)
    bucket.store["/b/p/file-orphan/data.bin"] = bucket.file("x", b"12345")
    (debris,) = store.backend.debris()
    refuses = True
    with pytest.raises(StorageError, match="550"):
        store.backend.discard_debris(debris)
    refuses = False
    for _ in range(2):
        store.backend.discard_debris(debris)
    assert not bucket.store


def test_only_what_can_be_proved_is_declared_exclusive(store):
    """An object store's delete does not say whether there was anything."""
    assert Capability.EXCLUSIVE_REMOVE not in store.capabilities


def test_a_location_that_another_worker_makes_first_can_be_opened(tmp_path, monkeypatch):
    """A filesystem that looks before it makes a directory fails if it is there by then; what counts is that it is."""
    from fsspec.implementations.local import LocalFileSystem

    def look_then_make(self, path, exist_ok=False):
        os.makedirs(path)
        raise FileExistsError(path)

    monkeypatch.setattr(LocalFileSystem, "makedirs", look_then_make)
    with holdall.open_store(f"fsspec+file://{tmp_path}/new") as store:
        file = store.create("a", b"abc", purpose="batch")

        assert store.get_content(file.id) == b"abc"
