"""Raw access to stored entries, through obstore itself and through another S3 client."""

from __future__ import annotations

import contextlib
import uuid
from abc import ABC, abstractmethod
from typing import Any

from obstore_servers import BUCKET, Server

from holdall import open_store
from holdall.conformance import DirectoryRaw, RawAccess, Target
from holdall.url import StoreURL


class FileTarget(Target):
    """Accesses the directory without the store."""

    def fresh(self) -> str:
        url = super().fresh()
        self.raw = DirectoryRaw(StoreURL.parse(url).path)
        return url


class KeysRaw(RawAccess, ABC):
    """Raw access to a key-value storage; a subclass implements the operations."""

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Write an object."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Read an object."""

    @abstractmethod
    def drop(self, key: str) -> None:
        """Remove an object."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Every key below the location, with its size."""

    def corrupt(self, file_id: str) -> None:
        self.write_meta(file_id, b'{"id": "')

    def read_meta(self, file_id: str) -> bytes:
        return self.get(f"{file_id}/meta.json")

    def write_meta(self, file_id: str, meta: bytes) -> None:
        self.put(f"{file_id}/meta.json", meta)

    def truncate(self, file_id: str, size: int) -> None:
        self.put(f"{file_id}/data.bin", self.get(f"{file_id}/data.bin")[:size])

    def drop_data(self, file_id: str) -> None:
        self.drop(f"{file_id}/data.bin")

    def drop_meta(self, file_id: str) -> None:
        self.drop(f"{file_id}/meta.json")

    def orphan(self) -> str:
        file_id = f"file-{uuid.uuid4().hex}"
        self.put(f"{file_id}/data.bin", b"half a file")
        return file_id

    def stray(self) -> None:
        for key in ("README", "file-notes.txt", "lost+found/x", f"file-{'A' * 32}/meta.json", "file-!/meta.json"):
            self.put(key, b"no entry")

    def leftovers(self) -> list[str]:
        keys = self.sizes()
        entries = {key.rpartition("/")[0] for key in keys if key.endswith("/meta.json")}
        return sorted(key for key in keys if key.rpartition("/")[0] not in entries)

    def used_bytes(self) -> int:
        return sum(self.sizes().values())


class MemoryRaw(KeysRaw):
    """Through the process's shared store object."""

    def __init__(self, url: str) -> None:
        self.store = open_store(url).backend.store

    def put(self, key: str, data: bytes) -> None:
        self.store.put(key, data)

    def get(self, key: str) -> bytes:
        return bytes(self.store.get(key).bytes())

    def drop(self, key: str) -> None:
        self.store.delete(key)

    def sizes(self) -> dict[str, int]:
        return {found["path"]: found["size"] for found in self.store.list().collect()}


class MemoryTarget(Target):
    """A new name for each location."""

    def fresh(self) -> str:
        url = super().fresh()
        self.raw = MemoryRaw(url)
        return url


class S3Raw(KeysRaw):
    """Through a different client than the plugin's."""

    def __init__(self, server: Server, prefix: str) -> None:
        self.client = server.client()
        self.prefix = prefix.strip("/") + "/"

    def call(self, method: str, **parameters: Any) -> Any:
        """A request to the bucket."""
        return getattr(self.client, method)(Bucket=BUCKET, **parameters)

    def put(self, key: str, data: bytes) -> None:
        self.call("put_object", Key=self.prefix + key, Body=data)

    def get(self, key: str) -> bytes:
        with contextlib.closing(self.call("get_object", Key=self.prefix + key)["Body"]) as body:
            return bytes(body.read())

    def drop(self, key: str) -> None:
        self.call("delete_object", Key=self.prefix + key)

    def sizes(self) -> dict[str, int]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=self.prefix)
        found = (entry for page in pages for entry in page.get("Contents", ()))
        return {entry["Key"].removeprefix(self.prefix): entry["Size"] for entry in found}

    def uploads(self) -> list[str]:
        """Keys of multipart uploads that are neither complete nor aborted."""
        found = self.call("list_multipart_uploads", Prefix=self.prefix).get("Uploads", ())
        return [upload["Key"] for upload in found if upload["Key"].startswith(self.prefix)]

    def leftovers(self) -> list[str]:
        return [*super().leftovers(), *(f"upload of {key}" for key in self.uploads())]


class S3Target(Target):
    """A prefix for each location."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.url("conformance"))
        self.server = server

    def fresh(self) -> str:
        url = super().fresh()
        self.raw = S3Raw(self.server, StoreURL.parse(url).path)
        return url

    def destroy(self, url: str) -> None:
        raw = S3Raw(self.server, StoreURL.parse(url).path)
        keys = list(raw.sizes())
        for start in range(0, len(keys), 1000):
            doomed = [{"Key": raw.prefix + key} for key in keys[start : start + 1000]]
            raw.call("delete_objects", Delete={"Objects": doomed, "Quiet": True})
