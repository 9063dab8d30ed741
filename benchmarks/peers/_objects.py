"""What the S3 drivers are compared with: plain clients that make the same requests."""

from __future__ import annotations

import abc
import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import holdall
from benchmarks.peers._base import FILENAME, described

__all__ = ["AT_ONCE", "CLIENTS", "Boto", "Client", "HoldallStore", "RawClient", "RawObstore", "RawS3fs"]

AT_ONCE = 16
"""The number of concurrent reads of those contestants that read concurrently."""


class Client(abc.ABC):
    """A store in one bucket, below a prefix."""

    name = ""

    @abc.abstractmethod
    def create(self, data: bytes) -> str:
        """Store bytes with their metadata, and return the id."""

    @abc.abstractmethod
    def get(self, file_id: str) -> Any:
        """The metadata."""

    @abc.abstractmethod
    def get_content(self, file_id: str) -> bytes:
        """The data, once it is known to belong to a complete file."""

    @abc.abstractmethod
    def list(self) -> Sequence[Any]:
        """All metadata."""

    @abc.abstractmethod
    def delete(self, file_id: str) -> None:
        """Remove a file that exists."""

    def close(self) -> None:
        """Release resources."""


class RawClient(Client):
    """A plain client. Stores two objects for each file, the metadata last, and removes the metadata first."""

    def create(self, data: bytes) -> str:
        file_id, meta = described(data)
        self.put(f"{file_id}/data.bin", data)
        self.put(f"{file_id}/meta.json", json.dumps(meta, indent=2).encode())
        return file_id

    def get(self, file_id: str) -> Any:
        return json.loads(self.read(f"{file_id}/meta.json"))

    def get_content(self, file_id: str) -> bytes:
        self.get(file_id)
        return self.read(f"{file_id}/data.bin")

    def list(self) -> Sequence[Any]:
        return [self.get(file_id) for file_id in self.ids()]

    def delete(self, file_id: str) -> None:
        self.get(file_id)
        self.remove(f"{file_id}/meta.json")
        self.remove(f"{file_id}/data.bin")

    @abc.abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """One PUT of a new object: each asks the server not to replace anything, as holdall does."""

    @abc.abstractmethod
    def read(self, key: str) -> bytes:
        """One GET."""

    @abc.abstractmethod
    def remove(self, key: str) -> None:
        """One DELETE."""

    @abc.abstractmethod
    def ids(self) -> list[str]:
        """One LIST for each thousand."""


class HoldallStore(Client):
    """One of holdall's drivers."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.store = holdall.open_store(url)

    def forget(self) -> None:
        """Empty the cache of metadata."""
        self.store.remember = self.store.remember

    def create(self, data: bytes) -> str:
        return self.store.create(FILENAME, data, purpose="user_data").id

    def get(self, file_id: str) -> Any:
        file = self.store.get(file_id)
        return {"bytes": file.bytes, "filename": file.filename}

    def get_content(self, file_id: str) -> bytes:
        return self.store.get_content(file_id)

    def list(self) -> Sequence[Any]:
        return self.store.list().data

    def delete(self, file_id: str) -> None:
        self.store.delete(file_id)

    def close(self) -> None:
        self.store.close()


class RawObstore(RawClient):
    """obstore, synchronous."""

    name = "raw obstore"

    def __init__(self, endpoint: str, bucket: str, prefix: str, key: str, secret: str) -> None:
        from obstore.store import S3Store

        self._store = S3Store(
            bucket,
            prefix=prefix,
            endpoint=endpoint,
            access_key_id=key,
            secret_access_key=secret,
            region="us-east-1",
            client_options={"allow_http": True},
            virtual_hosted_style_request=False,
        )

    def put(self, key: str, data: bytes) -> None:
        self._store.put(key, data, mode="create")

    def read(self, key: str) -> bytes:
        return self._store.get(key).bytes().to_bytes()

    def remove(self, key: str) -> None:
        self._store.delete(key)

    def put_large(self, key: str, data: bytes) -> None:
        """Its default for large objects: parts, several concurrently."""
        self._store.put(key, data)

    def ids(self) -> list[str]:
        keys = (found["path"] for chunk in self._store.list() for found in chunk)
        return [key.partition("/")[0] for key in keys if key.endswith("/meta.json")]

    def list_threads(self) -> Sequence[Any]:
        """All metadata, read by threads."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self.get, self.ids()))

    def list_async(self) -> Sequence[Any]:
        """All metadata, read by an event loop."""

        async def read(file_id: str, gate: asyncio.Semaphore) -> Any:
            async with gate:
                answer = await self._store.get_async(f"{file_id}/meta.json")
                return json.loads(bytes(await answer.bytes_async()))

        async def every() -> Sequence[Any]:
            gate = asyncio.Semaphore(AT_ONCE)
            return await asyncio.gather(*(read(file_id, gate) for file_id in self.ids()))

        return asyncio.run(every())

    def put_many(self, objects: dict[str, bytes]) -> None:
        """Fill a store, as fast as possible."""

        async def every() -> None:
            gate = asyncio.Semaphore(32)

            async def put(key: str, data: bytes) -> None:
                async with gate:
                    await self._store.put_async(key, data, use_multipart=False)

            await asyncio.gather(*(put(key, data) for key, data in objects.items()))

        asyncio.run(every())


