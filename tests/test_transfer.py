"""Copying a store: every file arrives as it was, or the report says why not."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
import urllib.parse

import pytest

import holdall
from holdall.backend import Backend, Capability, Limits, StagedFile
from holdall.model import encode_meta
from holdall.transfer import copy_store


class Wrapped(Backend):
    """A backend that can be told to misbehave: `on_stage`, `on_write`, `on_publish`, `on_read` see each call."""

    def __init__(self, inner):
        self.inner = inner
        self.capabilities = inner.capabilities
        self.calls = []
        self.on = {}

    @classmethod
    def from_url(cls, url, options):
        raise NotImplementedError

    def _hook(self, name, *arguments):
        self.calls.append((name, arguments[0]))
        return self.on.get(name, lambda *_: None)(*arguments)

    def stage(self, file_id):
        self._hook("stage", file_id)
        return _WrappedStaged(self, file_id, self.inner.stage(file_id))

    def read_meta(self, file_id):
        self._hook("read_meta", file_id)
        return self.inner.read_meta(file_id)

    def open_data(self, file_id, start=0, stop=None):
        self._hook("open_data", file_id)
        return self.inner.open_data(file_id, start, stop)

    def list_ids(self, after=None, before=None):
        return self.inner.list_ids(after, before)

    def remove(self, file_id):
        self._hook("remove", file_id)
        self.inner.remove(file_id)


class _WrappedStaged(StagedFile):
    def __init__(self, backend, file_id, inner):
        self._backend = backend
        self._file_id = file_id
        self._inner = inner

    def write(self, chunk):
        changed = self._backend._hook("write", self._file_id, chunk)
        self._inner.write(chunk if changed is None else changed)

    def publish(self, meta):
        changed = self._backend._hook("publish", self._file_id, meta)
        self._inner.publish(meta if changed is None else changed)

    def discard(self):
        self._backend._hook("discard", self._file_id)
        self._inner.discard()


@pytest.fixture
def source(tmp_path):
    """A local store with five files of different sizes, one of them of several chunks."""
    with holdall.open_store(tmp_path / "source") as store:
        for size in (0, 1, 100, 700_000, 5):
            store.create(f"名 {size}", _content(size), purpose="fine-tune", metadata={"size": size})
        yield store


@pytest.fixture
def target(tmp_path):
    """An empty local store."""
    with holdall.open_store(tmp_path / "target") as store:
        yield store


@pytest.fixture
def wrapped():
    """An empty store in memory whose backend can be told to misbehave."""
    return holdall.FileStore(Wrapped(holdall.open_store("memory://").backend))


def _content(size):
    return bytes(i * 7 % 251 for i in range(size))


def _everything(store):
    return {
        file_id: (store.backend.read_meta(file_id), store.backend.open_data(file_id).read())
        for file_id in store.backend.list_ids()
    }


def _plant(store, file_id, meta, data):
    with store.backend.stage(file_id) as staged:
        staged.write(data)
        staged.publish(meta)


def _root(store):
    return urllib.parse.unquote(store.url.path)


def _write(store, file_id, name, content):
    with open(f"{_root(store)}/{file_id}/{name}", "wb") as file:
        file.write(content)


def test_everything_arrives_byte_for_byte(source, target):
    """Ids, metadata documents and bytes are the same afterwards, and both stores are sound."""
    report = copy_store(source, target)

    assert _everything(target) == _everything(source)
    assert (report.copied, report.skipped, report.expired, report.bytes) == (5, 0, 0, 700_106)
    assert report.ok
    assert target.verify().ok


def test_a_document_is_not_rewritten(target):
    """Metadata of another program keeps its blanks and the keys that holdall does not know."""
    source = holdall.open_store("memory://")
    foreign = (
        b'{"id":"file-abc","object":"file","filename":"a","purpose":"fine_tune","bytes":1,"created_at":5,'
        b'"status":"uploaded",   "colour":"red"}'
    )
    _plant(source, "file-abc", foreign, b"x")

    assert copy_store(source, target).copied == 1
    assert target.backend.read_meta("file-abc") == foreign


def test_what_is_there_is_skipped_after_reading_it(source, target):
    """A second run copies nothing, and reads every file of the target to be sure, but none of the source."""
    copy_store(source, target)
    there, here = Wrapped(target.backend), Wrapped(source.backend)
    report = copy_store(holdall.FileStore(here), holdall.FileStore(there))

    assert (report.copied, report.skipped, report.bytes, report.failures) == (0, 5, 0, ())
    assert {name for name, _ in there.calls} == {"read_meta", "open_data"}
    assert [name for name, _ in there.calls].count("open_data") == 5
    assert {name for name, _ in here.calls} == {"read_meta"}


def test_equal_documents_may_be_written_differently(source, target):
    """The same metadata with other blanks is no conflict."""
    file = next(iter(source))
    copy_store(source, target)
    _write(target, file.id, "meta.json", json.dumps(json.loads(encode_meta(file))).encode())

    assert copy_store(source, target).skipped == 5


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
    assert _everything(wrapped) == _everything(source)


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
    _write(source, ids[2], name, content)
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
    import os

    os.unlink(f"{_root(store)}/{file_id}/data.bin")


def test_a_file_deleted_meanwhile_is_no_failure(wrapped, target):
    """A file that goes between the listing and the reading is left out."""
    ids = [wrapped.create("a", b"a", purpose="batch").id for _ in range(2)]
    wrapped.backend.on["read_meta"] = lambda file_id: (
        wrapped.backend.inner.remove(ids[1]) if file_id == ids[1] else None
    )
    report = copy_store(wrapped, target)

    assert (report.copied, report.failures) == (1, ())


def test_a_file_deleted_while_it_is_read_is_no_failure(wrapped, target):
    """A file that goes between its metadata and its data is left out, not reported as damaged."""
    ids = [wrapped.create("a", b"a", purpose="batch").id for _ in range(2)]
    wrapped.backend.on["open_data"] = lambda file_id: (
        wrapped.backend.inner.remove(ids[1]) if file_id == ids[1] else None
    )
    report = copy_store(wrapped, target)

    assert (report.copied, report.failures) == (1, ())
    assert list(target.backend.list_ids()) == ids[:1]


def test_expired_files_are_not_copied(target):
    """Files that have expired stay where they are, and are counted; those that will expire come with their time."""
    now = 1_800_000_000.0
    source = holdall.FileStore(holdall.open_store("memory://").backend, clock=lambda: now)
    later = source.create("a", b"a", purpose="batch", expires_after=61)
    source.create("b", b"b", purpose="batch", expires_after=60)
    report = copy_store(source, target, clock=lambda: now + 60)

    assert (report.copied, report.expired, report.failures) == (1, 1, ())
    assert list(target.backend.list_ids()) == [later.id]


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
        _write(target, file_id, name, content)
    report = copy_store(source, target)

    assert (report.copied, report.skipped, report.failures) == (1, 4, ())
    assert _everything(target) == _everything(source)


def test_of_two_damaged_entries_neither_is_lost(source, target):
    """Where the source is damaged, too, the target's entry stays for whoever tries to rescue it."""
    copy_store(source, target)
    file_id = list(source.backend.list_ids())[2]
    _write(source, file_id, "data.bin", b"x" * 100)
    _write(target, file_id, "data.bin", b"y" * 100)
    before = _everything(target)
    report = copy_store(source, target)

    assert [failure.file_id for failure in report.failures] == [file_id]
    assert _everything(target) == before


