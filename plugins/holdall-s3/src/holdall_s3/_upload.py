"""A write: one PUT if the bytes fit into a part, a multipart upload if they don't; then the PUT of the metadata."""

from __future__ import annotations

import logging
import os
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any

from holdall.backend import StagedFile
from holdall.errors import FileNotFound, StorageError
from holdall_s3._client import Client, Pending
from holdall_s3._errors import EXISTS, NOT_IMPLEMENTED, code_of, was_refused

if TYPE_CHECKING:
    from holdall.backend import Buffer
    from holdall_s3._keys import Keys

__all__ = ["S3StagedFile", "read_meta", "written_here"]

_log = logging.getLogger("holdall_s3")

# The writes of this process that live. Weak: one that was dropped is a dead one.
_alive: weakref.WeakSet[S3StagedFile] = weakref.WeakSet()


def written_here() -> set[str]:
    """The ids that this process is writing now."""
    return {staged.file_id for staged in list(_alive)}


def read_meta(client: Client, keys: Keys, file_id: str) -> bytes:
    """The metadata document. `FileNotFound` if it is absent."""
    return client.start(client.read(keys.meta(file_id), f"read {file_id}", file_id)).result()


class S3StagedFile(StagedFile):
    """Nothing is sent before a part is full. Holds at most `concurrency + 1` parts in memory."""

    def __init__(self, client: Client, keys: Keys, file_id: str, *, part_bytes: int, concurrency: int) -> None:
        self.file_id = file_id
        self._client = client
        self._keys = keys
        self._part_bytes = part_bytes
        self._concurrency = concurrency
        self._what = f"create {file_id}"
        self._pid = os.getpid()
        self._buffer = bytearray()
        self._upload_id: str | None = None
        self._parts: list[dict[str, Any]] = []
        self._in_flight: deque[tuple[int, Pending[dict[str, Any]]]] = deque()
        self._sent_data = False
        self._meta: bytes | None = None
        self._ended = False
        _alive.add(self)

    def write(self, chunk: Buffer) -> None:
        self._check_process()
        view = memoryview(chunk)
        while view:
            # Sent only when more follows: what fits into one part is one PUT.
            if len(self._buffer) == self._part_bytes:
                self._send_part()
            room = self._part_bytes - len(self._buffer)
            self._buffer += view[:room]
            view = view[room:]

    def publish(self, meta: bytes) -> None:
        self._check_process()
        if self._upload_id is None:
            self._put_data()
        else:
            self._complete()
        self._meta = meta
        self._commit(meta)
        if self._upload_id is not None:
            self._check_data()
        self._end()

    def discard(self) -> None:
        # A copy of this object in a forked child: the upload is the parent's.
        if self._ended or self._pid != os.getpid():
            return
        self._end()
        for _, pending in self._in_flight:
            pending.stop()
        self._in_flight.clear()
        if self._upload_id is not None and not self._sent_data:
            self._abort()
        if self._sent_data:
            self._take_back()

    def _end(self) -> None:
        self._ended = True
        self._buffer = bytearray()
        _alive.discard(self)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise StorageError(f"cannot {self._what}: the upload belongs to the process that began it")

    def _put(self, key: str, body: bytes, *, exclusive: bool) -> None:
        condition = {"IfNoneMatch": "*"} if exclusive else {}
        self._client.call("put_object", self._what, self.file_id, Key=key, Body=body, **condition)

    def _put_data(self) -> None:
        body, self._buffer = bytes(self._buffer), bytearray()
        key = self._keys.data(self.file_id)
        try:
            self._put_exclusively(key, body)
        except StorageError as error:
            if code_of(error) not in EXISTS:
                raise
            self._refuse_if_published(error)
            # Left by a write of the same id that died, or by this PUT itself, whose reply was lost.
            self._sent_data = True
            self._put(key, body, exclusive=False)

    def _put_exclusively(self, key: str, body: bytes) -> None:
        try:
            self._sent_data = key == self._keys.data(self.file_id) or self._sent_data
            self._put(key, body, exclusive=True)
        except StorageError as error:
            # The server knows no conditions. Ids are minted, so nothing depends on them.
            if code_of(error) not in NOT_IMPLEMENTED:
                raise
            self._put(key, body, exclusive=False)

    def _refuse_if_published(self, error: BaseException) -> None:
        """Raise unless there is no entry with this id; then what there is may be overwritten."""
        try:
            read_meta(self._client, self._keys, self.file_id)
        except FileNotFound:
            return
        self._sent_data = False
        raise StorageError(f"cannot {self._what}: an entry with this id exists already") from error

    def _send_part(self) -> None:
        key = self._keys.data(self.file_id)
        if self._upload_id is None:
            answer = self._client.call("create_multipart_upload", self._what, self.file_id, Key=key)
            self._upload_id = str(answer["UploadId"])
        while len(self._in_flight) >= self._concurrency:
            self._wait_for_part()
        number = len(self._parts) + len(self._in_flight) + 1
        body, self._buffer = bytes(self._buffer), bytearray()
        request = self._client.request(
            "upload_part",
            self._what,
            self.file_id,
            Key=key,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=body,
        )
        self._in_flight.append((number, self._client.start(request)))

    def _wait_for_part(self) -> None:
        number, pending = self._in_flight[0]
        answer = pending.result()
        self._in_flight.popleft()
        part = {name: answer[name] for name in _PART_FIELDS if name in answer}
        self._parts.append({"PartNumber": number, **part})

    def _complete(self) -> None:
        self._send_part()
        while self._in_flight:
            self._wait_for_part()
        try:
            self._complete_upload(IfNoneMatch="*")
        except StorageError as error:
            if code_of(error) in NOT_IMPLEMENTED:
                self._complete_upload()
            elif code_of(error) in EXISTS:
                self._refuse_if_published(error)
                self._complete_upload()
            else:
                raise
        self._sent_data = True

    def _complete_upload(self, **condition: str) -> None:
        try:
            self._client.call(
                "complete_multipart_upload",
                self._what,
                self.file_id,
                Key=self._keys.data(self.file_id),
                UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
                **condition,
            )
        except StorageError as error:
            # A lost reply, and the upload is no more when it is asked for again: the object tells.
            if was_refused(error) and code_of(error) != "NoSuchUpload":
                raise
            self._sent_data = True
            self._check_data()

    def _commit(self, meta: bytes) -> None:
        try:
            self._put_exclusively(self._keys.meta(self.file_id), meta)
        except StorageError as error:
            if was_refused(error) and code_of(error) not in EXISTS:
                raise
            # Whether it was done cannot be told from the answer: what is there tells.
            try:
                found = read_meta(self._client, self._keys, self.file_id)
            except FileNotFound:
                raise error from None
            if found != meta:
                raise StorageError(f"cannot {self._what}: an entry with this id exists already") from error

    def _check_data(self) -> None:
        """An upload that took hours may have been taken for a dead one by a sweep elsewhere."""
        try:
            self._client.call("head_object", self._what, self.file_id, Key=self._keys.data(self.file_id))
        except FileNotFound as error:
            raise StorageError(f"cannot {self._what}: its bytes were swept while it was sent; send it again") from error

    def _abort(self) -> None:
        try:
            self._client.call(
                "abort_multipart_upload",
                f"discard {self.file_id}",
                self.file_id,
                Key=self._keys.data(self.file_id),
                UploadId=self._upload_id,
            )
        except StorageError as error:
            if code_of(error) != "NoSuchUpload":
                raise

    def _take_back(self) -> None:
        """Remove the bytes, the metadata first; nothing, if another write has published an entry with this id."""
        try:
            found = read_meta(self._client, self._keys, self.file_id)
        except FileNotFound:
            # Not found, but a PUT that was cut may still arrive.
            found = self._meta
        if found is not None and found != self._meta:
            _log.warning("the failed write of %s leaves the entry alone that another one made", self.file_id)
            return
        what = f"discard {self.file_id}"
        if self._meta is not None:
            self._client.call("delete_object", what, self.file_id, Key=self._keys.meta(self.file_id))
        self._client.call("delete_object", what, self.file_id, Key=self._keys.data(self.file_id))


_PART_FIELDS = (
    "ETag",
    "ChecksumCRC32",
    "ChecksumCRC32C",
    "ChecksumCRC64NVME",
    "ChecksumSHA1",
    "ChecksumSHA256",
)
