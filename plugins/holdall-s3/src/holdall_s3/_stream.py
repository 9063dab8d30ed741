"""The data of an object as a stream: one GET, read on demand."""

from __future__ import annotations

import io
from typing import Any

from holdall.errors import FileNotFound, HoldallError, StorageError
from holdall_s3._client import Client, keep_for_ever, tell_after_fork
from holdall_s3._errors import EXISTS, OUT_OF_RANGE, code_of, translated

__all__ = ["DataStream"]

_BLOCK_BYTES = 256 * 1024
_PARTIAL = 206


class DataStream(io.RawIOBase):
    """The bytes from `start` to `stop`. Opening it sends the request, so an absent object is detected at once.

    A broken connection is resumed where it broke off, provided that the object is still the same. For one thread at a
    time; after a fork, the child continues over a new connection.
    """

    def __init__(self, client: Client, key: str, file_id: str, start: int, stop: int | None, *, retries: int) -> None:
        super().__init__()
        self._client = client
        self._key = key
        self._file_id = file_id
        self._what = f"read {file_id}"
        self._position = start
        self._stop = stop
        self._retries = retries
        self._etag: str | None = None
        self._left = b""
        self._body: Any = None
        tell_after_fork(self)
        client.start(self._begin()).result()

    def after_fork(self) -> None:
        """In a forked child: the connection belongs to the parent; the next read opens another."""
        body, self._body = self._body, None
        keep_for_ever(body)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view)) or b""
        view[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        parts = []
        while part := self.read(4 * _BLOCK_BYTES):
            parts.append(part)
        return b"".join(parts)

    def read(self, size: int | None = -1, /) -> bytes:
        """The requested number of bytes, fewer only at the end."""
        if self.closed:
            raise ValueError("read of a closed stream")
        if size is None or size < 0:
            return self.readall()
        data = self._left
        if len(data) < size:
            fetched = self._more(max(size - len(data), _BLOCK_BYTES))
            data = data + fetched if data else fetched
        # Set only now, because the data would be lost if the fetch failed.
        self._left = data[size:]
        return data if len(data) <= size else data[:size]

    def close(self) -> None:
        if not self.closed:
            self._left = b""
            self._drop()
        super().close()

    def _more(self, wanted: int) -> bytes:
        if self._stop is not None and self._position >= self._stop:
            return b""
        before = self._position
        try:
            return self._client.start(self._fetch(wanted)).result()
        except BaseException:
            # Data of the failed fetch is lost: the next read requests it again.
            self._drop()
            self._position = before
            raise

    def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            self._client.soon(body.close)

    async def _begin(self) -> None:
        """Open, and fetch a small range at once, since its data is already on the way."""
        await self._open()
        if self._stop is not None and self._stop - self._position <= _BLOCK_BYTES:
            self._left = await self._fetch(_BLOCK_BYTES)

    async def _open(self) -> None:
        """Request the data from the current position."""
        parameters: dict[str, Any] = {"Key": self._key}
        empty = self._stop is not None and self._position >= self._stop
        if empty:
            # A range cannot be empty; requesting one byte shows whether the object exists.
            parameters["Range"] = f"bytes={self._position}-{self._position}"
        elif self._position or self._stop is not None:
            last = "" if self._stop is None else str(self._stop - 1)
            parameters["Range"] = f"bytes={self._position}-{last}"
        if self._etag is not None:
            parameters["IfMatch"] = self._etag
        try:
            answer = await self._client.request("get_object", self._what, self._file_id, **parameters)
        except HoldallError as error:
            if code_of(error) in OUT_OF_RANGE:
                self._stop = self._position
                return
            if code_of(error) in EXISTS and self._etag is not None:
                raise FileNotFound(f"cannot {self._what}: it was removed meanwhile", file_id=self._file_id) from error
            raise
        if empty:
            answer["Body"].close()
            return
        if self._position and answer["ResponseMetadata"]["HTTPStatusCode"] != _PARTIAL:
            answer["Body"].close()
            raise StorageError(
                f"cannot {self._what}: {self._client.endpoint} ignores ranges; it cannot be used for holdall"
            )
        if self._etag is None:
            # From now on the end of the stream is known: a body that ends earlier was interrupted.
            end = self._position + int(answer["ContentLength"])
            self._stop = end if self._stop is None else min(end, self._stop)
            self._etag = answer.get("ETag")
        self._body = answer["Body"]

    async def _fetch(self, wanted: int) -> bytes:
        """The given number of bytes, or all that are left."""
        parts: list[bytes] = []
        failures = 0
        while wanted and self._stop is not None and self._position < self._stop:
            try:
                if self._body is None:
                    await self._open()
                    continue
                part = await self._body.read(min(wanted, self._stop - self._position))
                if not part:
                    raise ConnectionResetError("the body ended early")
            except HoldallError:
                raise
            except Exception as error:
                failures += 1
                self._abandon()
                if failures > self._retries:
                    client = self._client
                    raise translated(error, self._what, client.bucket, client.endpoint, self._file_id) from error
                continue
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
            failures = 0
        if self._stop is not None and self._position >= self._stop and self._body is not None:
            self._abandon()
        return b"".join(parts)

    def _abandon(self) -> None:
        """Release the connection; runs on the event loop's thread."""
        body, self._body = self._body, None
        if body is not None:
            body.close()
