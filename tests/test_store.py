"""The store's own logic over small fake backends: limits, checks, expiry, and what crosses the border to a backend."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import logging
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import fakes, strategies

from holdall import (
    FileNotFound,
    FileObject,
    FilePurpose,
    FileStore,
    FileTooLarge,
    IntegrityError,
    InvalidRequest,
    StorageFull,
    StoreURL,
)
from holdall import _arguments as arguments
from holdall.backend import Limits
from holdall.model import decode_meta

SHA = hashlib.sha256(b"content").hexdigest()


@pytest.fixture
def clock():
    return fakes.Clock()


@pytest.fixture
def backend():
    return fakes.Failing()


@pytest.fixture
def store(backend, clock):
    return FileStore(backend, clock=clock, max_bytes=100)


def is_empty(store):
    """No entry, and every write that was begun was discarded."""
    assert store.backend._space.entries == {}
    assert store.backend.calls["stage"] == store.backend.discarded
    return True


@given(
    name=strategies.texts,
    data=st.binary(max_size=100),
    purpose=strategies.purposes,
    metadata=st.none() | strategies.metadata,
    life=st.none() | st.integers(1, 10**9),
)
def test_what_create_returns_is_what_is_stored(name, data, purpose, metadata, life):
    """Every field as it was given or counted, the same from `create`, `get`, `list` and the metadata at rest."""
    store = FileStore(fakes.Failing(), clock=fakes.Clock(1_800_000_000.9))
    file = store.create(
        name, data, purpose=purpose, metadata=metadata, expires_after=life, content_type="text/plain; charset=x"
    )

    assert file == FileObject(
        id=file.id,
        filename=name,
        purpose=purpose,
        bytes=len(data),
        created_at=1_800_000_000,
        expires_at=None if life is None else 1_800_000_000 + life,
        content_type="text/plain; charset=x",
        sha256=hashlib.sha256(data).hexdigest(),
        metadata=metadata,
    )
    assert store.get(file.id) == file
    assert list(store) == [file]
    assert decode_meta(store.backend.read_meta(file.id), file.id) == file
    assert store.get_content(file.id) == data


def test_the_callers_metadata_is_copied(store):
    """Changing it afterwards changes nothing here."""
    given = {"a": [1]}
    file = store.create("a", b"", purpose="batch", metadata=given)
    given["a"].append(2)

    assert file.metadata == store.get(file.id).metadata == {"a": [1]}


@pytest.mark.parametrize("make", [bytes, io.BytesIO, lambda d: [d[:60], d[60:]], lambda d: iter([d])])
def test_the_limit_is_exact(store, make):
    """At the limit a file is stored, one byte over it is not, whatever kind of source it comes from."""
    assert store.create("a", make(b"x" * 100), purpose="batch").bytes == 100
    with pytest.raises(FileTooLarge, match="cannot create 'b': it is larger than the limit of 100 bytes"):
        store.create("b", make(b"x" * 101), purpose="batch")

    assert [f.filename for f in store] == ["a"]


def test_nothing_is_written_that_passes_the_limit():
    """The chunk that would pass it is not handed to the backend, and no more is read."""
    store = FileStore(fakes.Failing(write=AssertionError("written")), max_bytes=100)
    read = []
    with pytest.raises(FileTooLarge):
        store.create("a", (read.append(n) or b"x" * 101 for n in range(9)), purpose="batch")

    assert read == [0]
    assert is_empty(store)


@pytest.mark.parametrize("announced", [{"data": b"x" * 101}, {"data": iter(()), "expected_bytes": 101}])
def test_a_size_known_to_be_too_large_is_refused_before_anything_is_written(store, announced):
    """No write is begun."""
    with pytest.raises(FileTooLarge):
        store.create("a", purpose="batch", **announced)

    assert store.backend.calls["stage"] == 0


def test_a_limit_of_the_call_replaces_the_stores(store):
    """Upwards and downwards; the backend's own limit stays."""
    assert store.create("a", b"x" * 200, purpose="batch", max_bytes=200).bytes == 200
    with pytest.raises(FileTooLarge, match="limit of 10 bytes"):
        store.create("a", b"x" * 11, purpose="batch", max_bytes=10)
    store.backend.limits = Limits(max_file_bytes=50, max_filename_chars=5)
    with pytest.raises(FileTooLarge, match="limit of 50 bytes"):
        store.create("a", b"x" * 51, purpose="batch", max_bytes=200)
    with pytest.raises(InvalidRequest, match="at most 5"):
        store.create("123456", b"", purpose="batch")


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"expected_bytes": 6}, "6 bytes were expected, the source gave over 6; send it again"),
        ({"expected_bytes": 8}, "8 bytes were expected, the source gave 7; send it again"),
        ({"expected_bytes": 0}, "0 bytes were expected, the source gave over 0; send it again"),
        ({"expected_sha256": "0" * 64}, f"its SHA-256 is {SHA}, expected was {'0' * 64}; send it again"),
    ],
)
def test_unexpected_bytes_are_not_stored(store, expected, message):
    """Size and SHA-256 are compared before anything is published."""
    with pytest.raises(IntegrityError) as caught:
        store.create("a", io.BytesIO(b"content"), purpose="batch", **expected)

    assert str(caught.value) == f"cannot create 'a': {message}"
    assert is_empty(store)