@pytest.mark.parametrize("metadata", [{"size": 100}, {"size": 101}])
def test_a_different_file_is_never_overwritten(source, target, metadata):
    """A sound file of the target under the same id, with other bytes or other metadata, stays and is reported."""
    file = list(source)[2]
    data = b"other" if metadata == {"size": 100} else _content(100)
    digest = hashlib.sha256(data).hexdigest()
    other = file.model_copy(update={"bytes": len(data), "sha256": digest, "metadata": metadata})
    _plant(target, file.id, encode_meta(other), data)
    report = copy_store(source, target)

    assert (report.copied, [failure.file_id for failure in report.failures]) == (4, [file.id])
    assert target.get(file.id) == other
    assert target.get_content(file.id) == data


def test_without_a_hash_the_bytes_are_compared(target):
    """Files of stores that kept no SHA-256 are skipped only if the bytes are the source's."""
    source = holdall.open_store("memory://")
    meta = (
        b'{"id": "file-old%d", "object": "file", "filename": "a", "purpose": "fine_tune", "bytes": 1, '
        b'"created_at": 5, "status": "uploaded"}'
    )
    for number, (ours, theirs) in enumerate([(b"x", b"x"), (b"x", b"y")]):
        _plant(source, f"file-old{number}", meta % number, ours)
        _plant(target, f"file-old{number}", meta % number, theirs)
    report = copy_store(source, target)

    assert (report.copied, report.skipped) == (0, 1)
    assert [failure.file_id for failure in report.failures] == ["file-old1"]
    assert target.get_content("file-old1") == b"y"


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


