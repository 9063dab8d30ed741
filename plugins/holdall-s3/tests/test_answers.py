"""What the plugin makes of answers that a server for tests never gives."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from holdall_s3 import S3Backend
from holdall_s3._stream import DataStream
from s3_scripted import Body, Bucket, backend_on, entry, refusal, staged_on

from holdall import AccessDenied, StorageError, StorageUnavailable

DATA = b"0123456789"


@pytest.fixture
def bucket() -> Bucket:
    """An empty bucket."""
    return Bucket()


@pytest.fixture
def backend(bucket: Bucket) -> Iterator[S3Backend]:
    """A backend on it."""
    opened = backend_on(bucket, retries=2)
    yield opened
    opened.close()


def _published(backend: S3Backend, part_bytes: int) -> tuple[str, bytes]:
    file_id, meta = entry(len(DATA))
    with staged_on(backend, file_id, part_bytes) as staged:
        staged.write(DATA)
        staged.publish(meta)
    return file_id, meta


@pytest.mark.parametrize("part_bytes", [4, 100])
def test_each_commit_asks_not_to_replace(backend: S3Backend, bucket: Bucket, part_bytes: int) -> None:
    """Data and metadata appear only where nothing is, whether sent in one piece or in parts, with the parts' sums."""
    file_id, meta = _published(backend, part_bytes)
    name = "complete_multipart_upload" if part_bytes == 4 else "put_object"
    commits = [*bucket.of(name), *bucket.of("put_object")]
    assert [request["IfNoneMatch"] for request in commits] == ["*"] * len(commits)
    assert bucket.objects == {f"p/{file_id}/data.bin": DATA, f"p/{file_id}/meta.json": meta}
    for completion in bucket.of("complete_multipart_upload"):
        assert completion["MultipartUpload"]["Parts"] == [
            {"PartNumber": number, "ETag": f"{number}", "ChecksumCRC32": "c"} for number in (1, 2, 3)
        ]


@pytest.mark.parametrize("part_bytes", [4, 100])
def test_a_server_without_conditions_is_used_without_them(backend: S3Backend, bucket: Bucket, part_bytes: int) -> None:
    """One that answers "not implemented" to If-None-Match gets the request again without it."""

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if "IfNoneMatch" in parameters:
            raise refusal(501, "NotImplemented")

    bucket.rule = rule
    file_id, meta = _published(backend, part_bytes)
    assert bucket.objects == {f"p/{file_id}/data.bin": DATA, f"p/{file_id}/meta.json": meta}


@pytest.mark.parametrize("part_bytes", [4, 100])
def test_data_that_is_refused_is_not_sent_again(backend: S3Backend, bucket: Bucket, part_bytes: int) -> None:
    """A refusal that is not about the condition is the answer: it is not tried without the condition."""

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if "IfNoneMatch" in parameters:
            raise refusal(403, "AccessDenied")

    bucket.rule = rule
    with pytest.raises(AccessDenied):
        _published(backend, part_bytes)
    assert len(bucket.of("put_object")) + len(bucket.of("complete_multipart_upload")) == 1
    assert bucket.of("head_object") == []
    assert (bucket.objects, bucket.parts) == ({}, [])


def test_a_commit_that_is_refused_is_not_looked_for(backend: S3Backend, bucket: Bucket) -> None:
    """Credentials that expire before the metadata are sent: the error is that of the write, and nothing more is asked."""
    file_id, meta = entry(3)

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if parameters["Key"].endswith("meta.json"):
            raise refusal(400, "ExpiredToken")

    bucket.rule = rule
    staged = staged_on(backend, file_id)
    staged.write(b"abc")
    with pytest.raises(AccessDenied, match=f"cannot create {file_id}"):
        staged.publish(meta)
    assert bucket.of("get_object") == []


def test_of_two_writes_with_one_id_the_first_stays(backend: S3Backend, bucket: Bucket) -> None:
    """An entry that appears between data and metadata is another's: an error, and its metadata are not replaced."""
    file_id, meta = entry(len(DATA))

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if method == "put_object" and parameters["Key"].endswith("meta.json"):
            bucket.objects[parameters["Key"]] = b"of another"

    bucket.rule = rule
    with pytest.raises(StorageError, match="exists already"), staged_on(backend, file_id) as staged:
        staged.write(b"abc")
        staged.publish(meta)
    assert bucket.objects == {f"p/{file_id}/data.bin": b"abc", f"p/{file_id}/meta.json": b"of another"}


def test_half_of_its_own_metadata_is_replaced(backend: S3Backend, bucket: Bucket) -> None:
    """A server that keeps what it had of a PUT whose connection broke: the whole is put in its place."""
    file_id, meta = entry(len(DATA))
    broken = []

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if method == "put_object" and parameters["Key"].endswith("meta.json") and not broken:
            broken.append(parameters)
            bucket.objects[parameters["Key"]] = meta[:7]
            raise refusal(412, "PreconditionFailed")

    bucket.rule = rule
    with staged_on(backend, file_id) as staged:
        staged.write(b"abc")
        staged.publish(meta)
    assert bucket.objects[f"p/{file_id}/meta.json"] == meta


