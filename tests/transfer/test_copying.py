"""Copying a store: every file arrives as it was, and what is there already is left alone."""

from __future__ import annotations

import hashlib
import json
import tracemalloc

import pytest
from tests.transfer._kit import Wrapped, content, everything, plant, root, write

import holdall
from holdall.backend import Capability, Limits
from holdall.model import encode_meta
from holdall.transfer import copy_store


def test_everything_arrives_byte_for_byte(source, target):
    """Ids, metadata documents and bytes are the same afterwards, and both stores are sound."""
    report = copy_store(source, target)

    assert everything(target) == everything(source)
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
    plant(source, "file-abc", foreign, b"x")

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
    write(target, file.id, "meta.json", json.dumps(json.loads(encode_meta(file))).encode())

    assert copy_store(source, target).skipped == 5


def test_expired_files_are_not_copied(target):
    """Files that have expired stay where they are, and are counted; those that will expire come with their time."""
    now = 1_800_000_000.0
    source = holdall.FileStore(holdall.open_store("memory://").backend, clock=lambda: now)
    later = source.create("a", b"a", purpose="batch", expires_after=61)
    source.create("b", b"b", purpose="batch", expires_after=60)
    report = copy_store(source, target, clock=lambda: now + 60)

    assert (report.copied, report.expired, report.failures) == (1, 1, ())
    assert list(target.backend.list_ids()) == [later.id]


@pytest.mark.parametrize("metadata", [{"size": 100}, {"size": 101}])
def test_a_different_file_is_never_overwritten(source, target, metadata):
    """A sound file of the target under the same id, with other bytes or other metadata, stays and is reported."""
    file = list(source)[2]
    data = b"other" if metadata == {"size": 100} else content(100)
    digest = hashlib.sha256(data).hexdigest()
    other = file.model_copy(update={"bytes": len(data), "sha256": digest, "metadata": metadata})
    plant(target, file.id, encode_meta(other), data)
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
        plant(source, f"file-old{number}", meta % number, ours)
        plant(target, f"file-old{number}", meta % number, theirs)
    report = copy_store(source, target)

    assert (report.copied, report.skipped) == (0, 1)
    assert [failure.file_id for failure in report.failures] == ["file-old1"]
    assert target.get_content("file-old1") == b"y"


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
    path = root(source)
    with holdall.open_store(other.format(url=source.url, path=path)) as same, pytest.raises(holdall.InvalidRequest):
        copy_store(source, same)
    with pytest.raises(holdall.InvalidRequest):
        copy_store(source, source)


def test_the_same_place_by_another_way_loses_nothing(source, tmp_path):
    """Two URLs that lead to one store, which nobody can see from them: all is skipped, damage is left alone."""
    file_id = list(source.backend.list_ids())[2]
    write(source, file_id, "data.bin", b"x" * 100)
    before = everything(source)
    (tmp_path / "link").symlink_to(root(source))
    with holdall.open_store(tmp_path / "link") as same:
        report = copy_store(source, same)

    assert (report.copied, report.skipped, len(report.failures)) == (0, 4, 1)
    assert everything(source) == before


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


def test_progress_is_told_of_what_is_not_copied_too(target):
    """A file that has expired, or that fails, counts as processed, with size 0."""
    now, seen = 1_800_000_000.0, []
    source = holdall.FileStore(holdall.open_store("memory://").backend, clock=lambda: now)
    expired = source.create("a", b"a", purpose="batch", expires_after=60)
    with source.backend.stage("file-damaged") as staged:
        staged.publish(b"{")
    copy_store(source, target, on_file=lambda *of: seen.append(of), clock=lambda: now + 60)

    assert sorted(seen) == sorted([(expired.id, 0), ("file-damaged", 0)])


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
