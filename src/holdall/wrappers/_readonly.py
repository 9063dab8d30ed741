"""A wrapper that only allows reading."""

from __future__ import annotations

import errno
from typing import NoReturn

from holdall.backend import Backend, Capability, Debris
from holdall.errors import AccessDenied
from holdall.wrappers._base import Wrapper

__all__ = ["ReadOnly"]


class ReadOnly(Wrapper):
    """Reading works as on `inner`; creating, deleting and sweeping raise `AccessDenied` without calling `inner`.

    The errors are those of a file system that is mounted read-only (`errno` is `EROFS`), so an application that handles
    one handles the other. Changes that others make to the storage are visible. `EXCLUSIVE_REMOVE` is not declared,
    because no attempt to remove succeeds here.
    """

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.capabilities &= ~Capability.EXCLUSIVE_REMOVE

    def stage(self, file_id: str) -> NoReturn:
        """Raises `AccessDenied`, before the source is read."""
        raise _read_only("create", file_id)

    def remove(self, file_id: str) -> NoReturn:
        """Raises `AccessDenied`."""
        raise _read_only("delete", file_id)

    def discard_debris(self, debris: Debris) -> NoReturn:
        """Raises `AccessDenied`; `sweep` with `dry_run` works."""
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