def test_half_of_its_own_metadata_is_taken_back(backend: S3Backend, bucket: Bucket) -> None:
    """If the whole cannot be put there, neither the half nor the data stays."""
    file_id, meta = entry(len(DATA))

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if method == "put_object" and parameters["Key"].endswith("meta.json"):
            bucket.objects[parameters["Key"]] = meta[:7]
            raise refusal(500, "InternalError")

    bucket.rule = rule
    with pytest.raises(StorageUnavailable), staged_on(backend, file_id) as staged:
        staged.write(b"abc")
        staged.publish(meta)
    assert bucket.objects == {}


@pytest.mark.parametrize("left", [None, b"short"])
def test_data_that_a_sweep_took_is_no_file(backend: S3Backend, bucket: Bucket, left: bytes | None) -> None:
    """An upload in parts looks as old as its beginning: if its data are gone at the end, nothing is published."""
    file_id, meta = entry(len(DATA))

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if method == "head_object":
            bucket.objects.pop(parameters["Key"])
            if left is not None:
                bucket.objects[parameters["Key"]] = left

    bucket.rule = rule
    with pytest.raises(StorageError, match="a sweep removed its data"), staged_on(backend, file_id) as staged:
        staged.write(DATA)
        staged.publish(meta)
    assert bucket.objects == {}


@pytest.mark.parametrize("arrived", [True, False])
def test_a_completion_that_the_client_repeated(backend: S3Backend, bucket: Bucket, arrived: bool) -> None:
    """The first answer was lost, and the server knows the upload no more: it is complete if its data are there."""

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if method == "abort_multipart_upload":
            raise refusal(404, "NoSuchUpload")
        if method == "complete_multipart_upload":
            if arrived:
                bucket.complete_multipart_upload(**parameters)
            raise refusal(404, "NoSuchUpload")

    bucket.rule = rule
    if arrived:
        file_id, meta = _published(backend, 4)
        assert bucket.objects == {f"p/{file_id}/data.bin": DATA, f"p/{file_id}/meta.json": meta}
    else:
        with pytest.raises(StorageError, match="send it again"):
            _published(backend, 4)
        assert bucket.objects == {}


def test_an_upload_belongs_to_the_process_that_began_it(backend: S3Backend, bucket: Bucket) -> None:
    """A forked child can neither go on with its copy nor, by discarding it, abort what the parent sends."""
    file_id, meta = entry(len(DATA))
    staged = staged_on(backend, file_id)
    staged.write(DATA)
    staged._pid += 1  # as it is in a child
    begun = len(bucket.sent)
    for call in (lambda: staged.write(b"x"), lambda: staged.publish(meta)):
        with pytest.raises(StorageError, match="belongs to the process that began it"):
            call()
    staged.discard()
    assert len(bucket.sent) == begun
    staged._pid -= 1
    staged.publish(meta)
    assert bucket.objects[f"p/{file_id}/data.bin"] == DATA


