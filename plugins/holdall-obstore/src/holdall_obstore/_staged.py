"""A write: in memory up to the size of a part, then as a multipart upload; the metadata last."""

from __future__ import annotations

import contextlib
import logging
import weakref
from typing import TYPE_CHECKING

import obstore

from holdall import FileNotFound, HoldallError, StorageError
from holdall.backend import StagedFile
from holdall_obstore._errors import EntryExists, NoConditions
from holdall_obstore._fork import enter

if TYPE_CHECKING:
    from obstore import WritableFile

    from holdall.backend import Buffer
    from holdall_obstore._backend import ObstoreBackend

__all__ = ["StagedObject", "is_alive"]

_log = logging.getLogger("holdall")

# Smaller chunks are combined, because each one has an overhead of many times its size.
_PIECE_BYTES = 64 * 1024

# The running writes of this process. Weak references: a write that was garbage-collected counts as dead.
_alive: weakref.WeakValueDictionary[str, StagedObject] = weakref.WeakValueDictionary()


def is_alive(file_id: str) -> bool:
    """Whether this process is currently writing that entry."""
    return file_id in _alive


class StagedObject(StagedFile):
    """Data is sent to the server once it exceeds a part; until then it is in memory."""

    def __init__(self, backend: ObstoreBackend, file_id: str) -> None:
        self._backend = backend
        self._file_id = file_id
        self._pieces: list[bytes] = []
        self._small = bytearray()
        self._size = 0
        self._writer: WritableFile | None = None
        self._data_may_be_there = False
        self._meta: bytes | None = None
        self._finished = False
        self._asking = backend.asking("create", file_id)
        _alive[file_id] = self

    def write(self, chunk: Buffer) -> None:
        # A copy, because obstore keeps references to the data, and the caller may reuse its memory.
        data = chunk if isinstance(chunk, bytes) else bytes(chunk)
        if self._writer is not None:
            with self._asking:
                self._writer.write(data)
            return
        self._size += len(data)
        self._small += data
        if len(self._small) >= _PIECE_BYTES:
            # Kept as separate pieces, so that they can be passed on without copying.
            self._pieces.append(bytes(self._small) if len(self._small) > len(data) else data)
            self._small.clear()
        if self._size > self._backend.part_size:
            self._begin_multipart()

    def _begin_multipart(self) -> None:
        with self._asking:
            self._writer = obstore.open_writer(
                self._backend.store,
                self._backend.data_key(self._file_id),
                buffer_size=self._backend.part_size,
                max_concurrency=self._backend.max_concurrency,
            )
            for piece in self._take_pieces():
                self._writer.write(piece)

    def _take_pieces(self) -> list[bytes]:
        """Take the data out of memory."""
        pieces, self._pieces = [*self._pieces, bytes(self._small)], []
        self._small = bytearray()
        return pieces

    def publish(self, meta: bytes) -> None:
        # In a forked child this raises before anything is sent, so there is nothing to undo.
        enter()
        in_parts = self._writer is not None
        try:
            self._put_data()
            self._put_meta(bytes(meta))
            if in_parts:
                self._check_data()
        except BaseException:
            # A write that is reported as failed must not be visible.
            try:
                self.discard()
            except Exception as error:  # noqa: BLE001 - the error that led here is the one the caller must see
                # Most often the reason for which the write failed, which takes no traceback to explain.
                expected = isinstance(error, HoldallError)
                why = error if expected else type(error).__name__
                what = "could not clean up the failed write of %s; sweep will: %s"
                _log.warning(what, self._file_id, why, exc_info=not expected)
            raise
        self._finish()

    def discard(self) -> None:
        if self._finished:
            return
        self._finish()
        writer, self._writer = self._writer, None
        if writer is not None:
            # An exception makes the writer abort; `close` would complete the partial upload.
            abort = StorageError("the upload was discarded")
            with self._asking:
                writer.__exit__(StorageError, abort, None)
        if self._data_may_be_there:
            self._take_back()
        self._backend.discarded(self._file_id)

    def _put_data(self) -> None:
        key = self._backend.data_key(self._file_id)
        if self._writer is None:
            data = b"".join(self._take_pieces())
            try:
                self._put(key, data)
            except EntryExists:
                self._refuse_to_replace()
                # Data without metadata: of an interrupted write, or of this one, if the response to a first attempt was
                # lost.
                self._data_may_be_there = True
                with self._asking:
                    self._backend.store.put(key, data, use_multipart=False)
            except BaseException:
                self._data_may_be_there = True
                raise
        else:
            # The completion of a multipart upload cannot be made conditional.
            self._refuse_to_replace()
            self._data_may_be_there = True
            # Closed only once: obstore has already aborted what it could not complete, and closing again would raise a
            # different error.
            writer, self._writer = self._writer, None
            with self._asking:
                writer.close()
        self._data_may_be_there = True

    def _put_meta(self, meta: bytes) -> None:
        self._meta = meta
        try:
            self._put(self._backend.meta_key(self._file_id), meta)
        except StorageError as error:
            # The response may have been lost, and the request repeated: what matters is what is stored.
            found = self._backend.find_meta(self._file_id)
            if found is None:
                raise
            if not meta.startswith(found):
                raise self._exists() from error
            if found != meta:
                # Some servers store the partial data of a PUT whose connection broke; then the condition fails.
                with self._asking:
                    self._backend.store.put(self._backend.meta_key(self._file_id), meta, use_multipart=False)

    def _check_data(self) -> None:
        """A completed multipart upload may look old at once, because S3 counts its age from its beginning, so that a
        sweep elsewhere removes it as a leftover.
        """
        try:
            with self._asking:
                self._backend.store.head(self._backend.data_key(self._file_id))
        except FileNotFound as error:
            raise StorageError(
                f"cannot create {self._file_id}: a sweep removed its data as a leftover; send it again, and "
                "sweep with a larger older_than"
            ) from error

    def _put(self, key: str, data: bytes) -> None:
        """A single PUT that does not replace an object, if the server supports this."""
        if self._backend.conditional:
            try:
                with self._asking:
                    self._backend.store.put(key, data, mode="create")
            except NoConditions:
                self._backend.conditional = False
            else:
                return
        with self._asking:
            self._backend.store.put(key, data, use_multipart=False)

    def _refuse_to_replace(self) -> None:
        if self._backend.find_meta(self._file_id) is not None:
            raise self._exists()

    def _exists(self) -> StorageError:
        return StorageError(f"cannot create {self._file_id}: an entry with this id exists already")

    def _take_back(self) -> None:
        """Remove what was stored, unless it belongs to an entry that another writer has published."""
        found = self._backend.find_meta(self._file_id)
        # A prefix of this write's metadata is also its own: from a PUT whose connection broke.
        if found is not None and (self._meta is None or not self._meta.startswith(found)):
            return
        if found is not None:
            with contextlib.suppress(FileNotFound):
                self._backend.delete_meta(self._file_id)
        self._backend.remove_data(self._file_id)

    def _finish(self) -> None:
        self._finished = True
        self._take_pieces()
        if _alive.get(self._file_id) is self:
            del _alive[self._file_id]
