"""Translation of obstore's exceptions to holdall's errors: one sentence each, with advice and without secrets.

obstore has few exception classes, and reports a server's error only as text, which quotes the response. Errors are
distinguished by the error code in that response, or by the HTTP status if there is no code.
"""

from __future__ import annotations

import os
import re
from types import TracebackType

from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from holdall import AccessDenied, FileNotFound, StorageError, StorageFull, StorageUnavailable
from holdall.errors import HoldallError, storage_error
from holdall_obstore._fork import enter

__all__ = ["Asking", "EntryExists", "NoConditions", "is_past_the_end"]


class EntryExists(StorageError):
    """There is already an object under this key."""


class NoConditions(StorageError):
    """The server does not support conditional requests."""


_CODE = re.compile(r"<Code>([\w.]+)</Code>|\"(?:code|error)\": ?\"([\w.]+)\"")
_STATUS = re.compile(r"status code: (\d{3})")
_OS_ERROR = re.compile(r"\(os error (\d+)\)")

_UNREACHABLE = "the server cannot be reached; check the network and the endpoint, and try again"
_BUSY = "the server is busy or failing; try again"
_NO_CREDENTIALS = "no credentials were found; set them in the environment, or anon=true for what is public"
_WRONG_REGION = "the bucket is in another region; set the option region"
_WRONG_KEY = "the server does not accept the access key or its signature; check the credentials"
_EXPIRED = "the credentials have expired; renew them"
_DENIED = "the server refuses these credentials; grant them the permissions that the README names"
_CLOCK = "this machine's clock differs too much from the server's; set it"
_NO_BUCKET = "the bucket does not exist; make it, or correct the URL"
_FULL = "no space or quota is left; free some or raise the quota"

_METADATA_HOSTS = ("169.254.169.254", "metadata.google.internal", "InstanceCredential")
_BY_CODE: dict[str, tuple[type[StorageError], str]] = {
    "NoSuchBucket": (StorageError, _NO_BUCKET),
    "ContainerNotFound": (StorageError, _NO_BUCKET),
    "NoSuchUpload": (StorageError, "the upload was aborted from outside while it went on; send it again"),
    "ExpiredToken": (AccessDenied, _EXPIRED),
    "TokenRefreshRequired": (AccessDenied, _EXPIRED),
    "RequestTimeTooSkewed": (AccessDenied, _CLOCK),
    "InvalidAccessKeyId": (AccessDenied, _WRONG_KEY),
    "InvalidToken": (AccessDenied, _WRONG_KEY),
    "SignatureDoesNotMatch": (AccessDenied, _WRONG_KEY),
    "AuthenticationFailed": (AccessDenied, _WRONG_KEY),
    "AccessDenied": (AccessDenied, _DENIED),
    "InvalidObjectState": (StorageError, "a rule has moved it to an archive; restore it there before it is read"),
    "PermanentRedirect": (StorageError, _WRONG_REGION),
    "TemporaryRedirect": (StorageError, _WRONG_REGION),
    "AuthorizationHeaderMalformed": (StorageError, _WRONG_REGION),
    "QuotaExceeded": (StorageFull, _FULL),
    "NotImplemented": (NoConditions, "the server does not know this kind of request; it may be no full S3"),
    "SlowDown": (StorageUnavailable, "the server asks to slow down; try again later, or with less at once"),
    "RequestTimeout": (StorageUnavailable, _BUSY),
}
_BY_STATUS: dict[int, tuple[type[StorageError], str]] = {
    301: (StorageError, _WRONG_REGION),
    307: (StorageError, _WRONG_REGION),
    401: (AccessDenied, _WRONG_KEY),
    403: (AccessDenied, _DENIED),
    408: (StorageUnavailable, _BUSY),
    429: (StorageUnavailable, _BUSY),
    501: (NoConditions, "the server does not know this kind of request; it may be no full S3"),
    507: (StorageFull, _FULL),
}
# Checked in this order, the most specific first.
_BY_TEXT: tuple[tuple[str, type[StorageError], str], ...] = (
    ("incorrectly configured region", StorageError, _WRONG_REGION),
    ("timed out", StorageUnavailable, "the server does not answer in time; try again"),
    ("TimedOut", StorageUnavailable, "the server does not answer in time; try again"),
    ("error sending request", StorageUnavailable, _UNREACHABLE),
    ("HTTP error", StorageUnavailable, _UNREACHABLE),
    ("HttpError", StorageUnavailable, _UNREACHABLE),
)


class Asking:
    """A context manager around requests: checks that this process can make any, and translates their exceptions.

    `FileNotFound` is only for an absent object; an absent bucket is a `StorageError`.
    """

    __slots__ = ("_file_id", "_operation", "_where")

    def __init__(self, where: str, operation: str, file_id: str | None = None) -> None:
        self._where = where
        self._operation = operation
        self._file_id = file_id

    def __enter__(self) -> None:
        enter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, HoldallError):
            return
        # An OSError with a number is a local error, which the store translates by its errno. One without a number is
        # how obstore's writer reports an error of the server when it is closed.
        if isinstance(error, (BaseError, FileNotFoundError)) or (isinstance(error, OSError) and error.errno is None):
            raise self._meant(error) from error

    def _meant(self, error: Exception) -> HoldallError:
        subject = f"cannot {self._operation} {self._file_id or 'files'} in {self._where}"
        text = str(error)
        found = _CODE.search(text)
        code = (found[1] or found[2]) if found else None
        if number := _OS_ERROR.search(text):
            cause = OSError(int(number[1]), os.strerror(int(number[1])))
            if not isinstance(error, (FileNotFoundError, AlreadyExistsError)):
                return storage_error(cause, self._operation, file_id=self._file_id, where=self._where)
        if code not in _BY_CODE:
            if isinstance(error, FileNotFoundError):
                return FileNotFound(f"there is no file {self._file_id}", file_id=self._file_id)
            if isinstance(error, (AlreadyExistsError, PreconditionError)):
                return EntryExists(f"{subject}: it exists already", file_id=self._file_id)
        kind, why = _reason(error, text, code)
        return kind(f"{subject}: {why}", file_id=self._file_id)


def _reason(error: Exception, text: str, code: str | None) -> tuple[type[StorageError], str]:
    if code in _BY_CODE:
        return _BY_CODE[code or ""]
    # Without configured credentials, obstore asks the machine's metadata service; that error is of no interest.
    if any(host in text for host in _METADATA_HOSTS):
        return AccessDenied, _NO_CREDENTIALS
    found = _STATUS.search(text)
    status = int(found[1]) if found else 0
    if status in _BY_STATUS:
        kind, why = _BY_STATUS[status]
    elif status >= 500:
        kind, why = StorageUnavailable, _BUSY
    elif status:
        kind, why = StorageError, "the server refuses the request"
    elif isinstance(error, PermissionDeniedError):
        kind, why = AccessDenied, _DENIED
    elif isinstance(error, UnauthenticatedError):
        kind, why = AccessDenied, _WRONG_KEY
    else:
        known = (entry for entry in _BY_TEXT if entry[0] in text)
        _, kind, why = next(known, ("", StorageError, f"obstore raised {type(error).__name__}"))
    return kind, why + (f" (it says {code})" if code else f" (HTTP status {status})" if status else "")


def is_past_the_end(error: BaseError) -> bool:
    """Whether this is obstore's error for a range that begins at or after the end of the object."""
    text = str(error)
    return "status code: 416" in text or "StartTooLarge" in text
