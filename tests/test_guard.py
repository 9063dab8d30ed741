"""The border to a backend: whatever it raises reaches the caller as a holdall error that says what was attempted."""

from __future__ import annotations

import pytest
from tests import fakes

from holdall import AccessDenied, FileStore, HoldallError, NotSupported, StorageError, StoreURL


@pytest.fixture
def store():
    return FileStore(fakes.Failing())


CALLS = {
    "stage": ("create", lambda s, i: s.create("a", b"", purpose="batch")),
    "read_meta": ("get", lambda s, i: s.get(i)),
    "open_data": ("read", lambda s, i: s.get_content(i)),
    "list_ids": ("list", lambda s, i: s.list()),
    "remove": ("delete", lambda s, i: s.delete(i)),
    "close": ("close", lambda s, i: s.close()),
}


@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (RuntimeError("Zq7secret in a client's words"), StorageError),
        (KeyError("Contents"), StorageError),
        (MemoryError(), StorageError),
        (PermissionError(13, "Permission denied"), AccessDenied),
        (FileNotFoundError(2, "No such file or directory"), StorageError),
    ],
)
def test_no_exception_of_a_backend_crosses(verb, cause, kind):
    """Whatever a backend raises becomes a holdall error that says what was attempted, with the original as cause."""
    url = StoreURL.parse("fake://u:Zq7secret@host")
    store = FileStore(fakes.Failing(), url=url)
    file = store.create("a", b"x", purpose="batch")
    store.backend.failures[verb] = cause
    operation, call = CALLS[verb]
    with pytest.raises(HoldallError) as caught:
        call(store, file.id)

    error = caught.value
    assert type(error) is kind
    assert error.__cause__ is cause
    assert (error.operation, error.backend) == (operation, "fake://u:***@host")
    assert str(error).startswith(f"cannot {operation}")
    assert "on fake://u:***@host" in str(error)
    assert "Zq7" not in str(error)


def test_a_holdall_error_of_a_backend_is_completed(store):
    """A backend need not say which store and operation it was called for; what it says stays."""
    cause = NotSupported("no", operation="its own")
    store.backend.failures["read_meta"] = cause
    with pytest.raises(NotSupported) as caught:
        store.get("file-a")

    assert caught.value is cause
    assert (cause.operation, cause.file_id, cause.backend) == ("its own", "file-a", "Failing")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_in_a_backend_passes_unchanged(store, kind):
    """It is nobody's storage error."""
    store.backend.failures["read_meta"] = kind()
    with pytest.raises(kind):
        store.get("file-a")


@pytest.mark.parametrize(
    ("operation", "words", "call"),
    [
        ("local_path", "give a local path of", lambda store, file_id: store.local_path(file_id)),
        ("signed_url", "sign a URL of", lambda store, file_id: store.signed_url(file_id, 60)),
    ],
)
def test_an_operation_whose_name_is_no_verb_is_told_in_words(store, monkeypatch, operation, words, call):
    """In every message that begins with "cannot"; `operation` remains the name of the method."""

    def told(file_id):
        with pytest.raises(HoldallError) as caught:
            call(store, file_id)
        assert caught.value.operation == operation
        return str(caught.value)

    file = store.create("a", b"", purpose="batch")
    for cause in (PermissionError(13, "Permission denied"), RuntimeError()):
        monkeypatch.setitem(store.backend.failures, "read_meta", cause)
        assert told(file.id).startswith(f"cannot {words} {file.id} on Failing: ")
    store.backend.failures.clear()
    assert told("x").startswith(f"cannot {words} 'x': ")
    store._clock = fakes.Clock(2e9)
    expired = store.create("a", b"", purpose="batch", expires_after=1)
    store._clock.now += 10**9
    assert told(expired.id) == f"cannot {words} {expired.id}: it expired"
    store.close()
    assert told(file.id).startswith(f"cannot {words} a file: this store was closed")
