"""`FileStore.begin`: bytes are pushed in, and the file is there whole or not at all."""

from __future__ import annotations

import hashlib

import pytest
from tests.fakes import Untouchable

import holdall
from holdall import FileTooLarge, IntegrityError, InvalidFileId, InvalidRequest, StorageError
from holdall.backends.memory import MemoryBackend


@pytest.fixture
def store():
    """A private store in memory."""
    with holdall.open_store("memory://") as opened:
        yield opened


def test_what_was_written_is_there_after_finish_and_not_before(store):
    """Chunks of any bytes-like kind join in order; nobody sees the file before `finish` has returned."""
    with store.begin("a.bin", purpose="batch", metadata={"k": 1}) as upload:
        for chunk in (b"one", bytearray(b""), memoryview(b"two"), b"x" * 600_000):
            upload.write(chunk)
            assert list(store) == []
        file = upload.finish()

    assert store.get(upload.file_id) == file == next(iter(store))
    assert store.get_content(file.id) == b"onetwo" + b"x" * 600_000
    assert (file.bytes, file.metadata) == (600_006, {"k": 1})
    assert file.sha256 == hashlib.sha256(b"onetwo" + b"x" * 600_000).hexdigest()


def test_leaving_it_unfinished_stores_nothing(store):
    """An exception, a return, a discard: nothing is there, and the upload has ended."""
    with store.begin("a.bin", purpose="batch") as upload:
        upload.write(b"half")

    assert upload.ended
    assert list(store) == []
    for late in (lambda: upload.write(b"more"), upload.finish):
        with pytest.raises(InvalidRequest, match="has ended"):
            late()
    upload.discard()
    assert list(store) == []


def test_discard_after_finish_keeps_the_file(store):
    """Leaving the context after `finish` does nothing."""
    with store.begin("a.bin", purpose="batch") as upload:
        file = upload.finish()
    upload.discard()

    assert [f.id for f in store] == [file.id]


def test_what_finish_is_told_replaces_what_begin_was(store):
    """Purpose and expiry may be known only after the bytes; what is wrong with them leaves nothing."""
    with store.begin("a.bin", purpose="batch", expires_after=60) as upload:
        upload.write(b"x")
        file = upload.finish(purpose="vision", expires_after=3600)
    with store.begin("a.bin", purpose="batch", expires_after=60) as upload:
        kept = upload.finish()

    assert store.get(file.id) == file
    assert (file.purpose, file.expires_at) == ("vision", file.created_at + 3600)
    assert (kept.purpose, kept.expires_at) == ("batch", kept.created_at + 60)
    for wrong in ({"purpose": ""}, {"purpose": "a\nb"}, {"expires_after": 0}):
        with pytest.raises(InvalidRequest), store.begin("a.bin", purpose="batch") as upload:
            upload.finish(**wrong)
        assert upload.ended
    assert {f.id for f in store} == {file.id, kept.id}


def test_limits_and_expectations_hold_while_writing(store):
    """The chunk that passes a limit or the expected size is refused; a wrong size or SHA-256 is refused at the end."""
    with pytest.raises(FileTooLarge), store.begin("a.bin", purpose="batch", max_bytes=5) as upload:
        upload.write(b"12345")
        upload.write(b"6")
    with (
        pytest.raises(IntegrityError, match="over 3"),
        store.begin("a.bin", purpose="batch", expected_bytes=3) as upload,
    ):
        upload.write(b"1234")
    with (
        pytest.raises(IntegrityError, match="gave 2"),
        store.begin("a.bin", purpose="batch", expected_bytes=3) as upload,
    ):
        upload.write(b"12")
        upload.finish()
    wrong = "0" * 64
    with pytest.raises(IntegrityError, match=wrong), store.begin("a", purpose="batch", expected_sha256=wrong) as upload:
        upload.write(b"12")
        upload.finish()

    assert list(store) == []


@pytest.mark.parametrize("chunk", [b"345678", "text"])
def test_after_a_write_that_failed_nothing_can_be_published(store, chunk):
    """Whoever catches the error of a write and goes on stores no file with a hole: InvalidRequest, and it is discarded."""
    upload = store.begin("a.bin", purpose="batch", max_bytes=5)
    upload.write(b"12")
    with pytest.raises((FileTooLarge, InvalidRequest)):
        upload.write(chunk)
    with pytest.raises(InvalidRequest, match="a write failed"):
        upload.write(b"3")
    with pytest.raises(InvalidRequest, match="a write failed"):
        upload.finish()

    assert upload.ended
    assert list(store) == []


def test_arguments_are_checked_before_anything_is_written(store):
    """What `create` refuses, `begin` refuses at once."""
    with pytest.raises(InvalidRequest):
        store.begin("a.bin", purpose="batch", metadata={"x": {1}})
    with pytest.raises(FileTooLarge):
        store.begin("a.bin", purpose="batch", max_bytes=5, expected_bytes=6)


@pytest.mark.parametrize("chunk", ["text", None, 7, [b"list"]])
def test_what_is_not_bytes_is_refused(store, chunk):
    """A chunk that is no bytes-like object is InvalidRequest, and the upload can be discarded."""
    with pytest.raises(InvalidRequest), store.begin("a.bin", purpose="batch") as upload:
        upload.write(chunk)

    assert list(store) == []


def test_a_given_id_is_the_files_and_tells_when_it_was_minted():
    """`file_id` is kept, `created_at` is the id's own time, and the file stands in listings where its id does."""
    now = [1_800_000_000.0]
    store = holdall.FileStore(MemoryBackend(), clock=lambda: now[0])
    promised = store.begin("promised", purpose="batch").file_id
    now[0] += 100
    later = store.create("later", b"", purpose="batch")

    with store.begin("a.bin", purpose="batch", expires_after=3600, file_id=promised) as upload:
        file = upload.finish()

    assert (file.id, file.created_at, file.expires_at) == (promised, 1_800_000_000, 1_800_003_600)
    assert [f.id for f in store] == [promised, later.id]
    with store.begin("b", purpose="batch", file_id="file-anybodys_own") as upload:
        assert upload.finish().created_at == 1_800_000_100


def test_a_given_id_is_used_once(tmp_path):
    """Of two who begin with one id, the first to finish has made the file; the other gets StorageError."""
    for url in ("memory://", tmp_path):
        with holdall.open_store(url) as store:
            first = store.begin("first", purpose="batch", file_id="file-one")
            second = store.begin("second", purpose="batch", file_id="file-one")
            second.finish()
            with pytest.raises(StorageError, match=r"cannot create file-one: .* exists already"):
                first.finish()

            assert [f.filename for f in store] == ["second"]


@pytest.mark.parametrize("bad", ["file-", "../x", "upload_1", "file-" + "a" * 200])
def test_a_given_id_must_be_one(bad):
    """What is no id is refused before the backend sees it."""
    with pytest.raises(InvalidFileId):
        holdall.FileStore(Untouchable()).begin("a", purpose="batch", file_id=bad)
