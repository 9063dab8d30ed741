"""Translation of client exceptions to holdall's errors. An `OSError` with a number passes: holdall translates it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from holdall.errors import (
    AccessDenied,
    FileNotFound,
    HoldallError,
    StorageError,
    StorageFull,
    StorageUnavailable,
)
from holdall.url import StoreURL

__all__ = ["Border", "absent", "is_absent", "is_denied"]

_SHOWN_CHARACTERS = 200

_ADVICE = {
    AccessDenied: "check the credentials and their permissions",
    StorageFull: "free some space or raise the quota",
    StorageUnavailable: "try again",
}
_NOT_FOUND = 404
_BY_STATUS = {
    401: AccessDenied,
    403: AccessDenied,
    407: AccessDenied,
    408: StorageUnavailable,
    423: StorageUnavailable,
    429: StorageUnavailable,
    507: StorageFull,
}
# The reply code of an FTP server: RFC 959, section 4.2.
_BY_FTP_ANSWER = {"530": AccessDenied, "532": AccessDenied, "552": StorageFull}
# Parts of exception class names: the libraries share no base class, and are not imported here.
_BY_NAME = (
    (
        (
            *("Timeout", "Connect", "Disconnect", "EOFError", "SSHException", "ProtocolError", "error_temp"),
            # Unreachable, or interrupted during a response: names in azure, httpx, aiohttp, requests and http.client.
            *("ServiceRequestError", "ServiceResponseError", "NetworkError", "ClientPayloadError", "ChunkedEncoding"),
            "IncompleteRead",
        ),
        StorageUnavailable,
    ),
    (("Auth", "Credential", "Permission", "Forbidden"), AccessDenied),
)


def absent(file_id: str) -> FileNotFound:
    """The error for an entry that does not exist."""
    return FileNotFound(f"there is no file {file_id}", file_id=file_id)


class Border:
    """Turns exceptions of the filesystem into holdall's errors, without secrets of the URL."""

    def __init__(self, url: StoreURL) -> None:
        self._url = url

    @contextlib.contextmanager
    def __call__(self, operation: str, file_id: str | None = None) -> Iterator[None]:
        """Wraps a call for which a missing path means a missing location: a bucket or directory that was removed."""
        try:
            yield
        except HoldallError:
            raise
        except FileNotFoundError as error:
            raise self.gone(operation, file_id) from error
        except OSError as error:
            if (kind := _by_name(error)) is None:
                raise
            raise self._error(kind, operation, file_id, error) from error
        except Exception as error:
            raise self._error(_kind(error), operation, file_id, error) from error

    def gone(self, operation: str, file_id: str | None = None) -> StorageError:
        """The error for a store whose location does not exist."""
        subject = " ".join(filter(None, (operation, file_id)))
        return StorageError(
            f"cannot {subject}: the bucket or directory of {self._url} does not exist; create it, or correct the URL",
            operation=operation,
            file_id=file_id,
        )

    def _error(
        self, kind: type[StorageError], operation: str, file_id: str | None, error: BaseException
    ) -> StorageError:
        subject = " ".join(filter(None, (operation, file_id)))
        said = " ".join(self._url.redact(str(error)).split())[:_SHOWN_CHARACTERS]
        why = f"{type(error).__name__}: {said}" if said else type(error).__name__
        advice = f"; {_ADVICE[kind]}" if kind in _ADVICE else ""
        return kind(f"cannot {subject} on {self._url}: {why}{advice}", operation=operation, file_id=file_id)


def _kind(error: BaseException) -> type[StorageError]:
    status = _status(error)
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is not None and status >= 500:
        return StorageUnavailable
    if (kind := _BY_FTP_ANSWER.get(str(error)[:3])) and type(error).__module__ == "ftplib":
        return kind
    return _by_name(error) or StorageError


def is_absent(error: BaseException) -> bool:
    """Whether an error of a read means that the file does not exist; webdav4 reports this only as a status."""
    # A file in the place of the directory is not an entry either.
    return isinstance(error, (FileNotFoundError, NotADirectoryError)) or _status(error) == _NOT_FOUND


def is_denied(error: BaseException) -> bool:
    """Whether a client's error means that the user lacks permission."""
    return isinstance(error, PermissionError) or _kind(error) is AccessDenied


def _by_name(error: BaseException) -> type[StorageError] | None:
    """The error type according to the names of the exception's classes; None if its errno is more precise."""
    if isinstance(error, OSError) and error.errno is not None:
        return None
    if str(error).startswith("Forbidden"):  # gcsfs reports 403 like this, as an OSError without a number
        return AccessDenied
    names = [cls.__name__ for cls in type(error).__mro__ if cls.__module__ != "builtins" or cls is EOFError]
    for parts, kind in _BY_NAME:
        if any(part in name for part in parts for name in names):
            return kind
    return None


def _status(error: BaseException) -> int | None:
    """The HTTP status of an error, in any of the attributes that libraries use."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
    return None
