"""What a store says: in an error about what cannot be, and in the log about what it could not do."""

from __future__ import annotations

import logging

import pytest
from tests import fakes

from holdall import AccessDenied, AsyncFileStore, FileStore, InvalidRequest, NotSupported


@pytest.fixture
def store():
    """A store on a backend that fails as it is told to."""
    return FileStore(fakes.Failing())


def test_a_clean_up_that_fails_as_the_write_did_needs_no_traceback(store, caplog):
    """As where credentials are missing: the log says why in one line. What nobody expected has its traceback, too."""
    denied = AccessDenied("no credentials were found")
    for cause, why, traced in ((denied, "no credentials were found", False), (KeyError("hush"), "KeyError", True)):
        store.backend.failures.update(publish=denied, discard=cause)
        with caplog.at_level(logging.WARNING, "holdall"), pytest.raises(AccessDenied):
            store.create("a", b"x", purpose="batch")
        (record,) = caplog.records
        assert record.getMessage().endswith(f"; sweep will: {why}")
        assert bool(record.exc_info) == traced
        caplog.clear()


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (
            lambda store, file_id: store.local_path(file_id),
            "cannot give a local path of {}: Failing has no local paths",
        ),
        (lambda store, file_id: store.signed_url(file_id, 60), "cannot sign a URL of {}: Failing has no signed URLs"),
    ],
)
def test_what_a_backend_cannot_do_is_told_with_another_way(store, call, why):
    """What was attempted, on which file, why not, and what to do instead."""
    file = store.create("a", b"x", purpose="batch")
    with pytest.raises(NotSupported) as caught:
        call(store, file.id)

    assert str(caught.value) == why.format(file.id) + "; read it through the store"
    assert caught.value.file_id == file.id


def test_a_store_is_made_of_a_backend_not_of_a_url():
    """Whoever passes a URL learns which function opens one; so with the asynchronous store."""
    for kind, why in (
        (FileStore, "backend is a value of type str; to open a URL, use holdall.open_store"),
        (AsyncFileStore, "store is a value of type str; to open a URL, use holdall.open_async_store"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            kind("memory://")
        assert str(caught.value) == why
