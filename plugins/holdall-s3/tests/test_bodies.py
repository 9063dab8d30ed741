"""What is sent again is sent whole, and what is given up has ended before it is taken back."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from holdall_s3._upload import S3StagedFile
from s3_scripted import Bucket, backend_on, entry, refusal, staged_on

from holdall import StorageUnavailable


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (412, "PreconditionFailed")])
def test_a_body_that_is_put_again_is_put_from_its_start(status: int, code: str) -> None:
    """The client has read it to its end before the condition was refused: the second request has all of it, too."""
    bucket = Bucket()
    backend = backend_on(bucket)
    data = bytes(range(256)) * 1200
    file_id, meta = entry(len(data))
    streamed = []

    def rule(method: str, parameters: dict[str, Any]) -> None:
        if "IfNoneMatch" in parameters and parameters["Key"].endswith("data.bin"):
            streamed.append(parameters["Body"].read())
            raise refusal(status, code)

    bucket.rule = rule
    with staged_on(backend, file_id, len(data)) as staged:
        staged.write(data)
        staged.publish(meta)
    assert streamed == [data]
    assert bucket.objects[f"p/{file_id}/data.bin"] == data


class _Slow(Bucket):
    """A part is on its way until it is cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    async def _call_s3(self, method: str, **parameters: Any) -> dict[str, Any]:
        if method == "upload_part":
            self.begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.sent.append(("part has ended", {}))
        return await super()._call_s3(method, **parameters)


def test_no_part_arrives_after_the_abort() -> None:
    """Parts on their way have ended when the upload is aborted: one that came later would stay, and be paid for."""
    bucket = _Slow()
    backend = backend_on(bucket)
    staged = S3StagedFile(backend._client, backend._keys, entry(0)[0], part_bytes=4, concurrency=2)
    staged.write(b"12345")
    assert bucket.begun.wait(30)
    staged.discard()
    assert [method for method, _ in bucket.sent] == [
        "create_multipart_upload",
        "part has ended",
        "abort_multipart_upload",
    ]


def test_a_write_that_has_ended_is_no_longer_alive() -> None:
    """What it could not take back is found by a sweep, though its object is still referred to."""
    bucket = Bucket()
    backend = backend_on(bucket)
    file_id, meta = entry(3)

    def rule(method: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
        if method == "list_objects_v2":
            found = {"Size": 3, "LastModified": "2026-01-01T00:00:00Z"}
            return {"Contents": [{"Key": key, **found} for key in bucket.objects]}
        if method == "list_multipart_uploads":
            return {}
        if method == "delete_object" or str(parameters.get("Key")).endswith("meta.json"):
            raise refusal(503, "SlowDown")
        return None

    bucket.rule = rule
    staged = staged_on(backend, file_id)
    staged.write(b"abc")
    with pytest.raises(StorageUnavailable):
        staged.publish(meta)
    assert list(backend.debris()) == []
    with pytest.raises(StorageUnavailable):
        staged.discard()
    assert [found.file_id for found in backend.debris()] == [file_id]
