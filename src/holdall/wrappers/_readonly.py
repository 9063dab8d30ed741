"""A storage that may be read and nothing else."""

from __future__ import annotations

import errno
from typing import NoReturn

from holdall.backend import Backend, Capability, Debris
from holdall.errors import AccessDenied
from holdall.wrappers._base import Wrapper

__all__ = ["ReadOnly"]


class ReadOnly(Wrapper):
    """Reading is as on `inner`; creating, deleting and sweeping are `AccessDenied`, and `inner` is not asked.

    That is what a file system that is mounted read-only says (its `errno` is `EROFS`), so an application that can live
    with one can live with this. What others write to the storage is seen as it comes and goes.
    `EXCLUSIVE_REMOVE` is not declared: of several who try to remove here, none succeeds.
    """

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.capabilities &= ~Capability.EXCLUSIVE_REMOVE

    def stage(self, file_id: str) -> NoReturn:
        """`AccessDenied`, before the source is read."""
        raise _read_only("create", file_id)

    def remove(self, file_id: str) -> NoReturn:
        """`AccessDenied`."""
        raise _read_only("delete", file_id)

    def discard_debris(self, debris: Debris) -> NoReturn:
        """`AccessDenied`; `sweep` with `dry_run` works."""
        raise _read_only("sweep", debris.file_id)


def _read_only(operation: str, file_id: str | None) -> AccessDenied:
    subject = " ".join(filter(None, (operation, file_id)))
    error = AccessDenied(
        f"cannot {subject}: the store is read-only; use a writable one",
        operation=operation,
        file_id=file_id,
    )
    error.errno = errno.EROFS
    return error
