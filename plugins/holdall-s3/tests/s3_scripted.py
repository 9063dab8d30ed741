"""A bucket in place of the client library: no server, and each answer is the test's to choose."""

# ruff: noqa: N803 - the names are those of S3

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from holdall_s3 import S3Backend
from holdall_s3._upload import S3StagedFile

import holdall
from holdall.ids import IdMinter
from holdall.model import FileObject, encode_meta

__all__ = ["Body", "Bucket", "backend_on", "entry", "refusal", "staged_on"]


def refusal(status: int, code: str) -> ClientError:
    """A server's error."""
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Request")


class Body:
    """The body of an answer; it breaks after `breaks` bytes."""

    def __init__(self, data: bytes, breaks: int | None = None) -> None:
        self.left, self.breaks, self.closed = data, breaks, False

    async def read(self, size: int | None = None) -> bytes:
        """The next bytes."""
        if self.breaks == 0 or (size is None and self.breaks is not None):
            raise ConnectionResetError("cut")
        most = len(self.left) if size is None else size
        part = self.left[: most if self.breaks is None else min(most, self.breaks)]
        if self.breaks is not None:
            self.breaks -= len(part)
        self.left = self.left[len(part) :]
        return part

    def close(self) -> None:
        """Release the connection."""
        self.closed = True


class Bucket:
    """Objects by their keys. `rule` may answer, or raise, in place of the server; None leaves it to the bucket."""

    _s3 = None

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.parts: list[bytes] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.bodies: list[Body] = []
        self.rule: Callable[[str, dict[str, Any]], dict[str, Any] | None] = lambda method, parameters: None

    def of(self, method: str) -> list[dict[str, Any]]:
        """The parameters of each request of this kind."""
        return [parameters for name, parameters in self.sent if name == method]

    async def _call_s3(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.sent.append((method, parameters))
        answer = self.rule(method, parameters)
        return getattr(self, method)(**parameters) if answer is None else answer

    def put_object(self, Key: str, Body: Any, IfNoneMatch: str | None = None, **_: Any) -> dict[str, Any]:
        """Store an object."""
        if IfNoneMatch and Key in self.objects:
            raise refusal(412, "PreconditionFailed")
        self.objects[Key] = bytes(Body) if isinstance(Body, bytes) else Body.read()
        return {}

    def head_object(self, Key: str, **_: Any) -> dict[str, Any]:
        """Describe an object."""
        if Key not in self.objects:
            raise refusal(404, "404")
        return {"ContentLength": len(self.objects[Key])}

    def get_object(self, Key: str, Range: str | None = None, **_: Any) -> dict[str, Any]:
        """Read an object, from the start of the range on."""
        if Key not in self.objects:
            raise refusal(404, "NoSuchKey")
        start = int(Range.partition("=")[2].partition("-")[0]) if Range else 0
        data = self.objects[Key][start:]
        self.bodies.append(Body(data))
        status = {"HTTPStatusCode": 206 if Range else 200}
        return {"Body": self.bodies[-1], "ContentLength": len(data), "ETag": '"1"', "ResponseMetadata": status}

    def delete_object(self, Key: str, **_: Any) -> dict[str, Any]:
        """Remove an object."""
        self.objects.pop(Key, None)
        return {}

    def create_multipart_upload(self, **_: Any) -> dict[str, Any]:
        """Begin an upload."""
        return {"UploadId": "u"}

    def upload_part(self, Body: Any, **_: Any) -> dict[str, Any]:
        """Store a part."""
        self.parts.append(Body.read())
        return {"ETag": f"{len(self.parts)}", "ChecksumCRC32": "c", "ServerSideEncryption": "AES256"}

    def complete_multipart_upload(self, Key: str, **more: Any) -> dict[str, Any]:
        """Combine the parts."""
        return self.put_object(Key, b"".join(self.parts), more.get("IfNoneMatch"))

    def abort_multipart_upload(self, **_: Any) -> dict[str, Any]:
        """Forget the parts."""
        self.parts.clear()
        return {}


def backend_on(bucket: Bucket, **options: Any) -> S3Backend:
    """A backend whose requests that bucket answers."""
    given = "".join(f"&{name}={value}" for name, value in options.items())
    backend = holdall.open_store(f"s3://bucket/p?key=k&secret=s&region=x{given}").backend
    assert isinstance(backend, S3Backend)
    backend._client._filesystem = bucket
    return backend


def staged_on(backend: S3Backend, file_id: str, part_bytes: int = 4) -> S3StagedFile:
    """A write in parts of a few bytes."""
    return S3StagedFile(backend._client, backend._keys, file_id, part_bytes=part_bytes, concurrency=1)


def entry(size: int) -> tuple[str, bytes]:
    """A new id, and its metadata."""
    file_id, created_at = IdMinter().mint()
    file = FileObject(id=file_id, filename="x", purpose="batch", bytes=size, created_at=created_at)
    return file_id, encode_meta(file)
