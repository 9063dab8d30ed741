"""Errors: a small tree, built-in where Python has a name for it, whole after a pickle."""

from __future__ import annotations

import copy
import errno
import os
import pickle

import pytest

from holdall import errors
from holdall.errors import (
    AccessDenied,
    FileNotFound,
    HoldallError,
    InvalidFileId,
    StorageError,
    StorageFull,
    StorageUnavailable,
    storage_error,
)

KINDS = [getattr(errors, name) for name in errors.__all__ if name not in {"attempted", "storage_error"}]

BASES = {
    "AccessDenied": {StorageError, OSError},
    "CorruptMetadata": set(),
    "FileNotFound": {FileNotFoundError},
    "FileTooLarge": set(),
    "HoldallError": set(),
    "IntegrityError": set(),
    "InvalidFileId": {FileNotFound, FileNotFoundError, ValueError},
    "InvalidRequest": {ValueError},
    "InvalidStoreURL": {ValueError},
    "NotSupported": set(),
    "PluginLoadError": set(),
    "StorageError": {OSError},
    "StorageFull": {StorageError, OSError},
    "StorageUnavailable": {StorageError, OSError},
    "UnknownScheme": {errors.InvalidStoreURL, ValueError},
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_tree_is_as_it_is_drawn(kind):
    """Whoever catches a built-in catches ours where the tree says so, and nowhere else."""
    possible = {FileNotFoundError, OSError, ValueError, StorageError, FileNotFound, errors.InvalidStoreURL}
    expected = BASES[kind.__name__] | ({OSError} if FileNotFoundError in BASES[kind.__name__] else set())

    assert issubclass(kind, HoldallError)
    assert {base for base in possible if issubclass(kind, base)} - {kind} == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_an_error_survives_being_sent_elsewhere(kind, again):
    """After a pickle the sentence, the fields, the errno and notes are the same."""
    error = kind("cannot do it", operation="get", file_id="file-a", backend="memory://")
    error.add_note("a note")
    if isinstance(error, OSError):
        error.errno = error.errno or errno.EIO
    other = again(error)

    assert type(other) is kind
    assert str(other) == "cannot do it"
    assert vars(other) == vars(error)
    assert getattr(other, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize("kind", [FileNotFound, InvalidFileId])
def test_what_is_not_found_has_the_errno_of_that(kind):
    """Code that looks at `errno` works too."""
    assert kind("no").errno == errno.ENOENT
    assert kind("no").operation is None


class _Foreign(OSError):
    """As client libraries have them: Python makes no `PermissionError` or the like of one."""


@pytest.mark.parametrize("cause", [OSError, _Foreign])
@pytest.mark.parametrize(
    ("number", "kind", "advice"),
    [
        (errno.EACCES, AccessDenied, "; check the permissions of the store's location"),
        (errno.EPERM, AccessDenied, "; check the permissions of the store's location"),
        (errno.EROFS, AccessDenied, "; check the permissions of the store's location"),
        (errno.ENOSPC, StorageFull, "; free some space or raise the quota"),
        (errno.EDQUOT, StorageFull, "; free some space or raise the quota"),
        (errno.EFBIG, StorageFull, "; free some space or raise the quota"),
        (errno.EAGAIN, StorageUnavailable, "; try again"),
        (errno.EBUSY, StorageUnavailable, "; try again"),
        (errno.ECONNREFUSED, StorageUnavailable, "; try again"),
        (errno.ECONNRESET, StorageUnavailable, "; try again"),
        (errno.EHOSTUNREACH, StorageUnavailable, "; try again"),
        (errno.EMFILE, StorageUnavailable, "; try again"),
        (errno.ENETUNREACH, StorageUnavailable, "; try again"),
        (errno.ENFILE, StorageUnavailable, "; try again"),
        (errno.ENOMEM, StorageUnavailable, "; try again"),
        (errno.EPIPE, StorageUnavailable, "; try again"),
        (errno.ESTALE, StorageUnavailable, "; try again"),
        (errno.ETIMEDOUT, StorageUnavailable, "; try again"),
        (errno.EIO, StorageError, ""),
        (errno.ENOENT, StorageError, ""),
    ],
)
def test_an_oserror_becomes_the_kind_that_fits(number, kind, advice, cause):
    """The sentence says what was attempted, on what, where, why and what to do; the number is kept."""
    reason = os.strerror(number)
    error = storage_error(cause(number, reason), "create", file_id="file-a", backend="file:///x")

    assert type(error) is kind
    assert str(error) == f"cannot create file-a on file:///x: {reason}{advice}"
    assert (error.operation, error.file_id, error.backend, error.errno) == ("create", "file-a", "file:///x", number)


@pytest.mark.parametrize(
    ("cause", "kind", "message"),
    [
        (
            PermissionError(),
            AccessDenied,
            "cannot open: PermissionError; check the permissions of the store's location",
        ),
        (TimeoutError("slow"), StorageUnavailable, "cannot open: slow; try again"),
        (ConnectionRefusedError(), StorageUnavailable, "cannot open: ConnectionRefusedError; try again"),
        (OSError(), StorageError, "cannot open: OSError"),
    ],
)
def test_an_oserror_without_a_number_is_judged_by_its_type(cause, kind, message):
    """Client libraries raise such ones."""
    error = storage_error(cause, "open")

    assert type(error) is kind
    assert str(error) == message
    assert error.errno is None
