"""Taking in the bytes of a new file: counted, hashed and held against what was expected while they are written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from holdall.errors import FileTooLarge, IntegrityError

if TYPE_CHECKING:
    from holdall.backend import Buffer

__all__ = ["take_in", "too_large"]

_SHOWN_CHARACTERS = 80


def take_in(
    chunks: Iterable[Buffer],
    write: Callable[[Buffer], None],
    guard: AbstractContextManager[None],
    filename: str,
    *,
    limit: int,
    expected_bytes: int | None,
    expected_sha256: str | None,
) -> tuple[int, str]:
    """Write all chunks; the size in bytes and the SHA-256 of what was written.

    No chunk is written that passes the limit or the expected size. `guard` is entered around each write and nothing
    else: the source's exceptions come through unchanged. Raises `FileTooLarge` and `IntegrityError`.
    """
    size = 0
    digest = hashlib.sha256()
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise too_large(filename, limit)
        if expected_bytes is not None and size > expected_bytes:
            raise _unexpected_size(filename, expected_bytes, f"over {expected_bytes}")
        digest.update(chunk)
        with guard:
            write(chunk)
    if expected_bytes is not None and size != expected_bytes:
        raise _unexpected_size(filename, expected_bytes, str(size))
    sha256 = digest.hexdigest()
    if expected_sha256 is not None and sha256 != expected_sha256:
        raise IntegrityError(
            f"cannot create {_shown(filename)}: its SHA-256 is {sha256}, expected was {expected_sha256}; send it again",
            operation="create",
        )
    return size, sha256


def too_large(filename: str, limit: int) -> FileTooLarge:
    """The error for a source that is over the limit, in bytes."""
    return FileTooLarge(
        f"cannot create {_shown(filename)}: it is larger than the limit of {limit} bytes; "
        "raise max_bytes or split the file",
        operation="create",
    )


def _unexpected_size(filename: str, expected: int, got: str) -> IntegrityError:
    return IntegrityError(
        f"cannot create {_shown(filename)}: {expected} bytes were expected, the source gave {got}; send it again",
        operation="create",
    )


def _shown(filename: str) -> str:
    return repr(filename if len(filename) <= _SHOWN_CHARACTERS else filename[: _SHOWN_CHARACTERS - 1] + "…")
