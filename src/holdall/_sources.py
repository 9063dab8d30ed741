"""Sources of a new file's data: anything that contains, reads or yields bytes, as one stream of chunks."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from holdall.errors import InvalidRequest

if TYPE_CHECKING:
    from holdall.backend import Buffer

__all__ = ["CHUNK_BYTES", "Readable", "Source", "chunks", "pieces", "size_hint"]

CHUNK_BYTES = 256 * 1024
"""Size of a slice. Smaller ones cost more calls, larger ones more page faults. About two are in memory at a time."""


class Readable(Protocol):
    """A binary source; `read` is the only method used."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes; empty at the end."""


Source = bytes | bytearray | memoryview | Readable | os.PathLike[str] | Iterable[bytes]


def chunks(data: Any) -> Generator[Buffer, None, None]:
    """The bytes of `data` in order, in non-empty chunks.

    Accepts bytes, an object with `.read(n)`, a path (`os.PathLike`), or an iterable of bytes. A source of the caller's
    is neither rewound nor closed, and its exceptions are passed on unchanged. Anything else raises `InvalidRequest`, at
    once.
    """
    if isinstance(data, (bytes, bytearray, memoryview)):
        return _slices(data)
    if callable(getattr(data, "read", None)):
        return _from_reader(data)
    if isinstance(data, os.PathLike):
        return _from_path(os.fspath(data))
    if isinstance(data, str):
        raise InvalidRequest(
            "data is text, which could be content or the name of a file: pass text.encode(), or pathlib.Path(text)"
        )
    if isinstance(data, Iterable):
        return _from_iterable(data)
    raise InvalidRequest(f"data is {_a(data)}; it must be bytes, a binary file, a path, or an iterable of bytes")


def size_hint(data: Any) -> int | None:
    """The size of `data` in bytes, if it is known before reading; otherwise None."""
    return memoryview(data).nbytes if isinstance(data, (bytes, bytearray, memoryview)) else None


def _slices(data: Buffer) -> Generator[Buffer, None, None]:
    if type(data) is bytes and len(data) <= CHUNK_BYTES:
        if data:
            yield data
        return
    # Views are released right after use, so that the source may resize and refill its buffer.
    with _bytes_of(data) as view:
        for start in range(0, len(view), CHUNK_BYTES):
            with view[start : start + CHUNK_BYTES] as chunk:
                yield chunk


def _bytes_of(data: Buffer) -> memoryview:
    view = memoryview(data)
    try:
        return view.cast("B")
    except TypeError:
        # A view that is not contiguous, or whose items are not single bytes.
        return memoryview(view.tobytes())


def _from_reader(source: Readable) -> Generator[Buffer, None, None]:
    while chunk := source.read(CHUNK_BYTES):
        yield from pieces(chunk)
    if chunk is None:
        raise InvalidRequest("the source's read() returned None: it is in non-blocking mode; make it blocking")
    pieces(chunk)


def _from_path(path: str) -> Generator[Buffer, None, None]:
    # Unbuffered, because chunks are as large as a buffer would be.
    with open(path, "rb", buffering=0) as file:
        yield from _from_reader(file)


def _from_iterable(source: Iterable[Any]) -> Generator[Buffer, None, None]:
    for chunk in source:
        yield from pieces(chunk)


def pieces(chunk: Any) -> Generator[Buffer, None, None]:
    """A bytes-like object as byte views of at most `CHUNK_BYTES`; anything else raises `InvalidRequest`, at once."""
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return _slices(chunk)
    if isinstance(chunk, str):
        raise InvalidRequest("the source produced text; open the file in binary mode, or encode the text")
    raise InvalidRequest(f"the source produced {_a(chunk)} instead of bytes")


def _a(value: object) -> str:
    return f"a value of type {type(value).__name__}"