def test_leftovers_of_many_pages(backend: S3Backend, bucket: Bucket) -> None:
    """Each page of uploads and of parts is asked for where the last one ended; an upload is as old as its last part."""
    ids = [entry(0)[0] for _ in range(3)]
    at = [dt.datetime(2026, 1, day, tzinfo=dt.UTC) for day in (1, 2, 3)]

    def upload(file_id: str) -> dict[str, Any]:
        return {"Key": f"p/{file_id}/data.bin", "UploadId": f"u-{file_id}", "Initiated": at[0]}

    def part(day: int) -> dict[str, Any]:
        return {"Size": 5, "LastModified": at[day]}

    def rule(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        if method == "list_objects_v2":
            return {"Contents": [], "IsTruncated": False}
        if method == "list_multipart_uploads":
            if parameters.get("KeyMarker") != "k":
                more = {"IsTruncated": True, "NextKeyMarker": "k", "NextUploadIdMarker": "i"}
                return {"Uploads": [upload(ids[0]), upload(ids[1])], **more}
            assert parameters["UploadIdMarker"] == "i"
            return {"Uploads": [upload(ids[2])]}
        if ids[1] in parameters["Key"]:
            raise refusal(404, "NoSuchUpload")  # completed since it was listed
        if parameters.get("PartNumberMarker") != 2:
            return {"Parts": [part(1), part(2)], "IsTruncated": True, "NextPartNumberMarker": 2}
        return {"Parts": [part(0)]}

    bucket.rule = rule
    found = list(backend.debris())
    assert [(d.file_id, d.name, d.bytes) for d in found] == [(i, f"u-{i}", 15) for i in (ids[0], ids[2])]
    assert {d.modified_at for d in found} == {at[2].timestamp()}


def test_a_server_that_cannot_list_uploads_can_be_swept(backend: S3Backend, bucket: Bucket) -> None:
    """It has to clean up itself; any other refusal is an error, since leftovers would be missed."""
    for code, refused in (("NotImplemented", False), ("AccessDenied", True)):

        def rule(method: str, parameters: dict[str, Any], code: str = code) -> dict[str, Any]:
            if method == "list_objects_v2":
                return {"Contents": [], "IsTruncated": False}
            raise refusal(501 if code == "NotImplemented" else 403, code)

        bucket.rule = rule
        if refused:
            with pytest.raises(AccessDenied):
                list(backend.debris())
        else:
            assert list(backend.debris()) == []


def test_one_file_that_cannot_be_read_is_an_error_of_the_listing(backend: S3Backend, bucket: Bucket) -> None:
    """Among many metadata, an absent one is left out; one that is refused is not, as if it were absent."""
    ids = [_published(backend, 100)[0] for _ in range(3)]

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if ids[1] in parameters["Key"]:
            raise refusal(403, "AccessDenied")

    bucket.rule = rule
    metas = backend.read_metas([*ids, "file-absent"])
    assert next(metas)[0] == ids[0]
    with pytest.raises(AccessDenied):
        next(metas)


def test_metadata_that_break_off_are_read_again(backend: S3Backend, bucket: Bucket) -> None:
    """As often as `retries` says, and every connection is released; then it is StorageUnavailable."""
    file_id, meta = _published(backend, 100)
    bodies: list[Body] = []
    breaking = 2

    def rule(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        bodies.append(Body(meta, 3 if len(bodies) < breaking else None))
        return {"Body": bodies[-1]}

    bucket.rule = rule
    assert backend.read_meta(file_id) == meta
    assert [body.closed for body in bodies] == [True] * 3
    bodies.clear()
    breaking = 9
    with pytest.raises(StorageUnavailable):
        backend.read_meta(file_id)
    assert [body.closed for body in bodies] == [True] * 3


def test_a_delete_whose_second_half_fails_has_deleted(
    backend: S3Backend, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    """The metadata are gone, so there is no file: no error, and the log says what is left."""
    file_id, _ = _published(backend, 100)

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if method == "delete_object" and parameters["Key"].endswith("data.bin"):
            raise refusal(503, "SlowDown")

    bucket.rule = rule
    with caplog.at_level(logging.WARNING, "holdall_s3"):
        backend.remove(file_id)
    assert list(bucket.objects) == [f"p/{file_id}/data.bin"]
    assert f"{file_id} is deleted, its bytes are left for a sweep" in caplog.text


def test_a_server_that_ignores_ranges_is_refused(backend: S3Backend, bucket: Bucket) -> None:
    """Its answer begins with other bytes than those that were asked for."""
    file_id, _ = _published(backend, 100)

    def rule(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return bucket.get_object(parameters["Key"])

    bucket.rule = rule
    with pytest.raises(StorageError, match="ignores ranges"):
        backend.open_data(file_id, 3)
    assert bucket.bodies[-1].closed


def _breaking(bucket: Bucket, after: int) -> None:
    def rule(method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        answer = bucket.get_object(**parameters)
        answer["Body"].breaks = after
        return answer

    bucket.rule = rule


def test_a_connection_that_always_gets_further_is_taken_up_for_ever(backend: S3Backend, bucket: Bucket) -> None:
    """Only tries that bring nothing count: ten breaks are no failure with two retries. None goes on in other bytes."""
    file_id, _ = _published(backend, 100)
    _breaking(bucket, 1)
    with backend.open_data(file_id) as stream:
        assert stream.read() == DATA
    starts = [request.get("Range") for request in bucket.of("get_object")]
    assert starts == [None, *(f"bytes={n}-9" for n in range(1, 10))]
    assert [request.get("IfMatch") for request in bucket.of("get_object")] == [None, *['"1"'] * 9]
    assert all(body.closed for body in bucket.bodies)


def test_what_came_before_a_failure_comes_again(backend: S3Backend, bucket: Bucket) -> None:
    """A read that fails after some bytes loses none of them: the next one begins where it began."""
    file_id, _ = _published(backend, 100)
    data = bucket.objects[f"p/{file_id}/data.bin"] = bytes(range(256)) * 2000  # more than is fetched on opening
    with backend.open_data(file_id) as stream:
        assert isinstance(stream, DataStream)
        stream._body.breaks = 4
        _breaking(bucket, 0)
        with pytest.raises(StorageUnavailable):
            stream.read(10)
        # The first try, and two more that brought nothing.
        assert len(bucket.of("get_object")) == 3
        bucket.rule = lambda method, parameters: None
        assert stream.read(10) == data[:10]