class RawS3fs(RawClient):
    """s3fs, synchronous, as its users call it."""

    name = "raw s3fs"
    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, endpoint: str, bucket: str, prefix: str, key: str, secret: str) -> None:
        import s3fs

        self._root = f"{bucket}/{prefix}"
        self._fs = s3fs.S3FileSystem(
            key=key,
            secret=secret,
            endpoint_url=endpoint,
            client_kwargs={"region_name": "us-east-1"},
            skip_instance_cache=True,
            use_listings_cache=False,
        )

    def put(self, key: str, data: bytes) -> None:
        self._fs.pipe_file(f"{self._root}/{key}", data, mode="create")

    def read(self, key: str) -> bytes:
        return self._fs.cat_file(f"{self._root}/{key}", **self.options)

    def remove(self, key: str) -> None:
        self._fs.rm_file(f"{self._root}/{key}")

    def ids(self) -> list[str]:
        return [key.split("/")[-2] for key in self._fs.find(self._root) if key.endswith("/meta.json")]

    def list_together(self) -> Sequence[Any]:
        """All metadata, read by its own method for many files."""
        keys = [f"{self._root}/{file_id}/meta.json" for file_id in self.ids()]
        return [json.loads(text) for text in self._fs.cat(keys, max_concurrency=1).values()]


class RawS3fsOneRequest(RawS3fs):
    """s3fs, without requesting the size before each read."""

    name = "raw s3fs, no HEAD"
    options: ClassVar[dict[str, Any]] = {"max_concurrency": 1}


class Boto(RawClient):
    """boto3."""

    name = "boto3"

    def __init__(self, endpoint: str, bucket: str, prefix: str, key: str, secret: str) -> None:
        import boto3
        from botocore.config import Config

        self._bucket, self._prefix = bucket, prefix
        self._client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def put(self, key: str, data: bytes) -> None:
        self._client.put_object(Bucket=self._bucket, Key=f"{self._prefix}/{key}", Body=data, IfNoneMatch="*")

    def read(self, key: str) -> bytes:
        return self._client.get_object(Bucket=self._bucket, Key=f"{self._prefix}/{key}")["Body"].read()

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self._bucket, Key=f"{self._prefix}/{key}")

    def ids(self) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"{self._prefix}/")
        keys = (found["Key"] for page in pages for found in page.get("Contents", ()))
        return [key.split("/")[-2] for key in keys if key.endswith("/meta.json")]


CLIENTS: tuple[type[Any], ...] = (RawObstore, RawS3fs, RawS3fsOneRequest, Boto)
