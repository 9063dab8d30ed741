"""Raw access to a bucket, through a separate client."""

from __future__ import annotations

import contextlib
import uuid
from typing import Any

from s3_servers import S3Server

from holdall.conformance import RawAccess, Target
from holdall.url import StoreURL

__all__ = ["S3Raw", "S3Target"]


class S3Raw(RawAccess):
    """Access that an operator with another S3 client has below one prefix."""

    def __init__(self, server: S3Server, prefix: str) -> None:
        self.server = server
        self.prefix = prefix.strip("/") + "/"
        self.client = server.client()

    def call(self, method: str, **parameters: Any) -> Any:
        """One request to the bucket."""
        return self.client.call_s3(method, Bucket=self.server.bucket, **parameters)

    def key(self, file_id: str, name: str) -> str:
        """The key of an entry's object."""
        return f"{self.prefix}{file_id}/{name}"

    def put(self, key: str, body: bytes) -> None:
        """Write an object."""
        self.call("put_object", Key=key, Body=body)

    def get(self, key: str) -> bytes:
        """Read an object."""
        return bytes(self.client.cat_file(f"{self.server.bucket}/{key}"))

    def keys(self) -> dict[str, int]:
        """Every key below the prefix, with its size."""
        found: dict[str, int] = {}
        parameters: dict[str, Any] = {"Prefix": self.prefix}
        while True:
            page = self.call("list_objects_v2", **parameters)
            found |= {entry["Key"]: entry["Size"] for entry in page.get("Contents", ())}
            if not page.get("IsTruncated"):
                return found
            parameters["ContinuationToken"] = page["NextContinuationToken"]

    def uploads(self) -> list[dict[str, Any]]:
        """Unfinished multipart uploads below the prefix."""
        page = self.call("list_multipart_uploads", Prefix=self.prefix)
        return [entry for entry in page.get("Uploads") or () if entry["Key"].startswith(self.prefix)]

    def clear(self) -> None:
        """Remove everything below the prefix."""
        for entry in self.uploads():
            with contextlib.suppress(FileNotFoundError):
                self.call("abort_multipart_upload", Key=entry["Key"], UploadId=entry["UploadId"])
        keys = list(self.keys())
        for start in range(0, len(keys), 1000):
            doomed = [{"Key": key} for key in keys[start : start + 1000]]
            self.call("delete_objects", Delete={"Objects": doomed, "Quiet": True})

    def corrupt(self, file_id: str) -> None:
        self.write_meta(file_id, b'{"id": "')

    def read_meta(self, file_id: str) -> bytes:
        return self.get(self.key(file_id, "meta.json"))

    def write_meta(self, file_id: str, meta: bytes) -> None:
        self.put(self.key(file_id, "meta.json"), meta)

    def truncate(self, file_id: str, size: int) -> None:
        key = self.key(file_id, "data.bin")
        self.put(key, self.get(key)[:size])

    def drop_data(self, file_id: str) -> None:
        self.call("delete_object", Key=self.key(file_id, "data.bin"))

    def drop_meta(self, file_id: str) -> None:
        self.call("delete_object", Key=self.key(file_id, "meta.json"))

    def orphan(self) -> str:
        file_id = f"file-{uuid.uuid4().hex}"
        self.put(self.key(file_id, "data.bin"), b"half a file")
        return file_id

    def stray(self) -> None:
        for name in ("README", "file-notes.txt", "lost+found/x", f"file-{'A' * 32}/meta.json", "file-!/meta.json"):
            self.put(self.prefix + name, b"no entry")

    def leftovers(self) -> list[str]:
        keys = self.keys()
        entries = {key.rpartition("/")[0] for key in keys if key.endswith("/meta.json")}
        left = [key for key in keys if key.rpartition("/")[0] not in entries]
        return sorted([*left, *(f"upload of {entry['Key']}" for entry in self.uploads())])

    def used_bytes(self) -> int:
        return sum(self.keys().values())


class S3Target(Target):
    """Locations below one prefix of a server's bucket, with raw access."""

    def __init__(self, server: S3Server, **options: Any) -> None:
        super().__init__(server.url("conformance", **options))
        self.server = server

    def fresh(self) -> str:
        url = super().fresh()
        self.raw = self._raw(url)
        return url

    def destroy(self, url: str) -> None:
        self._raw(url).clear()

    def _raw(self, url: str) -> S3Raw:
        return S3Raw(self.server, StoreURL.parse(url).path)
