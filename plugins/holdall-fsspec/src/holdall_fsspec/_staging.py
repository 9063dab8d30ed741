"""A write in progress: its data under its final name, which nobody looks at before its metadata is there."""

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

# Up to here a file is one PUT; a directory tree takes it as it comes.
_SPOOL_BYTES = 1024 * 1024
_SPOOL_BYTES_ON_TREE = 128 * 1024


def temporary_name() -> str:
    """The name of metadata that is about to be moved to its place."""
    return f".meta-{secrets.token_hex(6)}.tmp"


class FsspecStagedFile(StagedFile):
    """What is small is kept until it is published; what is not goes to a writer of the filesystem's.

    A writer is closed only to publish. To discard, it is told so, or its file removed: closing it on the way out would
    complete an upload that is not whole, and so would dropping it.
    """

    def __init__(self, place: Place, file_id: str) -> None:
        self._place = place
        self._id = file_id
        self._spool = bytearray()
        self._limit = _SPOOL_BYTES_ON_TREE if place.directories else _SPOOL_BYTES
        self._fs: AbstractFileSystem | None = None
        self._writer: Any = None
        self._temporary: str | None = None
        # What discard has to take back, set before the step that may make it.
        self._begun = self._meta_sent = self._ended = False

    def write(self, chunk: Buffer) -> None:
        """See `StagedFile`."""
        with self._place.border("create", self._id), self._dropping_what_fails():
            if self._writer is None:
                if len(self._spool) + len(chunk) <= self._limit:
                    self._spool += chunk
                    return
                self._open_writer()
            # A copy: what a buffered writer keeps of it must not change with the caller's memory.
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
                return  # somebody else was given the same id, and has published it
            if self._temporary:
                place.remove_file(fs, self._temporary)
            place.remove_file(fs, place.path(self._id, DATA))
            if place.directories:
                place.remove_directory(fs, place.path(self._id))

    def _begin(self) -> AbstractFileSystem:
        """The instance that this write keeps, and the entry's directory."""
        if self._fs is not None:
            return self._fs
        place = self._place
        fs = self._fs = place.pool.take()
        # On an object store the question costs more than the upload of a small file, and ids are never given twice.
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
            # The answer may have been lost on its way, not the request.
            if not self._is_there(meta):
                raise
        self._temporary = None

    def _is_there(self, meta: bytes) -> bool:
        with contextlib.suppress(Exception), self._place.pool.use() as fs:
            return bytes(fs.cat_file(self._place.path(self._id, META))) == meta
        return False

    def _abort(self, writer: Any) -> None:
        """Give up an upload without completing it."""
        try:
            if self._place.directories:
                # No more than an ordinary file that is about to be removed.
                writer.close()
            elif hasattr(writer, "discard"):
                writer.discard()
        except Exception:  # noqa: BLE001 - the error that led here is the one the caller must see
            _log.debug("could not abort the upload of %s", self._id, exc_info=True)
        # A buffered writer completes its upload when it is dropped, unless it counts as closed.
        with contextlib.suppress(AttributeError):
            writer.closed = True

    @contextlib.contextmanager
    def _dropping_what_fails(self) -> Iterator[None]:
        """Do not use an instance again that has failed: it may have lost its connection."""
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
