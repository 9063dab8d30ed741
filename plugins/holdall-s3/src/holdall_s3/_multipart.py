"""A multipart upload: no object exists before it is completed."""

from __future__ import annotations

import contextlib
import io
from collections import deque
from collections.abc import Iterator
from typing import Any

from holdall.errors import FileNotFound, StorageError
from holdall_s3._client import Client, Pending

__all__ = ["Multipart", "abort"]

# Fields of the response for a part that the completion must repeat.
_PART_FIELDS = ("ETag", "ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME", "ChecksumSHA1", "ChecksumSHA256")


class Multipart:
    """Sends parts in the background, at most `concurrency` at a time."""

    def __init__(self, client: Client, key: str, what: str, file_id: str, concurrency: int) -> None:
        self._client = client
        self._what = what
        self._file_id = file_id
        self._concurrency = concurrency
        self._parts: list[dict[str, Any]] = []
        self._in_flight: deque[Pending[dict[str, Any]]] = deque()
        self._completed = False
        answer = client.call("create_multipart_upload", what, file_id, Key=key)
        self._place = {"Key": key, "UploadId": str(answer["UploadId"])}

    def send(self, body: io.BytesIO) -> None:
        """Send one more part. Returns when there is memory to collect the next one."""
        number = len(self._parts) + len(self._in_flight) + 1
        request = self._client.request(
            "upload_part", self._what, self._file_id, PartNumber=number, Body=body, **self._place
        )
        self._in_flight.append(self._client.start(request))
        while len(self._in_flight) >= self._concurrency:
            self._wait_for_first()

    def complete(self, **condition: str) -> None:
        """Combine the parts into one object."""
        while self._in_flight:
            self._wait_for_first()
        with self._gone():
            self._client.call(
                "complete_multipart_upload",
                self._what,
                self._file_id,
                MultipartUpload={"Parts": self._parts},
                **self._place,
                **condition,
            )
        self._completed = True

    def abort(self) -> None:
        """Discard what was sent, unless the upload was completed."""
        for pending in self._in_flight:
            pending.stop()
        self._in_flight.clear()
        if not self._completed:
            abort(self._client, f"discard {self._file_id}", **self._place)

    def _wait_for_first(self) -> None:
        with self._gone():
            answer = self._in_flight[0].result()
        self._in_flight.popleft()
        fields = {name: answer[name] for name in _PART_FIELDS if name in answer}
        self._parts.append({"PartNumber": len(self._parts) + 1, **fields})

    @contextlib.contextmanager
    def _gone(self) -> Iterator[None]:
        """Reports a missing upload as `StorageError`, because it is not a missing file."""
        try:
            yield
        except FileNotFound as error:
            raise StorageError(
                f"cannot {self._what}: the upload was aborted by a sweep or a lifecycle rule; send it again"
            ) from error


def abort(client: Client, what: str, **place: str) -> None:
    """Abort an upload. Does nothing if it does not exist."""
    with contextlib.suppress(FileNotFound):
        client.call("abort_multipart_upload", what, **place)
