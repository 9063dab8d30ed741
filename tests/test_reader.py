"""Reading: the stream of a file behaves like its bytes in memory, on every kind of backend stream."""

from __future__ import annotations

import io
import os
import tempfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import fakes

from holdall import Capability, FileNotFound, FileStore, IntegrityError, InvalidRequest, StorageUnavailable
from holdall._reader import read_exactly

DATA = bytes(range(256)) * 3

KINDS = {
    "seekable": {},
    "one way": {"seekable": False},
    "no ranges": {"without": Capability.RANGED_READS},
    "one way, no ranges": {"without": Capability.RANGED_READS, "seekable": False},
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def backend(request):
    return fakes.Recording(**request.param)


@pytest.fixture
def store(backend):
    return FileStore(backend)


@pytest.fixture
def file(store):
    return store.create("a", DATA, purpose="batch")


positions = st.integers(-5, len(DATA) + 20)
operations = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 400)),
        st.tuples(st.just("read1"), st.integers(0, 400)),
        st.tuples(st.just("readinto"), st.integers(0, 400)),
        st.tuples(st.just("seek"), positions, st.just(os.SEEK_SET)),
        st.tuples(st.just("seek"), st.integers(-300, 300), st.just(os.SEEK_CUR)),
        st.tuples(st.just("seek"), st.integers(-800, 20), st.just(os.SEEK_END)),
        st.tuples(st.just("tell")),
    ),
    max_size=15,
)


def apply(stream, name, *arguments):
    """What an operation returns, or the kind of error it raises."""
    try:
        if name == "readinto":
            buffer = bytearray(*arguments)
            count = stream.readinto(buffer)
            return bytes(buffer[:count])
        return getattr(stream, name)(*arguments)
    except (ValueError, OSError):
        return "refused"


@pytest.mark.parametrize("kind", KINDS)
@given(operations=operations, buffered=st.booleans())
def test_a_stream_is_its_bytes(kind, operations, buffered):
    """Any sequence of reads and seeks gives what a local file of the same bytes gives."""
    store = FileStore(fakes.Recording(**KINDS[kind]))
    stream = store.open(store.create("a", DATA, purpose="batch").id)
    raw = stream if buffered else stream.raw
    # Not BytesIO: it takes a seek to before the start for one to the start.
    with tempfile.TemporaryFile(buffering=-1 if buffered else 0) as model:
        model.write(DATA)
        model.seek(0)
        for name, *arguments in operations:
            if name == "read1" and not buffered:
                continue
            expected, got = apply(model, name, *arguments), apply(raw, name, *arguments)
            if name in {"read", "readinto", "read1"} and arguments[0] >= 0:
                # A raw or single read may be short; it is never empty before the end, and never wrong.
                assert expected.startswith(got)
                assert bool(got) == bool(expected)
                model.seek(len(got) - len(expected), os.SEEK_CUR)
                if name != "read1" and buffered:
                    assert got == expected
            else:
                assert got == expected
        assert raw.tell() == model.tell()
    stream.close()


def test_ranges_are_slices(store, file):
    """`get_content` of any range is that slice, on every kind of backend."""
    for start in (0, 1, 255, len(DATA) - 1, len(DATA)):
        for stop in (None, start, start + 1, start + 300, 10**9):
            assert store.get_content(file.id, start, stop) == DATA[start:stop]


def test_a_straight_read_opens_one_stream(store, backend, file):
    """Reading on needs no second request, in small pieces as in one go."""
    with store.open(file.id) as stream:
        assert b"".join(iter(lambda: stream.read(7), b"")) == DATA
    with store.open(file.id) as stream:
        assert stream.read() == DATA

    assert backend.calls["open_data"] == 2


def test_every_stream_of_the_backend_is_closed(store, backend, file):
    """Closing early, after seeks, or after a whole read leaves nothing open; a second close does nothing."""
    for position in (0, 100):
        stream = store.open(file.id)
        stream.seek(position)
        stream.read(1)
        stream.close()
        stream.close()
    store.get_content(file.id, 3, 5)
    store.get_content(file.id, 3, 3)

    assert backend.streams
    assert all(stream.closed for stream in backend.streams)


def test_a_closed_stream_is_told_so(store, file):
    """Nothing is read after `close`, also not from the raw stream below the buffer."""
    stream = store.open(file.id)
    raw = stream.raw
    stream.close()

    for use in (stream.read, raw.read, raw.readall, lambda: raw.seek(0)):
        with pytest.raises(ValueError, match="closed"):
            use()


def test_a_wrong_seek_is_refused(store, file):
    """Before the start there is nothing, and there are three places to count from."""
    with store.open(file.id) as stream:
        with pytest.raises(InvalidRequest):
            stream.raw.seek(-1)
        with pytest.raises(InvalidRequest):
            stream.raw.seek(0, 3)


