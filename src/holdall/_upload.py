"""An upload in progress: counted, hashed and limited while it is written, invisible until it is complete."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING, Any, Self

from holdall import _arguments as arguments
from holdall._hashing import Sha256
from holdall._sources import pieces
from holdall.errors import FileTooLarge, HoldallError, IntegrityError, InvalidRequest
from holdall.model import FileObject, FilePurpose, assemble, encode_meta

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from holdall._guard import Guard
    from holdall.backend import Buffer, StagedFile

__all__ = ["Upload", "too_large"]

_SHOWN_CHARACTERS = 80

_log = logging.getLogger("holdall")


class Upload:
    """What `FileStore.begin` returns: data is appended with `write`, and the file is invisible until `finish`.

    A context manager: leaving it unfinished discards it. Not safe for concurrent use by several threads.
    """

    def __init__(
        self,
        staged: StagedFile,
        guard: Guard,
        fields: dict[str, Any],
        *,
        limit: int,
        expected_bytes: int | None,
        expected_sha256: str | None,
        on_published: Callable[[FileObject, bytes], None],
    ) -> None:
        self._staged = staged
        self._guard = guard
        self._fields = fields
        self._limit = limit
        self._expected_bytes = expected_bytes
        self._expected_sha256 = expected_sha256
        self._on_published = on_published
        self._size = 0
        self._digest = Sha256()
        self._ended = False
        # Whether everything passed to `write` has been written.
        self._whole = True

    @property
    def file_id(self) -> str:
        """The id that the file will have."""
        return str(self._fields["id"])

    @property
    def ended(self) -> bool:
        """Whether it was finished or discarded."""
        return self._ended

    def write(self, chunk: Buffer) -> None:
        """Append all of `chunk`, any bytes-like object. Its memory may be reused once this returns.

        Raises `FileTooLarge` or `IntegrityError`, and writes nothing, if the limit or the expected size would be
        exceeded; `InvalidRequest` if `chunk` is not bytes. After an error the upload can only be discarded: any other
        call raises `InvalidRequest`.
        """
        self._check_whole("write to")
        self._whole = False
        for piece in pieces(chunk):
            self.append(piece)
        self._whole = True

    def append(self, chunk: Buffer) -> None:
        """Append a chunk made by `pieces` or `chunks`, without checking its type or splitting it again."""
        if self._ended:
            raise InvalidRequest(
                f"cannot write to the upload of {_shown(self._fields['filename'])}: it has ended; begin another",
                operation="create",
            )
        self._size += len(chunk)
        if self._size > self._limit:
            raise too_large(self._fields["filename"], self._limit)
        if self._expected_bytes is not None and self._size > self._expected_bytes:
            raise self._unexpected_size(f"over {self._expected_bytes}")
        with self._guard:
            self._digest.update(chunk, self._staged.write)

    def finish(
        self, *, purpose: FilePurpose | str | None = None, expires_after: float | dt.timedelta | None = None
    ) -> FileObject:
        """Publish the file, and return what was stored. Once this returns, every reader sees all of it.

        `purpose` and `expires_after` replace those given to `begin`, for callers who learn them only after the data.
        If this raises, nothing is stored and the upload is discarded. Raises `IntegrityError` if the bytes are not the
        expected ones.
        """
        try:
            if self._ended:
                raise InvalidRequest("cannot finish an upload that has ended; begin another", operation="create")
            self._check_whole("finish")
            if purpose is not None:
                self._fields["purpose"] = arguments.purpose(purpose)
            if (lifetime := arguments.lifetime(expires_after)) is not None:
                self._fields["expires_at"] = self._fields["created_at"] + lifetime
            file = self._checked()
            meta = encode_meta(file)
            with self._guard:
                self._staged.publish(meta)
        except BaseException:
            self.discard()
            raise
        self._ended = True
        self._on_published(file, meta)
        return file

    def discard(self) -> None:
        """Drop what was written. After `finish`, or on a second call, does nothing.

        Does not raise if the storage fails: what could not be cleaned up is logged, and `sweep` will remove it.
        """
        if self._ended:
            return
        self._ended = True
        try:
            self._staged.discard()
        except Exception as error:  # noqa: BLE001 - the error that led here is the one the caller must see
            not_cleaned_up("write", self.file_id, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()

    def _check_whole(self, what: str) -> None:
        # Otherwise a file with part of a chunk missing would be published as if it were complete.
        if not self._whole:
            raise InvalidRequest(
                f"cannot {what} the upload of {_shown(self._fields['filename'])}: a write failed; begin another",
                operation="create",
            )

    def _checked(self) -> FileObject:
        if self._expected_bytes is not None and self._size != self._expected_bytes:
            raise self._unexpected_size(str(self._size))
        sha256 = self._digest.hexdigest()
        if self._expected_sha256 is not None and sha256 != self._expected_sha256:
            raise IntegrityError(
                f"cannot create {_shown(self._fields['filename'])}: its SHA-256 is {sha256}, "
                f"expected was {self._expected_sha256}; send it again",
                operation="create",
            )
        return assemble(self._fields | {"bytes": self._size, "sha256": sha256})

    def _unexpected_size(self, got: str) -> IntegrityError:
        return IntegrityError(
            f"cannot create {_shown(self._fields['filename'])}: {self._expected_bytes} bytes were expected, "
            f"the source gave {got}; send it again",
            operation="create",
        )


def not_cleaned_up(what: str, file_id: str, error: Exception) -> None:
    """Log that something may be left of a failed write or copy.

    Most often for the reason for which that failed, such as missing credentials, which takes no traceback to explain.
    """
    expected = isinstance(error, HoldallError)
    why = str(error) if expected else type(error).__name__
    _log.warning("could not clean up the failed %s of %s; sweep will: %s", what, file_id, why, exc_info=not expected)


def too_large(filename: str, limit: int) -> FileTooLarge:
    """The error for a source that exceeds the limit, in bytes."""
    return FileTooLarge(
        f"cannot create {_shown(filename)}: it is larger than the limit of {limit} bytes; "
        "raise max_bytes or split the file",
        operation="create",
    )


def _shown(filename: str) -> str:
    return repr(filename if len(filename) <= _SHOWN_CHARACTERS else filename[: _SHOWN_CHARACTERS - 1] + "…")
