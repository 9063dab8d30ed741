"""Writes that fail leave nothing; replies that are lost do no harm."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from s3_counting import watched
from s3_raw import S3Raw
from s3_servers import S3Server

import holdall
from holdall import FileStore, StorageError, StorageUnavailable, StoreURL
from holdall.ids import IdMinter
from holdall.model import FileObject, encode_meta

MIB = 1024 * 1024
LARGE = 13 * MIB


class Place:
    """A store on a prefix of its own, and a way past it."""

    def __init__(self, server: S3Server) -> None:
        self.url = StoreURL.parse(server.url("uploads", part_size="5MiB")).child(f"t-{IdMinter().mint()[0]}")
        self.store: FileStore = holdall.open_store(self.url)
        self.raw = S3Raw(server, self.url.path)

    def nothing_is_left(self) -> None:
        """Neither an object nor an unfinished upload."""
        assert self.raw.keys() == {}
        assert self.raw.uploads() == []


@pytest.fixture
def place(server: S3Server) -> Iterator[Place]:
    """A place on each of the servers, emptied after."""
    made = Place(server)
    yield made
    made.store.close()
    made.raw.clear()


def _dying(error: BaseException, size: int = LARGE) -> Iterator[bytes]:
    for _ in range(size // MIB):
        yield bytes(MIB)
    raise error


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(1)], ids=repr)
def test_source_that_dies_after_two_parts(place: Place, error: BaseException) -> None:
    """Nothing of it stays: no truncated object, no parts that are paid for."""
    with pytest.raises(type(error)) as caught:
        place.store.create("a", _dying(error), purpose="batch")
    assert caught.value is error
    place.nothing_is_left()


@pytest.mark.parametrize("operation", ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload", "PutObject"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_large_upload_that_fails_somewhere(place: Place, operation: str, when: str) -> None:
    """Whichever request fails, and whether or not the server has done it: an error and nothing left, or all is there.

    What is begun and whose id never arrived is left for a sweep, which finds it.
    """
    with watched(place.store) as sent:
        setattr(sent, when, _fails_once(operation))
        try:
            file = place.store.create("a", bytes(LARGE), purpose="batch")
        except StorageUnavailable:
            file = None
    if file is None:
        place.store.sweep(older_than=0)
        place.nothing_is_left()
        assert list(place.store) == []
    else:
        # Only what can be found out: the completion and the commit, if only their replies were lost.
        assert (operation, when) in {("CompleteMultipartUpload", "after"), ("PutObject", "after")}
        assert place.store.get_content(file.id) == bytes(LARGE)
        assert place.store.verify().ok


def _fails_once(operation: str) -> Callable[[str], None]:
    pending = [operation]

    def fail(call: str) -> None:
        if pending and call.startswith(pending[0]):
            pending.clear()
            raise StorageUnavailable("the connection broke")

    return fail


@pytest.mark.parametrize("name", ["data.bin", "meta.json"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_small_upload_that_fails_somewhere(place: Place, name: str, when: str) -> None:
    """The same for a small file; a commit whose reply was lost is found to have happened."""
    with watched(place.store) as sent:
        setattr(sent, when, _fails_once(f"PutObject {name}"))
        if (name, when) == ("meta.json", "after"):
            file = place.store.create("a", b"x", purpose="batch")
            assert place.store.get_content(file.id) == b"x"
            return
        with pytest.raises(StorageUnavailable):
            place.store.create("a", b"x", purpose="batch")
    place.nothing_is_left()


def test_retried_put_that_finds_itself(place: Place) -> None:
    """A PUT repeated by the client after a lost reply is refused, since the object is there: by itself."""
    backend = place.store.backend
    file_id, meta = _meta(5)
    staged = backend.stage(file_id)
    staged.write(b"right")
    place.raw.put(place.raw.key(file_id, "data.bin"), b"right")
    place.raw.put(place.raw.key(file_id, "meta.json"), meta)
    with pytest.raises(StorageError, match="exists already"):
        # An entry was there before its data was sent: that is another write.
        staged.publish(meta)
    staged.discard()
    assert place.store.get_content(file_id) == b"right"


def _meta(size: int, **fields: Any) -> tuple[str, bytes]:
    file_id, created_at = IdMinter().mint()
    given = {"id": file_id, "filename": "x", "purpose": "batch", "bytes": size, "created_at": created_at, **fields}
    return file_id, encode_meta(FileObject(**given))


@pytest.mark.parametrize("size", [5, 6 * MIB])
def test_taken_id_stays_as_it_is(place: Place, size: int) -> None:
    """A second publish of an id is refused, and neither it nor its discard touches the first."""
    file_id, meta = _meta(5)
    backend = place.store.backend
    with backend.stage(file_id) as staged:
        staged.write(b"right")
        staged.publish(meta)
    with pytest.raises(StorageError, match="exists already"), backend.stage(file_id) as second:
        second.write(b"w" * size)
        second.publish(meta)
    assert place.store.get_content(file_id) == b"right"
    assert place.raw.uploads() == []


@pytest.mark.parametrize("size", [5, 6 * MIB])
def test_bytes_of_a_dead_write_are_replaced(place: Place, size: int) -> None:
    """A copy that is begun again after its process died between data and metadata succeeds."""
    file_id, meta = _meta(size)
    place.raw.put(place.raw.key(file_id, "data.bin"), b"of a write that died")
    with place.store.backend.stage(file_id) as staged:
        staged.write(b"n" * size)
        staged.publish(meta)
    assert place.store.get_content(file_id) == b"n" * size


def test_uploads_of_the_dead_are_swept(place: Place) -> None:
    """A process killed in a multipart upload leaves one that sweep finds; one that lives is not touched."""
    living = place.store.begin("alive", purpose="batch")
    living.write(bytes(LARGE))
    pid = os.fork()
    if pid == 0:
        with holdall.open_store(place.url) as store:
            upload = store.begin("dead", purpose="batch")
            upload.write(bytes(LARGE))
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    orphan = place.raw.orphan()
    assert len(place.raw.uploads()) == 2
    assert place.store.sweep().leftovers == ()
    found = {d.kind: d for d in place.store.sweep(older_than=0).leftovers}
    assert sorted(found) == ["data without metadata", "unfinished write"]
    assert found["data without metadata"].file_id == orphan
    assert found["unfinished write"].bytes >= 10 * MIB
    assert len(place.raw.uploads()) == 1
    file = living.finish()
    assert place.store.get_content(file.id) == bytes(LARGE)
    assert place.store.sweep(older_than=0).leftovers == ()


@pytest.mark.parametrize("server", ["seaweedfs"], indirect=True)
def test_swept_while_it_was_sent(place: Place) -> None:
    """An upload that somebody aborts fails with an error that says so, and stores nothing.

    Not on moto, which answers 500 to a part of an upload that is no more.
    """
    upload = place.store.begin("slow", purpose="batch")
    upload.write(bytes(LARGE))
    (entry,) = place.raw.uploads()
    place.raw.call("abort_multipart_upload", Key=entry["Key"], UploadId=entry["UploadId"])
    with pytest.raises(StorageError, match="send it again"):
        upload.finish()
    place.nothing_is_left()
