"""A stored file as a seekable stream that reads ranges on demand."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import BinaryIO

from holdall._sources import CHUNK_BYTES
from holdall.backend import Backend, Capability
from holdall.errors import FileNotFound, IntegrityError, InvalidRequest

__all__ = ["RangeReader", "open_range", "read_exactly", "skip"]


def open_range(backend: Backend, file_id: str, start: int, stop: int) -> BinaryIO:
    """The data from `start` as a stream, which ends at `stop` or later. Raises `IntegrityError` if the data is missing
    although the metadata exists.
    """
    try:
        if Capability.RANGED_READS in backend.capabilities:
            return backend.open_data(file_id, start, stop)
        stream = backend.open_data(file_id)
    except FileNotFound as error:
        # If the file was deleted after its metadata was read, this raises FileNotFound.
        backend.read_meta(file_id)
        raise IntegrityError(
            f"{file_id} is damaged: its metadata exists, but its data is missing; restore it from a backup or delete it"
        ) from error
    try:
        skip(stream, start)
    except BaseException:
        stream.close()
        raise
    return stream


def read_exactly(stream: BinaryIO, size: int, file_id: str) -> bytes:
    """`size` bytes of the stream. Raises `IntegrityError` if it ends earlier."""
    first = stream.read(size)
    if len(first) == size:
        return first
    parts, missing = [first], size - len(first)
    while missing:
        part = stream.read(missing)
        if not part:
            raise _truncated(file_id, size, missing)
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def skip(stream: BinaryIO, count: int) -> None:
    """Read and drop the next `count` bytes, or up to the end."""
    while count:
        chunk = stream.read(min(count, CHUNK_BYTES))
        if not chunk:
            return
        count -= len(chunk)


def _truncated(file_id: str, expected: int, missing: int) -> IntegrityError:
    return IntegrityError(
        f"{file_id} is damaged: its data ends {missing} bytes early ({expected} expected); "
        "restore it from a backup or delete it",
        operation="read",
        file_id=file_id,
    )


class RangeReader(io.RawIOBase):
    """The raw stream under `FileStore.open`.

    Keeps one stream of the backend open during sequential reads. After an error, or a seek that the stream does not
    support, the next read opens a new stream at the current position. Delivers `size` bytes in total or raises.
    """

    def __init__(
        self, file_id: str, size: int, open_at: Callable[[int], BinaryIO], guard: AbstractContextManager[None]
    ) -> None:
        super().__init__()
        self._guard = guard
        self.name = file_id
        self._size = size
        self._open_at = open_at
        self._position = 0
        # Set before anything can fail, because the finalizer runs even if opening fails.
        self._stream: BinaryIO | None = None
        self._stream_start = self._stream_position = 0
        # Opened at once, so that a file deleted later can still be read where the storage keeps open files readable.
        self._stream = open_at(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._check_open()
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}.get(whence)
        if base is None:
            raise InvalidRequest(f"whence is {whence!r}; it must be 0, 1 or 2", operation="read", file_id=self.name)
        if base + offset < 0:
            raise InvalidRequest(f"cannot seek to {base + offset}", operation="read", file_id=self.name)
        self._position = base + offset
        return self._position

    def readall(self) -> bytes:
        # RawIOBase would read a few KiB at a time.
        self._check_open()
        rest = max(0, self._size - self._position)
        if not rest:
            return b""
        with self._whole_or_dropped(), self._guard:
            data = read_exactly(self._stream_at(self._position), rest, self.name)
        self._position = self._stream_position = self._size
        return data

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._check_open()
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        with self._whole_or_dropped(), self._guard:
            chunk = self._stream_at(self._position).read(wanted)
            if not chunk:
                raise _truncated(self.name, self._size, self._size - self._position)
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        self._stream_position = self._position
        return len(chunk)

    def _stream_at(self, position: int) -> BinaryIO:
        if self._stream is not None and self._stream_position != position:
            # A stream that was opened at an offset may count positions from there, or from the start of the file.
            if self._stream_start == 0 and self._stream.seekable():
                self._stream.seek(position)
            else:
                self._drop()
        if self._stream is None:
            self._stream = self._open_at(position)
            self._stream_start = position
        self._stream_position = position
        return self._stream

    @contextlib.contextmanager
    def _whole_or_dropped(self) -> Iterator[None]:
        """Drop the stream on any error, since its position is then unknown."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):
                self._drop()
            raise

    def _drop(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            with self._guard:
                stream.close()

    def close(self) -> None:
        try:
            if not self.closed:
                self._drop()
        finally:
            super().close()

    def _check_open(self) -> None:
        if self.closed:
            raise InvalidRequest("the file was closed; open it again", operation="read", file_id=self.name)
