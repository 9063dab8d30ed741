"""Texts of obstore's that no server for tests provokes, and the errors that they become."""

from __future__ import annotations

import pytest
from holdall_obstore._errors import Asking, EntryExists, NoConditions
from obstore.exceptions import (
    AlreadyExistsError,
    GenericError,
    NotFoundError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from holdall import AccessDenied, FileNotFound, HoldallError, StorageError, StorageFull, StorageUnavailable

ID = "file-1"


def _meant(error: Exception) -> HoldallError:
    with pytest.raises(HoldallError) as caught, Asking("s3+obstore://b", "read", ID):
        raise error
    assert caught.value.__cause__ is error or caught.value is error
    return caught.value


def _xml(code: str) -> str:
    return f"Error performing GET: <Error><Code>{code}</Code><Message>hush</Message></Error>"


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (FileNotFoundError(_xml("NoSuchKey")), FileNotFound, "there is no file file-1"),
        (FileNotFoundError(_xml("NoSuchUpload")), StorageError, "send it again"),
        (FileNotFoundError('{"error": {"code": "ContainerNotFound"}}'), StorageError, "bucket does not exist"),
        (FileNotFoundError("Object at /x not found: No such file (os error 2)"), FileNotFound, "no file file-1"),
        (AlreadyExistsError("Object exists: File exists (os error 17)"), EntryExists, "exists already"),
        (PreconditionError("status code: 412"), EntryExists, "exists already"),
        (GenericError("No space left on device (os error 28)"), StorageFull, "file-1"),
        (GenericError("Permission denied (os error 13)"), AccessDenied, "file-1"),
        (GenericError(_xml("InvalidToken")), AccessDenied, "check the credentials"),
        (GenericError("Azure: <Code>AuthenticationFailed</Code>"), AccessDenied, "check the credentials"),
        (GenericError("status code: 501"), NoConditions, "no full S3"),
        (GenericError(_xml("NotImplemented")), NoConditions, "no full S3"),
        (GenericError("status code: 599"), StorageUnavailable, "try again"),
        (GenericError("status code: 418"), StorageError, "HTTP status 418"),
        (GenericError("GET http://169.254.169.254/latest: status code: 404"), AccessDenied, "no credentials"),
        (GenericError("error sending request for http://metadata.google.internal/x"), AccessDenied, "no credentials"),
        (GenericError("operation timed out"), StorageUnavailable, "in time"),
        (GenericError("kind: TimedOut"), StorageUnavailable, "in time"),
        (GenericError("error sending request for url"), StorageUnavailable, "cannot be reached"),
        (GenericError("incorrectly configured region"), StorageError, "region"),
        (PermissionDeniedError("no more is said"), AccessDenied, "permissions"),
        (UnauthenticatedError("no more is said"), AccessDenied, "check the credentials"),
        (GenericError("something new: hush"), StorageError, "obstore raised GenericError"),
        (OSError(_xml("SlowDown")), StorageUnavailable, "slow down"),
    ],
    ids=lambda value: str(value)[-40:] if isinstance(value, Exception) else "",
)
def test_each_text_is_one_kind_of_error(error: Exception, kind: type[HoldallError], said: str) -> None:
    """What may succeed later, what needs the user and what is not there are told apart, without the server's text."""
    meant = _meant(error)
    assert type(meant) is kind
    assert said in str(meant)
    assert "hush" not in str(meant)


def test_what_is_no_error_of_obstores_passes() -> None:
    """An error of holdall's own keeps its text, and a number of the system's is for the store to tell."""
    own = FileNotFound("as it was", file_id=ID)
    assert _meant(own) is own
    with pytest.raises(OSError, match="Interrupted"), Asking("x", "read"):
        raise OSError(4, "Interrupted")
    with pytest.raises(KeyError), Asking("x", "read"):
        raise KeyError(NotFoundError)
