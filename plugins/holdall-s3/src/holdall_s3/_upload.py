"""A write: a single PUT if the data fits into one part, otherwise a multipart upload; then the PUT of the metadata."""

from __future__ import annotations

import io
import logging
import os
import weakref
from typing import TYPE_CHECKING

from holdall.backend import StagedFile
from holdall.errors import FileNotFound, HoldallError, StorageError
from holdall_s3._client import Client
from holdall_s3._errors import EXISTS, NOT_IMPLEMENTED, code_of, was_refused
from holdall_s3._multipart import Multipart

if TYPE_CHECKING:
    from holdall.backend import Buffer
    from holdall_s3._keys import Keys

__all__ = ["S3StagedFile", "read_meta", "written_here"]

_log = logging.getLogger("holdall_s3")

# Larger bodies are streamed from memory; smaller ones are sent as one bytes object, a copy, which is faster.
_ONE_PIECE_BYTES = 256 * 1024

# The running writes of this process. Weak references: one that was garbage-collected counts as dead.
_alive: weakref.WeakSet[S3StagedFile] = weakref.WeakSet()


def written_here() -> set[str]:
    """The ids that this process is currently writing."""
    return {staged.file_id for staged in list(_alive)}


def read_meta(client: Client, keys: Keys, file_id: str) -> bytes:
    """The metadata document. Raises `FileNotFound` if it does not exist."""
    return client.start(client.read(keys.meta(file_id), f"read {file_id}", file_id)).result()


class S3StagedFile(StagedFile):
    """Sends nothing before a part is full. Uses the memory of `concurrency` parts.

    Every PUT asks the server not to replace anything (`If-None-Match: *`). Servers that ignore this replace silently,
    and those that do not support conditions get a request without one; nothing depends on it, since every id is
    generated once.
    """

    def __init__(self, client: Client, keys: Keys, file_id: str, *, part_bytes: int, concurrency: int) -> None:
        self.file_id = file_id
        self._client = client
        self._data_key, self._meta_key = keys.data(file_id), keys.meta(file_id)
        self._keys = keys
        self._part_bytes = part_bytes
        self._concurrency = concurrency
        self._what = f"create {file_id}"
        self._pid = os.getpid()
        self._buffer = io.BytesIO()
        self._bytes = 0
        self._multipart: Multipart | None = None
        # What the bucket may contain, and `discard` must remove.
        self._may_have_data = False
        self._meta: bytes | None = None
        self._ended = False
        _alive.add(self)

    def write(self, chunk: Buffer) -> None:
        self._check_process()
        view = memoryview(chunk)
        while view:
            # Sent only when more data follows: what fits into one part is a single PUT.
            if self._buffer.tell() == self._part_bytes:
                self._send_part()
            taken = self._buffer.write(view[: self._part_bytes - self._buffer.tell()])
            self._bytes += taken
            view = view[taken:]

    def publish(self, meta: bytes) -> None:
        self._check_process()
        if self._multipart is None:
            self._put_data(self._taken())
        else:
            self._send_part()
            self._complete(self._multipart)
        self._meta = meta
        self._commit(meta)
        if self._multipart is not None and not self._data_is_there():
            # An upload that took hours looked like a leftover to a sweep elsewhere.
            raise StorageError(f"cannot {self._what}: a sweep removed its data before it was complete; send it again")
        self._end()

    def discard(self) -> None:
        # In a forked child, the upload belongs to the parent.
        if self._ended or self._pid != os.getpid():
            return
        self._end()
        if self._multipart is not None:
            self._multipart.abort()
        if self._may_have_data:
            self._take_back()

    def _end(self) -> None:
        self._ended = True
        self._buffer = io.BytesIO()
        _alive.discard(self)

    def _check_process(self) -> None:
        if self._pid != os.getpid():
            raise StorageError(f"cannot {self._what}: the upload belongs to the process that began it")

    def _taken(self) -> io.BytesIO:
        """The collected data, positioned at its start; further data goes into a new buffer."""
        taken, self._buffer = self._buffer, io.BytesIO()
        taken.seek(0)
        return taken

    def _send_part(self) -> None:
        if self._multipart is None:
            self._multipart = Multipart(self._client, self._data_key, self._what, self.file_id, self._concurrency)
        self._multipart.send(self._taken())

    def _put(self, key: str, body: io.BytesIO, **condition: str) -> None:
        body.seek(0)
        content = body if body.getbuffer().nbytes > _ONE_PIECE_BYTES else body.getvalue()
        self._client.call("put_object", self._what, self.file_id, Key=key, Body=content, **condition)

    def _put_data(self, body: io.BytesIO) -> None:
        self._may_have_data = True
        try:
            self._put(self._data_key, body, IfNoneMatch="*")
        except StorageError as error:
            if code_of(error) in EXISTS:
                self._refuse_if_published(error)
            elif code_of(error) not in NOT_IMPLEMENTED:
                raise
            # Left by an interrupted write of the same id, or by this PUT itself, if its response was lost.
            self._put(self._data_key, body)

    def _complete(self, multipart: Multipart) -> None:
        self._may_have_data = True
        try:
            multipart.complete(IfNoneMatch="*")
        except HoldallError as error:
            if code_of(error) in EXISTS:
                self._refuse_if_published(error)
                multipart.complete()
            elif code_of(error) in NOT_IMPLEMENTED:
                multipart.complete()
            # If a response was lost, the server does not know the upload any more on the repeated request: check the
            # object.
            elif (was_refused(error) and code_of(error) != "NoSuchUpload") or not self._data_is_there():
                raise

    def _data_is_there(self) -> bool:
        try:
            answer = self._client.call("head_object", self._what, self.file_id, Key=self._data_key)
        except FileNotFound:
            return False
        return int(answer["ContentLength"]) == self._bytes

    def _commit(self, meta: bytes) -> None:
        body = io.BytesIO(meta)
        try:
            self._put(self._meta_key, body, IfNoneMatch="*")
        except HoldallError as error:
            if code_of(error) in NOT_IMPLEMENTED:
                self._put(self._meta_key, body)
                return
            if was_refused(error) and code_of(error) not in EXISTS:
                raise
            # The response does not show whether it was carried out: check what is stored.
            found = self._published()
            if found is None:
                raise
            if not meta.startswith(found):
                raise self._exists() from error
            if found != meta:
                # Some servers store the partial data of a PUT whose connection broke; then the condition fails.
                self._put(self._meta_key, body)

    def _refuse_if_published(self, error: BaseException) -> None:
        """Raise if there is an entry with this id; otherwise the existing data may be replaced."""
        if self._published() is not None:
            self._may_have_data = False
            raise self._exists() from error

    def _exists(self) -> StorageError:
        return StorageError(f"cannot {self._what}: an entry with this id exists already")

    def _published(self) -> bytes | None:
        try:
            return read_meta(self._client, self._keys, self.file_id)
        except FileNotFound:
            return None

    def _take_back(self) -> None:
        """Remove what was stored, the metadata first; nothing if another write has published an entry with this id."""
        found = self._published()
        # A prefix of this write's metadata is also its own: from a PUT whose connection broke.
        if found is not None and (self._meta is None or not self._meta.startswith(found)):
            _log.warning("the failed write of %s leaves the entry alone that another one made", self.file_id)
            return
        what = f"discard {self.file_id}"
        if self._meta is not None:
            # Not found, but it may have arrived in the meantime.
            self._client.call("delete_object", what, self.file_id, Key=self._meta_key)
        self._client.call("delete_object", what, self.file_id, Key=self._data_key)