def test_limits_of_the_target_backend_hold(source, wrapped):
    """A file that the target cannot hold is reported before anything is written; the uploads' limit is no obstacle."""
    ids = list(source.backend.list_ids())
    wrapped.backend.limits = Limits(max_file_bytes=1000)
    report = copy_store(source, wrapped)

    assert [failure.file_id for failure in report.failures] == [ids[3]]
    assert ("stage", ids[3]) not in wrapped.backend.calls
    small = holdall.FileStore(holdall.open_store("memory://").backend, max_bytes=1)
    assert copy_store(source, small).copied == 5


@pytest.mark.parametrize("other", ["{url}", "{url}/", "{url}?max_bytes=1GiB", "{path}"])
def test_a_store_is_not_copied_to_itself(source, other):
    """The same URL on both sides is a mistake, however it is written."""
    path = _root(source)
    with holdall.open_store(other.format(url=source.url, path=path)) as same, pytest.raises(holdall.InvalidRequest):
        copy_store(source, same)
    with pytest.raises(holdall.InvalidRequest):
        copy_store(source, source)


def test_the_same_place_by_another_way_loses_nothing(source, tmp_path):
    """Two URLs that lead to one store, which nobody can see from them: all is skipped, damage is left alone."""
    file_id = list(source.backend.list_ids())[2]
    _write(source, file_id, "data.bin", b"x" * 100)
    before = _everything(source)
    (tmp_path / "link").symlink_to(_root(source))
    with holdall.open_store(tmp_path / "link") as same:
        report = copy_store(source, same)

    assert (report.copied, report.skipped, len(report.failures)) == (0, 4, 1)
    assert _everything(source) == before


def test_two_private_stores_are_two_stores():
    """`memory://` names a new store each time, so the same text on both sides is no mistake."""
    one, other = holdall.open_store("memory://"), holdall.open_store("memory://")
    one.create("a", b"a", purpose="batch")

    assert copy_store(one, other).copied == 1


def test_progress_is_told(source, target):
    """`on_file` hears of each file once, `on_bytes` of all that is written."""
    files, written = [], []
    copy_store(source, target, on_file=lambda *seen: files.append(seen), on_bytes=written.append)

    assert files == [(file.id, file.bytes) for file in source]
    assert sum(written) == 700_106
    assert max(written) <= 256 * 1024


def test_memory_stays_bounded(tmp_path):
    """Copying a file takes no more memory than a few chunks, whatever its size."""
    size = 24 * 1024 * 1024
    with holdall.open_store(tmp_path / "a") as source, holdall.open_store(tmp_path / "b", fsync=False) as target:
        source.create("a", (bytes(65536) for _ in range(size // 65536)), purpose="batch")
        tracemalloc.start()
        try:
            report = copy_store(source, target)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert report.bytes == size
    assert peak < 4 * 1024 * 1024


def test_a_copy_needs_no_capability(source):
    """The five verbs are enough: a target that declares nothing at all takes every file."""
    backend = Wrapped(holdall.open_store("memory://").backend)
    backend.capabilities = Capability(0)

    assert copy_store(source, holdall.FileStore(backend)).copied == 5
