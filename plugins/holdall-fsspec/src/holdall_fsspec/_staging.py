"""A write in progress: its data is stored under the final name, which is not read before the metadata exists."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from fsspec.spec import AbstractFileSystem

from holdall.backend import StagedFile
from holdall.errors import StorageError
from holdall_fsspec._place import DATA, META, Place

if TYPE_CHECKING:
    from holdall.backend import Buffer

__all__ = ["FsspecStagedFile", "temporary_name"]

_log = logging.getLogger("holdall_fsspec")

# Up to this size, a file is stored by one PUT; on a directory tree, larger files are written as they arrive.
_SPOOL_BYTES = 1024 * 1024
_SPOOL_BYTES_ON_TREE = 128 * 1024


def temporary_name() -> str:
    """A temporary name for metadata that is then moved to its final name."""
    return f".meta-{secrets.token_hex(6)}.tmp"


class FsspecStagedFile(StagedFile):
    """Small data is kept in memory until it is published; larger data goes to a writer of the filesystem.

    A writer is closed only to publish. To discard it, its upload is aborted or its file is removed: closing it, or
    letting it be garbage-collected, would complete a partial upload.
    """

    def __init__(self, place: Place, file_id: str) -> None:
        self._place = place
        self._id = file_id
        self._spool = bytearray()
        self._limit = _SPOOL_BYTES_ON_TREE if place.directories else _SPOOL_BYTES
        self._fs: AbstractFileSystem | None = None
        self._writer: Any = None
        self._temporary: str | None = None
        # What `discard` has to undo; set before the step that may cause it.
        self._begun = self._meta_sent = self._ended = False

    def write(self, chunk: Buffer) -> None:
        """See `StagedFile`."""
        with self._place.border("create", self._id), self._dropping_what_fails():
            if self._writer is None:
                if len(self._spool) + len(chunk) <= self._limit:
                    self._spool += chunk
                    return
                self._open_writer()
            # A copy, because the caller may change its memory while a buffered writer still holds it.
            self._writer.write(bytes(chunk))

    def publish(self, meta: bytes) -> None:
        """See `StagedFile`."""
        with self._place.border("create", self._id), self._dropping_what_fails():
            fs = self._begin()
            if self._writer is not None:
                self._writer.close()
            else:
                fs.pipe_file(self._place.path(self._id, DATA), bytes(self._spool))
            self._commit(fs, meta)
        self._ended = True
        self._writer = None
        self._release()

    def discard(self) -> None:
        """See `StagedFile`."""
        if self._ended:
            return
        self._ended = True
        self._spool.clear()
        if not self._begun:
            return
        writer, self._writer = self._writer, None
        if writer is not None:
            self._abort(writer)
        self._release()
        place = self._place
        with place.border("discard", self._id), place.pool.use() as fs:
            if self._meta_sent:
                place.remove_file(fs, place.path(self._id, META))
            elif place.info(fs, place.path(self._id, META)) is not None:
                return  # another writer has published an entry with the same id
            if self._temporary:
                place.remove_file(fs, self._temporary)
            place.remove_file(fs, place.path(self._id, DATA))
            if place.directories:
                place.remove_directory(fs, place.path(self._id))

    def _begin(self) -> AbstractFileSystem:
        """The instance that this write uses; creates the entry's directory."""
        if self._fs is not None:
            return self._fs
        place = self._place
        fs = self._fs = place.pool.take()
        # On an object store the check costs more than the upload of a small file, and ids are not reused.
        if not place.buckets:
            new = place.make_entry(fs, self._id)
            if (not new or not place.directories) and place.info(fs, place.path(self._id, META)) is not None:
                raise StorageError(f"cannot create {self._id}: an entry with this id exists already", file_id=self._id)
        self._begun = True
        return fs

    def _open_writer(self) -> None:
        fs = self._begin()
        size = None if self._place.directories else self._place.part_size
        self._writer = fs.open(self._place.path(self._id, DATA), "wb", block_size=size)
        self._writer.write(bytes(self._spool))
        self._spool.clear()

    def _commit(self, fs: AbstractFileSystem, meta: bytes) -> None:
        place = self._place
        target = place.path(self._id, META)
        if place.moves:
            self._temporary = place.path(self._id, temporary_name())
            fs.pipe_file(self._temporary, meta)
        self._meta_sent = True
        try:
            if self._temporary:
                place.move(fs, self._temporary, target)
            else:
                fs.pipe_file(target, meta)
        except Exception:
            # The request may have succeeded although its response was lost.
            if not self._is_there(meta):
                raise

    def _is_there(self, meta: bytes) -> bool:
        with contextlib.suppress(Exception), self._place.pool.use() as fs:
            return bytes(fs.cat_file(self._place.path(self._id, META))) == meta
        return False

    def _abort(self, writer: Any) -> None:
        """Abort an upload without completing it."""
        try:
            if self._place.directories:
                # It is an ordinary file, which is removed next.
                writer.close()
            elif hasattr(writer, "discard"):
                writer.discard()
        except Exception:  # noqa: BLE001 - the error that led here is the one the caller must see
            _log.debug("could not abort the upload of %s", self._id, exc_info=True)
        # A buffered writer completes its upload when it is garbage-collected, unless it is marked as closed.
        with contextlib.suppress(AttributeError):
            writer.closed = True

    @contextlib.contextmanager
    def _dropping_what_fails(self) -> Iterator[None]:
        """Do not use an instance again after an error: it may have lost its connection."""
        try:
            yield
        except BaseException:
            fs, self._fs = self._fs, None
            if fs is not None:
                self._place.pool.drop(fs)
            raise

    def _release(self) -> None:
        fs, self._fs = self._fs, None
        if fs is not None:
            self._place.pool.give_back(fs)
