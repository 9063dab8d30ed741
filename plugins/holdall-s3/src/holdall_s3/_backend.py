"""The backend's five operations, on an S3 bucket."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO, Self, cast

from holdall.backend import Backend, Capability, Debris, Limits, StagedFile
from holdall.errors import FileNotFound, InvalidRequest, InvalidStoreURL, NotSupported, StorageError
from holdall_s3 import _debris
from holdall_s3._client import Client, Pending
from holdall_s3._keys import Keys
from holdall_s3._listing import list_ids
from holdall_s3._options import S3Options
from holdall_s3._stream import DataStream
from holdall_s3._upload import S3StagedFile, read_meta

if TYPE_CHECKING:
    from holdall.url import StoreURL

__all__ = ["S3Backend"]

_log = logging.getLogger("holdall_s3")

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]").fullmatch
_MOST_PARTS = 10_000
_LARGEST_OBJECT = 5 * 1024**4
_LONGEST_SIGNATURE_SECONDS = 7 * 86_400
# Small requests mostly wait for the network, and use little memory. A page of 20, plus the file that shows whether
# there are more, is read in one round.
_READERS = 24
# Read with a single round trip to the client's event loop.
_TOGETHER = 8


class S3Backend(Backend):
    """Files in a bucket, below a prefix. Makes no request before the first call."""

    class Options(S3Options):
        """Options of `s3://`."""

    # Not EXCLUSIVE_REMOVE: the response to a DELETE does not say whether it removed the object.
    capabilities = (
        Capability.ATOMIC_PUBLISH
        | Capability.RANGED_READS
        | Capability.ORDERED_LISTING
        | Capability.EXACT_LISTING
        | Capability.SHARED
        | Capability.PERSISTENT
        | Capability.PORTABLE_LAYOUT
        | Capability.SIGNED_URLS
    )

    def __init__(self, bucket: str, prefix: str = "", options: S3Options | None = None) -> None:
        """A backend for `bucket`, which must exist; `prefix` need not."""
        self._options = options = options or S3Options()
        self._client = Client(bucket, options)
        self._keys = Keys.below(prefix)
        self.limits = Limits(max_file_bytes=min(int(options.part_size) * _MOST_PARTS, _LARGEST_OBJECT))
        # A custom endpoint's server may keep acknowledged data in memory.
        if self._client.is_amazon:
            self.capabilities |= Capability.DURABLE
        if options.anon:
            self.capabilities &= ~Capability.SIGNED_URLS

    @classmethod
    def from_url(cls, url: StoreURL, options: S3Options) -> Self:
        if url.username is not None or url.password is not None:
            raise InvalidStoreURL(
                f"{url}: credentials come from the environment, ?profile=… or ?key=…&secret=…, not before the bucket"
            )
        if url.port is not None:
            raise InvalidStoreURL(f"{url}: a bucket has no port; name the server with ?endpoint_url=http://host:port")
        if not url.host:
            raise InvalidStoreURL(
                f"{url} names no bucket; write s3://bucket/prefix, and name the server with ?endpoint_url=…"
            )
        if not _BUCKET(url.host):
            raise InvalidStoreURL(
                f"{url}: {url.host!r} is not a bucket name: 3 to 63 of A-Z a-z 0-9 . _ -, with a letter or "
                "digit at both ends; name the server with ?endpoint_url=…"
            )
        return cls(url.host, url.path, options)

    def stage(self, file_id: str) -> StagedFile:
        options = self._options
        return S3StagedFile(
            self._client,
            self._keys,
            file_id,
            part_bytes=int(options.part_size),
            concurrency=options.max_concurrency,
        )

    def read_meta(self, file_id: str) -> bytes:
        return read_meta(self._client, self._keys, file_id)

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        ids = iter(file_ids)
        under_way: deque[tuple[list[str], Pending[list[bytes | BaseException]]]] = deque()
        try:
            while group := list(itertools.islice(ids, _TOGETHER)):
                under_way.append((group, self._client.start(self._read_together(group))))
                if len(under_way) * _TOGETHER >= _READERS:
                    yield from _first_of(under_way)
            while under_way:
                yield from _first_of(under_way)
        finally:
            for _, pending in under_way:
                pending.stop()

    async def _read_together(self, file_ids: list[str]) -> list[bytes | BaseException]:
        reads = (self._client.read(self._keys.meta(i), f"read {i}", i) for i in file_ids)
        return await asyncio.gather(*reads, return_exceptions=True)

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        key, retries = self._keys.data(file_id), self._options.retries
        return cast("BinaryIO", DataStream(self._client, key, file_id, start, stop, retries=retries))

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        return list_ids(self._client, self._keys, after, before)

    def remove(self, file_id: str) -> None:
        # A DELETE of an absent object succeeds, so existence must be checked first.
        self.read_meta(file_id)
        what = f"delete {file_id}"
        self._client.call("delete_object", what, file_id, Key=self._keys.meta(file_id))
        try:
            self._client.call("delete_object", what, file_id, Key=self._keys.data(file_id))
        except (FileNotFound, StorageError) as error:
            # The entry is deleted, and a caller that gets an error would retry in vain.
            _log.warning("%s is deleted, its bytes are left for a sweep: %s", file_id, error)

    def debris(self) -> Iterator[Debris]:
        return _debris.debris(self._client, self._keys)

    def discard_debris(self, debris: Debris) -> None:
        _debris.discard(self._client, self._keys, debris)

    def signed_url(self, file_id: str, expires_in: int) -> str:
        if Capability.SIGNED_URLS not in self.capabilities:
            raise NotSupported("anon=true has no credentials to sign a URL with", file_id=file_id)
        if not 0 < expires_in <= _LONGEST_SIGNATURE_SECONDS:
            raise InvalidRequest(f"a URL can be signed for 1 to {_LONGEST_SIGNATURE_SECONDS} seconds", file_id=file_id)
        return self._client.start(self._client.sign(self._keys.data(file_id), expires_in, file_id)).result()

    def close(self) -> None:
        self._client.close()


def _first_of(
    under_way: deque[tuple[list[str], Pending[list[bytes | BaseException]]]],
) -> Iterator[tuple[str, bytes]]:
    file_ids, pending = under_way.popleft()
    for file_id, found in zip(file_ids, pending.result(), strict=True):
        if isinstance(found, bytes):
            yield file_id, found
        elif not isinstance(found, FileNotFound):
            raise found
