"""Mutants of the content checks: bytes that get lost, repeated, decoded or kept in memory."""

from __future__ import annotations

import base64
import binascii
import io
import os
from typing import Any

from tests.conformance.mutants._base import LocalBackend, MemoryBackend, StagedWrapper, mutant

from holdall.errors import FileNotFound, StorageError
from holdall.store import FileStore

KIB = 1024
PART = 5 * KIB * KIB


class _Collects(StagedWrapper):
    """Keeps the chunks until publish, which may change them."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.chunks: list[Any] = []

    def write(self, chunk: Any) -> None:
        self.chunks.append(bytes(chunk))

    def publish(self, meta: bytes) -> None:
        self.inner.write(self.change(b"".join(self.chunks)))
        self.inner.publish(meta)

    def change(self, data: bytes) -> bytes:
        return data


class _CollectsLate(_Collects):
    def publish(self, meta: bytes) -> None:
        for chunk in self.chunks:
            self.inner.write(chunk)
        self.inner.publish(meta)


class _Stores(MemoryBackend):
    """Stores other bytes than it got."""

    def stage(self, file_id: str) -> Any:
        staged = _Collects(super().stage(file_id))
        staged.change = self.change  # type: ignore[method-assign]
        return staged

    def change(self, data: bytes) -> bytes:
        raise NotImplementedError


class _Delivers(MemoryBackend):
    """Delivers other bytes than it was asked for."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        data = super().open_data(file_id).read()
        return io.BytesIO(self.range(data, start, len(data) if stop is None else stop))

    def range(self, data: bytes, start: int, stop: int) -> bytes:
        raise NotImplementedError


@mutant(
    "content.roundtrip_boundary_sizes",
    "content.large",
    "content.short_reads",
    "content.source_needs_only_read",
    "content.iterable_source",
    "content.ranges",
    "content.suffix_of_read_equals_whole",
    "content.independent_readers",
    "content.size_equals_bytes_delivered",
)
class KeepsOneBuffer(_Stores):
    """Keeps the first 64 KiB."""

    def change(self, data: bytes) -> bytes:
        return data[: 64 * KIB]


@mutant("content.roundtrip_boundary_sizes", "content.large", "content.size_equals_bytes_delivered")
class LosesByteAfterPage(_Stores):
    """Takes a single byte in the last page for padding."""

    def change(self, data: bytes) -> bytes:
        return data[:-1] if len(data) % 4096 == 1 and len(data) > 4096 else data


@mutant("content.large")
class SwapsParts(_Stores):
    """Puts the parts of an upload together in the order in which they arrived."""

    def change(self, data: bytes) -> bytes:
        return data[PART:] + data[:PART] if len(data) > PART else data


