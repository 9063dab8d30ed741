"""Sources: whatever holds, reads or yields bytes is one stream of chunks, and what does not is told why."""

from __future__ import annotations

import array
import gc
import hashlib
import io
import itertools
import pathlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdall import FileStore, InvalidRequest
from holdall._sources import CHUNK_BYTES, chunks, size_hint
from holdall.backends.memory import MemoryBackend

pieces = st.lists(st.binary(max_size=20) | st.sampled_from([b"", b"x" * (CHUNK_BYTES + 1)]), max_size=6)


class OnlyRead:
    """Has nothing but `read`, and gives what it was told to, whatever was asked for."""

    def __init__(self, *given):
        self._given = list(given)
        self.asked = []

    def read(self, size, /):
        self.asked.append(size)
        item = self._given.pop(0) if self._given else b""
        if isinstance(item, BaseException):
            raise item
        return item


def joined(data):
    """All chunks, as one; each must be within bounds and not empty."""
    whole = bytearray()
    for chunk in chunks(data):
        assert 0 < len(chunk) <= CHUNK_BYTES
        whole += chunk
    return bytes(whole)


@given(pieces, st.sampled_from([bytes, bytearray, memoryview]))
def test_every_kind_of_source_gives_its_bytes(parts, kind):
    """Bytes-like objects, files, iterables and generators of any bytes-like parts, empty ones too, are one stream."""
    whole = b"".join(parts)

    assert joined(kind(whole)) == whole
    assert joined(io.BytesIO(whole)) == whole
    assert joined([kind(part) for part in parts]) == whole
    assert joined(kind(part) for part in parts) == whole
    assert joined(OnlyRead(*(kind(part) for part in parts if part))) == whole
    assert size_hint(kind(whole)) == len(whole)


@pytest.mark.parametrize(
    "view",
    [
        memoryview(b""),
        memoryview(array.array("I", range(1000))),
        memoryview(array.array("I")),
        memoryview(b"abcdef")[::2],
        memoryview(b"abcdef")[::-1],
        memoryview(bytes(range(12))).cast("B", (3, 4)),
        memoryview(bytes(range(16))).cast("I"),
    ],
)
def test_a_view_of_any_shape_gives_its_bytes(view):
    """Items of several bytes, gaps, reversed or two-dimensional: what counts is the bytes it stands for."""
    assert joined(view) == view.tobytes()
    assert joined([view, view]) == view.tobytes() * 2
    assert size_hint(view) == len(view.tobytes())


def test_a_path_is_opened_and_closed(tmp_path):
    """An `os.PathLike` is read from its start."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * (2 * CHUNK_BYTES + 5))

    assert joined(path) == path.read_bytes()


def test_a_path_is_closed_when_create_fails(tmp_path):
    """No descriptor stays open behind an error that the caller keeps."""
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(Exception, match="larger than the limit") as caught:
        FileStore(MemoryBackend()).create("a", path, purpose="batch", max_bytes=10)
    # An unclosed file would warn when it is collected, and warnings are errors here.
    del caught
    gc.collect()


@pytest.mark.parametrize("target", ["absent", "."])
def test_a_path_that_cannot_be_read_raises_the_systems_error(tmp_path, target):
    """It is the caller's file, so it is the caller's exception."""
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        FileStore(MemoryBackend()).create("a", pathlib.Path(tmp_path, target), purpose="batch")

    assert caught.value.filename is not None


def test_a_file_is_read_from_where_it_stands_and_left_alone(tmp_path):
    """Neither rewound nor closed."""
    file = io.BytesIO(b"0123456789")
    file.seek(4)

    assert joined(file) == b"456789"
    assert not file.closed
    assert file.tell() == 10


def test_a_generator_is_not_drawn_further_than_needed():
    """An endless source is read only up to the limit."""
    drawn = itertools.count()
    store = FileStore(MemoryBackend())
    with pytest.raises(Exception, match="larger than the limit of 10 bytes"):
        store.create("a", (b"abc" for _ in drawn), purpose="batch", max_bytes=10)

    assert next(drawn) == 4


def test_a_reader_is_asked_for_bounded_pieces():
    """Memory stays bounded: no more than a chunk is asked for at once."""
    source = OnlyRead(b"a", b"b")

    assert joined(source) == b"ab"
    assert set(source.asked) == {CHUNK_BYTES}


def test_a_source_may_fill_one_buffer_again_and_again():
    """A chunk is done with when the next is asked for: the source may resize and reuse its memory."""

    def refilling():
        buffer = bytearray()
        for n in range(5):
            buffer += bytes([n]) * (CHUNK_BYTES + n)
            yield buffer
            buffer.clear()

    expected = b"".join(bytes([n]) * (CHUNK_BYTES + n) for n in range(5))
    store = FileStore(MemoryBackend())
    file = store.create("a", refilling(), purpose="batch")

    assert store.get_content(file.id) == expected
    assert file.sha256 == hashlib.sha256(expected).hexdigest()


class Odd(BaseException):
    """Not even an `Exception`."""


@pytest.mark.parametrize("error", [ValueError("mine"), OSError(5, "mine"), KeyboardInterrupt(), GeneratorExit(), Odd()])
def test_a_dying_sources_own_exception_comes_through(error):
    """The very object that the source raised, and nothing is stored."""

    def dying():
        yield b"some"
        raise error

    for source in (dying(), OnlyRead(b"some", error)):
        store = FileStore(MemoryBackend())
        with pytest.raises(type(error)) as caught:
            store.create("a", source, purpose="batch")
        assert caught.value is error
        assert list(store) == []


TEXT = "the source produced text; open the file in binary mode, or encode the text"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: io.StringIO("text"), TEXT),
        (lambda: io.StringIO(""), TEXT),
        (lambda: ["text"], TEXT),
        (lambda: [b"bytes", "text"], TEXT),
        (lambda: OnlyRead(b"bytes", "text"), TEXT),
        (lambda: [b"bytes", None], "the source produced a value of type NoneType instead of bytes"),
        (lambda: [1, 2], "the source produced a value of type int instead of bytes"),
        (lambda: OnlyRead(b"bytes", 0), "the source produced a value of type int instead of bytes"),
        (lambda: {"key": b"value"}, TEXT),
        (
            lambda: OnlyRead(b"bytes", None),
            "the source's read() returned None: it is in non-blocking mode; make it blocking",
        ),
        (
            lambda: "report.pdf",
            "data is text, which could be content or the name of a file: pass text.encode(), or pathlib.Path(text)",
        ),
        (lambda: 7, "data is a value of type int; it must be bytes, a binary file, a path, or an iterable of bytes"),
        (
            lambda: None,
            "data is a value of type NoneType; it must be bytes, a binary file, a path, or an iterable of bytes",
        ),
    ],
)
def test_what_gives_no_bytes_is_refused(source, message):
    """The message says what came instead; nothing is stored."""
    store = FileStore(MemoryBackend())
    with pytest.raises(InvalidRequest) as caught:
        store.create("a", source(), purpose="batch")

    assert str(caught.value) == message
    assert list(store) == []


def test_a_reader_that_gives_more_than_was_asked_loses_nothing():
    """All of it is stored, in order."""
    lying = OnlyRead(b"x" * (3 * CHUNK_BYTES), b"y")

    assert joined(lying) == b"x" * (3 * CHUNK_BYTES) + b"y"