def test_expected_bytes_are_stored(store):
    """A right size and hash, in either case of its digits, pass."""
    file = store.create("a", b"content", purpose="batch", expected_bytes=7, expected_sha256=SHA.upper())

    assert file.sha256 == SHA
    assert store.create("a", b"", purpose="batch", expected_bytes=0).bytes == 0


def test_a_long_filename_does_not_fill_the_message(store):
    """The name is kept verbatim, but shown short."""
    with pytest.raises(FileTooLarge) as caught:
        store.create("n" * 4000, b"x" * 101, purpose="batch")

    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    "wrong",
    [
        {"purpose": ""},
        {"filename": 7},
        {"filename": "n" * 4097},
        {"max_bytes": 0},
        {"expires_after": 0},
        {"content_type": "a\nb"},
        {"metadata": {"a": object()}},
        {"expected_bytes": -1},
        {"expected_sha256": "abc"},
        {"data": "text"},
        {"data": 7},
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_read(store, wrong):
    """The source is not touched and no write is begun."""

    def untouched():
        raise AssertionError("the source was read")
        yield

    with pytest.raises(InvalidRequest):
        store.create(**{"filename": "a", "data": untouched(), "purpose": "batch"} | wrong)

    assert store.backend.calls["stage"] == 0


class Mine(Exception):
    """The caller's own."""


@pytest.mark.parametrize(
    "error", [Mine("x"), KeyboardInterrupt(), GeneratorExit(), FileNotFoundError(2, "mine"), SystemExit(3)]
)
def test_a_source_that_raises_leaves_nothing(store, error):
    """The very exception comes through, nothing is visible, and the write is discarded once."""

    def source():
        yield b"some"
        raise error

    with pytest.raises(type(error)) as caught:
        store.create("a", source(), purpose="batch")

    assert caught.value is error
    assert is_empty(store)


@pytest.mark.parametrize("verb", ["write", "publish"])
def test_a_failing_backend_leaves_nothing(store, verb):
    """What the backend raises comes as a `StorageError` with the original as its cause; the write is discarded."""
    cause = OSError(28, "No space left on device")
    store.backend.failures[verb] = cause
    with pytest.raises(StorageFull) as caught:
        store.create("a", b"x", purpose="batch")

    assert caught.value.__cause__ is cause
    assert caught.value.errno == 28
    assert caught.value.operation == "create"
    assert caught.value.file_id in str(caught.value)
    assert is_empty(store)


def test_a_failing_clean_up_does_not_hide_the_first_error(store, caplog):
    """The caller sees why the write failed; that something is left for `sweep` goes to the log."""
    store.backend.failures.update(write=OSError(28, "full"), discard=RuntimeError("stuck"))
    with caplog.at_level(logging.WARNING, "holdall"), pytest.raises(StorageFull):
        store.create("a", b"x", purpose="batch")

    assert len(caplog.messages) == 1
    assert "could not clean up" in caplog.messages[0]


def test_an_interrupted_publish_is_discarded(store):
    """Ctrl-C in the backend passes unchanged, and the write is cleaned up."""
    store.backend.failures["publish"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        store.create("a", b"x", purpose="batch")

    assert is_empty(store)


@pytest.mark.parametrize("purpose", ["batch", FilePurpose.BATCH])
def test_an_expired_file_is_absent_from_every_call(store, clock, purpose):
    """From `expires_at` on, to the second; before it, it is there."""
    file = store.create("a", b"x", purpose=purpose, expires_after=dt.timedelta(minutes=1))
    stays = store.create("b", b"x", purpose=purpose)
    clock.now = file.expires_at - 0.001
    assert store.get(file.id) == file
    assert len(store.list()) == 2

    clock.now = file.expires_at
    for call in (store.get, store.get_content, store.open, store.delete):
        with pytest.raises(FileNotFound, match="it expired"):
            call(file.id)
    assert list(store) == [stays]
    assert list(store.list(after=file.id)) == [stays]


def test_a_deleted_file_is_gone_and_a_second_delete_says_so(store):
    """One succeeds, the next gets `FileNotFound`."""
    file = store.create("a", b"x", purpose="batch")
    store.delete(file.id)

    for call in (store.get, store.get_content, store.open, store.delete):
        with pytest.raises(FileNotFound) as caught:
            call(file.id)
        assert caught.value.file_id == file.id
    assert list(store) == []


def test_a_corrupt_file_can_be_deleted(store):
    """Otherwise nobody could ever get rid of it."""
    store.backend.put("file-corrupt", b"{")
    store.delete("file-corrupt")

    assert store.backend._space.entries == {}


def test_use_after_close_is_refused(store):
    """Every method says that the store was closed; a second `close` does nothing."""
    file = store.create("a", b"x", purpose="batch")
    walk = iter(store)
    store.close()
    store.backend.failures["close"] = AssertionError("closed twice")
    store.close()

    for call in (
        lambda: store.create("a", b"", purpose="batch"),
        lambda: store.create("a", b"too large", purpose="batch", max_bytes=1),
        lambda: store.get(file.id),
        lambda: store.get_content(file.id),
        lambda: store.open(file.id),
        lambda: store.delete(file.id),
        store.list,
        lambda: iter(store),
        lambda: next(walk),
        store.__enter__,
        store.sweep,
        store.verify,
    ):
        with pytest.raises(InvalidRequest, match="this store was closed; open it again"):
            call()
    assert "(closed)" in repr(store)


def test_leaving_the_context_closes(backend):
    """Also behind an exception, which comes through."""
    with pytest.raises(Mine), FileStore(backend) as store:
        raise Mine
    with pytest.raises(InvalidRequest):
        store.list()


def test_many_threads_that_close_close_once(backend, monkeypatch):
    """The backend is closed exactly once."""
    closed = []
    monkeypatch.setattr(backend, "close", lambda: closed.append(1))
    store = FileStore(backend)
    start = threading.Barrier(4)

    def work():
        start.wait(30)
        store.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert closed == [1]


@pytest.mark.parametrize("wrong", [{"limit": 0}, {"order": "up"}, {"purpose": ""}, {"after": "../x"}])
def test_a_wrong_argument_of_list_is_refused_before_the_backend_is_touched(wrong):
    """Nothing is asked of the storage."""
    with pytest.raises(InvalidRequest):
        FileStore(fakes.Untouchable()).list(**wrong)


def test_a_purpose_filters_in_either_spelling(store):
    """`fine_tune` and `fine-tune` are one purpose."""
    file = store.create("a", b"", purpose="fine_tune")
    store.create("b", b"", purpose="batch")

    for spelling in ("fine-tune", "fine_tune", FilePurpose.FINE_TUNE):
        assert list(store.list(purpose=spelling)) == [file]
    assert list(store.list(purpose="nobody's")) == []


def test_metadata_of_any_depth_that_is_taken_comes_back(store):
    """At the limit of depth, through the whole store."""
    deep = {}
    for _ in range(arguments.MAX_METADATA_DEPTH):
        deep = {"x": deep}
    file = store.create("a", b"", purpose="batch", metadata=deep)

    assert store.get(file.id).metadata == deep


@pytest.mark.parametrize("limit", [0, -1, True, "1GiB", None])
def test_a_store_needs_a_limit(limit):
    """A store with no sensible limit is not made."""
    with pytest.raises(InvalidRequest):
        FileStore(fakes.Untouchable(), max_bytes=limit)


def test_a_store_tells_what_it_is(backend):
    """Its URL, limit, capabilities and backend, for tools; its text shows no secret."""
    url = StoreURL.parse("fake://u:Zq7@host")
    store = FileStore(backend, url=url, max_bytes=7)

    assert (store.url, store.max_bytes, store.backend) == (url, 7, backend)
    assert store.capabilities == backend.capabilities
    assert repr(store) == "<FileStore fake://u:***@host>"


@pytest.mark.parametrize("seconds", [0, -1, 1.5, True, "60", None])
def test_a_signed_url_has_a_time_that_can_be(seconds):
    """Whatever the storage makes of it, a time that is none is refused before it is asked."""
    with pytest.raises(InvalidRequest, match="expires_in must be"):
        FileStore(fakes.Untouchable()).signed_url("file-a", seconds)