@mutant("content.large")
class LosesLastPart(_Stores):
    """Forgets the part that is not full."""

    def change(self, data: bytes) -> bytes:
        return data[: len(data) // PART * PART] if len(data) > PART else data


class _Reads:
    """A source over another one."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.ended = False

    def read(self, size: int) -> bytes:
        if self.ended:
            return b""
        chunk = self.source.read(size)
        self.ended = len(chunk) < size
        return bytes(chunk)


@mutant("content.short_reads")
class ShortReadIsTheEnd(FileStore):
    """Stops where a source gives less than it was asked for."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        return super().create(filename, _Reads(data) if hasattr(data, "read") else data, **options)


@mutant("content.source_needs_only_read", "content.short_reads", "content.large")
class AsksForPosition(FileStore):
    """Wants to know where a source stands."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        if hasattr(data, "read"):
            data.tell()
        return super().create(filename, data, **options)


@mutant("content.source_needs_only_read")
class ReadsWithoutSize(FileStore):
    """Takes all of a source at once."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        if hasattr(data, "read"):
            data = b"".join(iter(lambda: data.read(-1), b""))
        return super().create(filename, data, **options)


@mutant("content.iterable_source")
class EmptyChunkIsTheEnd(FileStore):
    """Stops an iterator at its first empty chunk."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        if hasattr(data, "__next__") and not hasattr(data, "read"):
            data = iter(lambda: next(data), b"")
        return super().create(filename, data, **options)


@mutant("content.iterable_source")
class KeepsReferences(MemoryBackend):
    """Keeps the chunks as they came, not copies: the caller uses their memory again."""

    def stage(self, file_id: str) -> Any:
        staged = _CollectsLate(super().stage(file_id))
        staged.write = lambda chunk: staged.chunks.append(memoryview(chunk))  # type: ignore[method-assign]
        return staged


@mutant("content.bytes_are_opaque")
class TranslatesNewlines(_Delivers):
    """Text mode: CR LF becomes LF when read; the size is right again by padding."""

    def range(self, data: bytes, start: int, stop: int) -> bytes:
        return (data.replace(b"\r\n", b"\n ") if len(data) < 100 else data)[start:stop]


@mutant("content.bytes_are_opaque")
class DecodesBase64(_Stores):
    """Takes what looks like base64 for a transport encoding."""

    def change(self, data: bytes) -> bytes:
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error:
            return data


@mutant("content.ranges", "content.large")
class InclusiveStop(_Delivers):
    """Means by `stop` the last byte, as HTTP does."""

    def range(self, data: bytes, start: int, stop: int) -> bytes:
        return data[start : stop + 1]


@mutant("content.ranges", "content.suffix_of_read_equals_whole", "content.large")
class StartsAtPage(_Delivers):
    """Begins at the page in which `start` lies."""

    def range(self, data: bytes, start: int, stop: int) -> bytes:
        return data[start - start % 4096 : stop]


@mutant("content.ranges", "content.suffix_of_read_equals_whole", "content.large")
class EndsWithBlock(_Delivers):
    """Delivers one block of a range that begins in the middle of one."""

    def range(self, data: bytes, start: int, stop: int) -> bytes:
        end = (start // (256 * KIB) + 1) * 256 * KIB
        return data[start : min(stop, end)] if start else data[:stop]


@mutant("content.range_invalid")
class ClampsRanges(FileStore):
    """Makes the best of a range."""

    def get_content(self, file_id: str, start: int = 0, stop: int | None = None) -> bytes:
        size = self.get(file_id).bytes
        stop = size if stop is None else max(0, min(stop, size))
        start = max(0, min(start, stop))
        return super().get_content(file_id, start, stop)


@mutant("content.range_invalid")
class SlicesLikePython(FileStore):
    """Counts negative positions from the end."""

    def get_content(self, file_id: str, start: int = 0, stop: int | None = None) -> bytes:
        return super().get_content(file_id)[start:stop]


@mutant(
    "content.roundtrip_boundary_sizes",
    "content.ranges",
    "content.empty_range_and_empty_file",
    "content.size_equals_bytes_delivered",
)
class NoEmptyRange(_Delivers):
    """Asks its server for bytes 0 to -1."""

    def range(self, data: bytes, start: int, stop: int) -> bytes:
        if min(stop, len(data)) <= start:
            raise StorageError("416 Range Not Satisfiable")
        return data[start:stop]


@mutant(
    "content.roundtrip_boundary_sizes",
    "content.empty_range_and_empty_file",
    "content.size_equals_bytes_delivered",
)
class NoEmptyFile(MemoryBackend):
    """Takes no bytes for no file."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        if not super().open_data(file_id).read(1):
            raise FileNotFound("there are no bytes")
        return super().open_data(file_id, start, stop)


@mutant("content.suffix_of_read_equals_whole")
class CountsFromTheEnd(_Delivers):
    """Asks for the last bytes of a file by their number, and is one off."""

    def range(self, data: bytes, start: int, stop: int) -> bytes:
        short = stop == len(data) and start > 0 and 1 < stop - start < 100
        return data[start - 1 : stop - 1] if short else data[start:stop]


@mutant("content.streams_up_bounded_memory")
class CollectsChunks(LocalBackend):
    """Writes everything at the end, from memory."""

    def stage(self, file_id: str) -> Any:
        return _CollectsLate(super().stage(file_id))


@mutant("content.streams_up_bounded_memory", base=LocalBackend)
class ReadsSourceWhole(FileStore):
    """Looks at all of a source before it stores any of it."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        if hasattr(data, "__next__"):
            whole = bytearray()
            for chunk in data:
                whole += chunk
            data = whole
        return super().create(filename, data, **options)


@mutant("content.streams_down_bounded_memory", base=LocalBackend)
class OpensFromMemory(FileStore):
    """Opens a file by reading it."""

    def open(self, file_id: str) -> Any:
        return io.BytesIO(self.get_content(file_id))


@mutant("content.streams_down_bounded_memory")
class ReadsWhole(LocalBackend):
    """Delivers a file from memory."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        with super().open_data(file_id, start, stop) as stream:
            return io.BytesIO(stream.read())


@mutant("content.early_close_releases")
class LeaksDescriptors(LocalBackend):
    """Opens a file once more for each reader; only closing the backend closes it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._leaked: list[int] = []

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        self._leaked.append(os.open(self.local_path(file_id), os.O_RDONLY))
        return super().open_data(file_id, start, stop)

    def close(self) -> None:
        while self._leaked:
            os.close(self._leaked.pop())
        super().close()


class _OnePosition(io.RawIOBase):
    """Streams of one file with the same position."""

    def __init__(self, data: bytes, position: list[int], stop: int | None) -> None:
        super().__init__()
        self._data, self._position, self._stop = data[:stop], position, stop

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._data[self._position[0] :][: len(buffer)]
        buffer[: len(chunk)] = chunk
        self._position[0] += len(chunk)
        return len(chunk)


@mutant("content.independent_readers")
class SharesPosition(MemoryBackend):
    """Has one open stream a file."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._positions: dict[str, list[int]] = {}

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        position = self._positions.setdefault(file_id, [0])
        position[0] = start
        return _OnePosition(super().open_data(file_id).read(), position, stop)


@mutant("content.size_equals_bytes_delivered")
class ListsBlocks(FileStore):
    """Lists the space that a file takes."""

    def _walk(self, **options: Any) -> Any:
        for files in super()._walk(**options):
            yield [file.model_copy(update={"bytes": -(-file.bytes // 4096) * 4096}) for file in files]


@mutant("content.size_equals_bytes_delivered")
class RoundsSize(FileStore):
    """Reports the size of a file in whole KiB."""

    def get(self, file_id: str) -> Any:
        file = super().get(file_id)
        return file.model_copy(update={"bytes": -(-file.bytes // KIB) * KIB})