@pytest.mark.parametrize("missing", [1, 200, len(DATA)])
def test_truncated_data_is_an_error_not_an_end(store, backend, file, missing):
    """Fewer bytes than the metadata says give `IntegrityError`, never a short file."""
    meta, data = backend._space.entries[file.id]
    backend._space.entries[file.id] = meta, data[: len(DATA) - missing]

    def in_pieces():
        stream = store.open(file.id)
        return list(iter(lambda: stream.read(10), b""))

    for read in (
        in_pieces,
        lambda: store.get_content(file.id),
        lambda: store.get_content(file.id, len(DATA) - 1),
        lambda: store.open(file.id).read(),
    ):
        with pytest.raises(IntegrityError, match=r"ends \d+ bytes early") as caught:
            read()
        assert caught.value.file_id == file.id


def test_data_that_is_missing_is_an_integrity_error(store, backend, file, monkeypatch):
    """Metadata without data is damage; an entry that was deleted meanwhile is simply not there."""
    absent = FileNotFound("no data", file_id=file.id)
    monkeypatch.setattr(backend, "open_data", lambda *a, **k: (_ for _ in ()).throw(absent))

    for read in (store.get_content, store.open, lambda i: store.get_content(i, 3, 3)):
        with pytest.raises(IntegrityError, match="its data is missing") as caught:
            read(file.id)
        assert caught.value.__cause__ is absent

    def deleted(file_id, *args):
        backend.remove(file_id)
        raise absent

    monkeypatch.setattr(backend, "open_data", deleted)
    with pytest.raises(FileNotFound):
        store.get_content(file.id)


class Stumbling(io.BytesIO):
    """Consumes what it was asked for, then fails, once."""

    def __init__(self, data, failures):
        super().__init__(data)
        self._failures = failures

    def read(self, size=-1):
        piece = super().read(size)
        if self._failures:
            raise self._failures.pop()
        return piece


@pytest.mark.parametrize("whole", [True, False])
def test_reading_goes_on_rightly_after_a_failure(store, backend, file, monkeypatch, whole):
    """After a connection broke, another read starts anew at the right place: never wrong bytes."""
    original = backend.open_data
    failures = []

    def stumbling(file_id, start=0, stop=None):
        return Stumbling(original(file_id, start, stop).read(), failures)

    monkeypatch.setattr(backend, "open_data", stumbling)
    buffered = store.open(file.id)
    stream = buffered.raw
    assert stream.read(10) == DATA[:10]
    failures.append(ConnectionResetError("broken"))
    with pytest.raises(StorageUnavailable):
        stream.read(10)
    assert stream.tell() == 10

    if whole:
        assert stream.read() == DATA[10:]
    else:
        assert stream.read(5) == DATA[10:15]
        stream.seek(100)
        assert stream.read(5) == DATA[100:105]
        stream.seek(0)
        assert stream.read(5) == DATA[:5]
    buffered.close()


def test_an_error_while_closing_is_reported_and_closes(store, backend, file, monkeypatch):
    """The stream counts as closed all the same."""

    class Unclosable(io.BytesIO):
        def close(self):
            already, _ = self.closed, super().close()
            if not already:
                raise ConnectionResetError("broken")

    monkeypatch.setattr(backend, "open_data", lambda *a: Unclosable(DATA))
    stream = store.open(file.id)
    with pytest.raises(StorageUnavailable):
        stream.close()
    assert stream.raw.closed
    with pytest.raises(StorageUnavailable):
        store.get_content(file.id)


def test_a_stream_that_fails_on_the_way_to_its_start_is_closed(monkeypatch):
    """Where the backend has no ranges, what lies before the range is read over; a failure there leaves nothing open."""
    backend = fakes.Recording(without=Capability.RANGED_READS)
    store = FileStore(backend)
    file = store.create("a", DATA, purpose="batch")
    stream = Stumbling(DATA, [ConnectionResetError("broken")])
    monkeypatch.setattr(backend, "open_data", lambda *a: stream)
    with pytest.raises(StorageUnavailable):
        store.get_content(file.id, 10, 20)

    assert stream.closed


def test_reading_all_at_the_end_gives_nothing(store, backend, file):
    """Past the end there is nothing, and nothing is asked of the backend."""
    with store.open(file.id) as stream:
        stream.seek(len(DATA) + 5)
        assert stream.read() == b""
        assert stream.raw.readall() == b""
    assert backend.calls["open_data"] == 1


def test_short_pieces_are_put_together():
    """Exactly the size that was asked for, or an error that says how many bytes are missing."""
    assert read_exactly(fakes.OneWay(b"0123456789"), 10, "file-a") == b"0123456789"
    with pytest.raises(IntegrityError, match=r"ends 3 bytes early \(13 expected\)"):
        read_exactly(fakes.OneWay(b"0123456789"), 13, "file-a")
