"""Everything holdall raises.

The tree; each name in brackets is a built-in that the error also is::

    HoldallError
    ├── FileNotFound [FileNotFoundError]     no such entry, or it has expired
    │   └── InvalidFileId [ValueError]       this text can never be an id
    ├── FileTooLarge                         over a limit; nothing was stored
    ├── InvalidRequest [ValueError]          an argument is wrong; nothing was done
    ├── CorruptMetadata                      the entry is there, its meta.json is not readable
    ├── IntegrityError                       bytes differ from their size or SHA-256
    ├── StorageError [OSError]               the storage failed; the cause is chained
    │   ├── AccessDenied                     the storage refuses this user
    │   ├── StorageFull                      no space, or over a quota
    │   └── StorageUnavailable               retrying may help
    ├── InvalidStoreURL [ValueError]         the URL or one of its options is wrong
    │   └── UnknownScheme                    no installed backend has this scheme
    ├── PluginLoadError                      a backend is registered but does not load
    └── NotSupported                         the backend does not declare this capability

Every error carries `operation`, `file_id` and `backend` where they are known, survives pickling, and never holds a
secret of the store's URL.
"""

from __future__ import annotations

import errno
from typing import Any, TypeVar

__all__ = [
    "AccessDenied",
    "CorruptMetadata",
    "FileNotFound",
    "FileTooLarge",
    "HoldallError",
    "IntegrityError",
    "InvalidFileId",
    "InvalidRequest",
    "InvalidStoreURL",
    "NotSupported",
    "PluginLoadError",
    "StorageError",
    "StorageFull",
    "StorageUnavailable",
    "UnknownScheme",
    "attempted",
    "storage_error",
]


class HoldallError(Exception):
    """The base of every error that holdall raises.

    `str(error)` is one sentence for a person: what was attempted, on what, why it failed, what to do.
    """

    def __init__(
        self,
        message: str,
        *,
        operation: str | None = None,
        file_id: str | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__(message)
        self.operation = operation
        self.file_id = file_id
        self.backend = backend

    def __reduce__(self) -> tuple[Any, ...]:
        # OSError's own __reduce__ rebuilds from errno and strerror and would lose what is ours.
        state = dict(self.__dict__)
        if isinstance(self, OSError):
            state["errno"] = self.errno
        return _rebuild, (type(self), str(self), state)


_E = TypeVar("_E", bound=HoldallError)


def _rebuild(kind: type[_E], message: str, state: dict[str, Any]) -> _E:
    error = kind(message)
    for name, value in state.items():
        setattr(error, name, value)
    return error


class FileNotFound(HoldallError, FileNotFoundError):
    """No entry has this id, or the entry has expired. `errno` is `ENOENT`."""

    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message, **context)
        self.errno = errno.ENOENT


class InvalidFileId(FileNotFound, ValueError):
    """This text can never be a file id; no backend was asked."""


class FileTooLarge(HoldallError):
    """The bytes exceed a limit. Nothing was stored."""


class InvalidRequest(HoldallError, ValueError):
    """An argument is wrong. Nothing was done."""


class CorruptMetadata(HoldallError):
    """The entry exists, but its metadata cannot be read. `holdall verify` lists such entries."""


class IntegrityError(HoldallError):
    """The bytes differ from the size or SHA-256 they should have."""


class StorageError(HoldallError, OSError):
    """The storage failed; the original exception is the `__cause__`, its number (if any) is `errno`."""


class AccessDenied(StorageError):
    """The storage refuses this user: permissions or credentials need to change."""


class StorageFull(StorageError):
    """No space is left, or a quota is used up. Nothing was stored."""


class StorageUnavailable(StorageError):
    """The storage cannot answer now. Trying again may help."""


class InvalidStoreURL(HoldallError, ValueError):
    """The store's URL, or one of its options, is wrong. Nothing was opened."""


class UnknownScheme(InvalidStoreURL):
    """No installed backend has this scheme."""


class PluginLoadError(HoldallError):
    """A backend is registered but cannot be loaded, or two packages register the same name."""


class NotSupported(HoldallError):
    """The backend does not declare the capability this operation needs."""


# Operations whose names are not verbs.
_IN_WORDS = {"local_path": "give a local path", "signed_url": "sign a URL"}


def attempted(operation: str, subject: str | None = None) -> str:
    """What was attempted, on what, in the words that follow "cannot" in a message."""
    if operation in _IN_WORDS:
        return f"{_IN_WORDS[operation]} of {subject or 'a file'}"
    return f"{operation} {subject}" if subject else operation


_DENIED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
# EFBIG: the file-size limit of the process (setrlimit(2)) or of the file system.
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_UNAVAILABLE = frozenset(
    {
        errno.EAGAIN,
        errno.EBUSY,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.EMFILE,
        errno.ENETUNREACH,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EPIPE,
        errno.ESTALE,
        errno.ETIMEDOUT,
    }
)


def _classify(cause: OSError) -> tuple[type[StorageError], str]:
    if cause.errno in _DENIED or isinstance(cause, PermissionError):
        return AccessDenied, "check the permissions of the store's location"
    if cause.errno in _FULL:
        return StorageFull, "free some space or raise the quota"
    if cause.errno in _UNAVAILABLE or isinstance(cause, (ConnectionError, TimeoutError)):
        return StorageUnavailable, "try again"
    return StorageError, ""


def storage_error(
    cause: OSError,
    operation: str,
    *,
    file_id: str | None = None,
    backend: str | None = None,
    where: str | None = None,
) -> StorageError:
    """The kind of `StorageError` that fits the errno of an `OSError`; for backends, to be raised from it.

    `ENOENT` gives a plain `StorageError`: only the backend knows whether it means that an entry is absent.
    `operation` is a verb ("create", "read"), `where` a path or key to show if there is no `file_id`.
    """
    kind, advice = _classify(cause)
    reason = cause.strerror or str(cause) or type(cause).__name__
    place = f" on {backend}" if backend else ""
    error = kind(
        f"cannot {attempted(operation, file_id or where)}{place}: {reason}" + (f"; {advice}" if advice else ""),
        operation=operation,
        file_id=file_id,
        backend=backend,
    )
    error.errno = cause.errno
    return error
