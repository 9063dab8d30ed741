"""The stored bytes are returned unchanged: at every size, from every source, in every range, in bounded memory."""

from __future__ import annotations

import contextlib
import gc
import gzip
import hashlib
import io
import os
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from holdall.backend import Capability
from holdall.conformance._entries import plant
from holdall.conformance._kit import Kit, NotChecked, broken, expect, expect_error
from holdall.conformance._registry import check
from holdall.conformance._sources import OnlyRead, Pattern, chunked, reused
from holdall.errors import FileNotFound, InvalidRequest

MIB = 1024 * 1024
BOUNDARIES = (0, 1, 4095, 4096, 4097, 65535, 65536, 65537, MIB - 1, MIB, MIB + 1)
MEMORY_LIMIT = 16 * MIB
TIMES = 20


@check("content.roundtrip_boundary_sizes")
def roundtrip_boundary_sizes(kit: Kit) -> None:
    """Stored through one handle, read through another."""
    stored = []
    for size in filter(kit.fits, BOUNDARIES):
        data = kit.noise(size)
        stored.append((size, data, kit.put(data)))
    other = kit.open()
    for size, data, file in stored:
        expect(file.bytes, size, f"create({size} bytes).bytes")
        expect(other.get_content(file.id), data, f"get_content of a file of {size} bytes")
        with other.open(file.id) as stream:
            expect(stream.read(), data, f"open().read() of a file of {size} bytes")


@check("content.large")
def large(kit: Kit) -> None:
    """8 MiB and a byte (64 MiB and a byte with large files), whole and in distant ranges; then 10 MiB in one chunk."""
    size = (64 if kit.settings.large else 8) * MIB + 1
    file = kit.put(Pattern(size))
    expect(file.bytes, size, f"create({size} bytes).bytes")
    with kit.open().open(file.id) as stream:
        at = 0
        while chunk := stream.read(MIB):
            expect(chunk, Pattern.bytes_at(at, len(chunk)), f"reading {len(chunk)} bytes at {at} of {size}")
            at += len(chunk)
    expect(at, size, "reading to the end")
    other = kit.open()
    for start, stop in ((4 * MIB - 1, 4 * MIB + 2), (5_000_001, 5_100_000), (size - 100, size), (size - 1, None)):
        wanted = Pattern.bytes_at(start, (stop or size) - start)
        expect(other.get_content(file.id, start, stop), wanted, f"get_content({start}, {stop}) of {size} bytes")
        if Capability.RANGED_READS in kit.capabilities:
            with other.backend.open_data(file.id, start, stop) as stream:
                saw = b"".join(iter(lambda stream=stream: stream.read(100_000), b""))  # type: ignore[misc]
            expect(saw, wanted, f"backend.open_data(id, {start}, {stop}) of {size} bytes, read to its end")
    # With parts of 1, 2, 5 or 10 MiB, all parts are full, including the last one.
    data = kit.noise(10 * MIB)
    # The store passes on smaller chunks; other callers of the backend may not.
    if kit.fits(len(data)):
        chunk_id = plant(kit.store, "file-one-chunk", data).id
        expect(
            kit.open().get_content(chunk_id), data, f"backend.stage, write a chunk of {len(data)} bytes, get_content"
        )


@check("content.short_reads")
def short_reads(kit: Kit) -> None:
    """A thousand bytes for each read, as from a socket."""
    data = kit.noise(300_000)
    file = kit.put(OnlyRead(data, most=1000))
    expect(kit.open().get_content(file.id), data, "create from a source that gives 1000 bytes a read, then get_content")


class _Strict(OnlyRead):
    """Requires an explicit size."""

    def read(self, size: int, /) -> bytes:  # type: ignore[override]
        if type(size) is not int or size < 1:
            raise ValueError(f"read({size!r})")
        return super().read(size)


@check("content.source_needs_only_read")
def source_needs_only_read(kit: Kit) -> None:
    """An object that has `read` and no other attribute of a file, and whose `read` accepts only a size."""
    data = kit.noise(100_000)
    file = kit.put(_Strict(data))
    expect(kit.store.get_content(file.id), data, "create from an object with nothing but read(n), then get_content")


@check("content.iterable_source")
def iterable_source(kit: Kit) -> None:
    """Every kind of source that the interface names."""
    data = kit.noise(150_000)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "source"
        path.write_bytes(data)
        with path.open("rb") as opened:
            sources = {
                "bytes": data,
                "a bytearray": bytearray(data),
                "a memoryview": memoryview(data),
                "a path": path,
                "an open file": opened,
                "an iterator with empty chunks": chunked(data, 40_000),
                "an iterator that uses one buffer again and again": reused(data, 40_000),
                "a list of one-byte chunks": [data[n : n + 1] for n in range(2000)],
            }
            for name, source in sources.items():
                file = kit.put(source)
                wanted = data[:2000] if "one-byte" in name else data
                expect(kit.store.get_content(file.id), wanted, f"create from {name}, then get_content")


@check("content.bytes_are_opaque")
def bytes_are_opaque(kit: Kit) -> None:
    """Contents that some layer may try to decode."""
    for data in (
        b"line\r\nline\rline\n\x1a",
        b"aGVsbG8gd29ybGQ=",
        b"100%25 %00 %zz +",
        b"0042",
        b"1e3",
        b"null",
        b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03no gzip",
        gzip.compress(b"compressed by the caller " * 50, mtime=0),
        b"\xef\xbb\xbfbyte order mark",
        b'{"id": "file-x", "object": "file"}\n',
        b"\x00" * 1000,
        bytes(range(256)) * 5,
        b"\xff\xfe\xfd" * 333,
        b"\n",
    ):
        file = kit.put(data)
        expect(kit.open().get_content(file.id), data, f"create({data[:20]!r}…), then get_content")


@check("content.ranges")
def ranges(kit: Kit) -> None:
    """Every pair of edges, including chunk boundaries, of a file of several chunks; then across whole mebibytes."""
    data = kit.noise(600_000)
    file = kit.put(data)
    other = kit.open()
    edges = (0, 1, 4095, 4096, 65_535, 65_536, 65_537, 262_143, 262_144, 262_145, 599_999, 600_000)
    for start in edges:
        for stop in (*edges, 600_001, 10**12, None):
            if stop is None or stop >= start:
                saw = other.get_content(file.id, start, stop)
                expect(saw, data[start:stop], f"get_content({start}, {stop}) of {len(data)} bytes")
    with other.open(file.id) as stream:
        for start in reversed(edges):
            stream.seek(start)
            expect(stream.read(100), data[start : start + 100], f"open(), seek({start}), read(100)")
        stream.seek(-70_000, os.SEEK_END)
        expect(stream.read(), data[-70_000:], "open(), seek(-70000, SEEK_END), read()")
        # The reader is buffered: a position counted from what was fetched would differ from the reader's.
        stream.seek(10)
        stream.read(10)
        expect(stream.tell(), 20, "open(), seek(10), read(10), tell()")
        for step, place in ((70_000, 70_020), (-50_000, 20_120)):
            stream.seek(step, os.SEEK_CUR)
            did = f"open(), seek and read to {place - step}, seek({step}, SEEK_CUR), read(100)"
            expect(stream.read(100), data[place : place + 100], did)
    large = kit.noise(3 * MIB + 77)
    long = kit.put(large)
    for start, stop in ((1, MIB), (MIB - 1, MIB + 1), (10, 2 * MIB + 5), (MIB, 3 * MIB), (2 * MIB + 1, None)):
        saw = other.get_content(long.id, start, stop)
        expect(saw, large[start:stop], f"get_content({start}, {stop}) of {len(large)} bytes")
    if Capability.RANGED_READS in kit.capabilities:
        # The store reads only as much as it requested, and would not notice a range that continues.
        for start, stop in ((0, 1), (65_536, 65_537), (262_143, 262_145), (100, 300_000), (599_999, None)):
            with other.backend.open_data(file.id, start, stop) as stream:
                parts = b"".join(iter(lambda stream=stream: stream.read(100_000), b""))  # type: ignore[misc]
            expect(parts, data[start:stop], f"backend.open_data(id, {start}, {stop}), read to its end")


@check("content.range_invalid")
def range_invalid(kit: Kit) -> None:
    """Ranges that no file can satisfy."""
    file = kit.put(b"0123456789")
    for start, stop in ((-1, None), (-5, -1), (0, -1), (11, None), (11, 12), (5, 4), (10**12, None)):
        expect_error(
            InvalidRequest,
            f"get_content({start}, {stop}) of 10 bytes",
            lambda start=start, stop=stop: kit.store.get_content(file.id, start, stop),  # type: ignore[misc]
        )


@check("content.empty_range_and_empty_file")
def empty_range_and_empty_file(kit: Kit) -> None:
    """Empty results, requested in every possible way."""
    empty, full = kit.put(b""), kit.put(b"0123456789")
    other = kit.open()
    for start, stop in ((0, None), (0, 0), (0, 5)):
        expect(other.get_content(empty.id, start, stop), b"", f"get_content({start}, {stop}) of an empty file")
    for start, stop in ((0, 0), (5, 5), (10, 10), (10, None), (10, 99)):
        expect(other.get_content(full.id, start, stop), b"", f"get_content({start}, {stop}) of 10 bytes")
    with other.open(empty.id) as stream:
        expect(stream.read(), b"", "open().read() of an empty file")


@check("content.suffix_of_read_equals_whole")
def suffix_of_read_equals_whole(kit: Kit) -> None:
    """A download in pieces of an uneven size."""
    data = kit.noise(400_001)
    file = kit.put(data)
    other = kit.open()
    for step in (65_536, 99_991, 399_999):
        parts = [other.get_content(file.id, at, at + step) for at in range(0, len(data), step)]
        expect(b"".join(parts), data, f"joining ranges of {step} bytes")
    expect(other.get_content(file.id, 399_990), data[399_990:], "get_content(399990, None)")


def _peak(action: Callable[[], object]) -> int:
    """The peak memory of Python code during this call, in bytes, relative to its start."""
    if tracemalloc.is_tracing():
        raise NotChecked("memory is being traced already")
    gc.collect()
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@check("content.streams_up_bounded_memory")
def streams_up_bounded_memory(kit: Kit) -> None:
    """48 MiB up; does not apply to a backend that keeps its files in this process's memory."""
    _outside_memory(kit)
    block = kit.noise(MIB)
    peak = _peak(lambda: kit.put(block for _ in range(48)))
    if peak > MEMORY_LIMIT:
        raise broken("create(48 MiB from an iterator)", f"at most {MEMORY_LIMIT} bytes of memory", f"{peak} bytes")


@check("content.streams_down_bounded_memory")
def streams_down_bounded_memory(kit: Kit) -> None:
    """48 MiB down, in chunks of 1 MiB; the content is complete."""
    _outside_memory(kit)
    block = kit.noise(MIB - 8)
    wanted, saw = hashlib.sha256(), hashlib.sha256()

    def blocks() -> Iterator[bytes]:
        for n in range(48):
            chunk = n.to_bytes(8, "big") + block
            wanted.update(chunk)
            yield chunk

    file = kit.put(blocks())
    other = kit.open()

    def read() -> None:
        with other.open(file.id) as stream:
            while chunk := stream.read(MIB):
                saw.update(chunk)

    peak = _peak(read)
    expect(saw.hexdigest(), wanted.hexdigest(), "the SHA-256 of 48 MiB, read in chunks of 1 MiB")
    if peak > MEMORY_LIMIT:
        raise broken("open(48 MiB), read(1 MiB) to the end", f"at most {MEMORY_LIMIT} bytes of memory", f"{peak} bytes")


def _outside_memory(kit: Kit) -> None:
    kit.need(Capability.PERSISTENT)


@check("content.early_close_releases")
def early_close_releases(kit: Kit) -> None:
    """Twenty readers closed after a few bytes, twenty dropped unclosed; then other calls and handles."""
    if not os.path.isdir("/proc/self/fd"):
        raise NotChecked("no /proc/self/fd")
    file = kit.put(kit.noise(2 * MIB))
    other = kit.open()

    def abandon(*, close: bool) -> None:
        stream = other.open(file.id)
        stream.read(10)
        if close:
            stream.close()

    def in_vain(call: Callable[[str], object]) -> object:
        with contextlib.suppress(FileNotFound):
            return call("file-absent")
        return None

    def open_and_close() -> None:
        with kit.target.open(kit.url) as passing:
            next(iter(passing), None)

    for did, action in (
        ("abandon a reader", lambda: abandon(close=False)),
        ("close a reader before its end", lambda: abandon(close=True)),
        ("get, and get what is absent", lambda: (other.get(file.id), in_vain(other.get))),
        ("open what is absent, and delete it", lambda: (in_vain(other.open), in_vain(other.delete))),
        ("begin to iterate the store, and list it", lambda: (next(iter(other)), other.list(limit=1))),
        ("create and delete", lambda: other.delete(kit.put(b"passing", store=other).id)),
        ("open a handle, begin to list, close it", open_and_close),
    ):
        threads = threading.active_count()
        grown = _descriptors_after(action)
        # A client may keep a few connections, but not one for each call.
        if grown > 10:
            raise broken(f"{did}, {TIMES} times", "no descriptors left open", f"{grown} more open")
    _few_threads(f"{did}, {TIMES} times", threads + 10)


def _few_threads(did: str, most: int) -> None:
    """Threads shared by all handles may stay; threads started for one handle must end with it, within a few seconds."""
    deadline = time.monotonic() + 5
    while (running := threading.active_count()) > most:
        if time.monotonic() > deadline:
            raise broken(did, f"at most {most} threads, of which 10 are new", f"{running}")
        time.sleep(0.05)


def _descriptors_after(action: Callable[[], object]) -> int:
    """How many more descriptors are open after doing this twenty times than after doing it once."""
    action()
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(TIMES):
        action()
    gc.collect()
    return len(os.listdir("/proc/self/fd")) - before


@check("content.independent_readers")
def independent_readers(kit: Kit) -> None:
    """Two streams of one file and one of another, in turn, in steps that are larger than buffers and not aligned."""
    step, turns = 50_021, 20
    a, b = kit.noise(MIB + MIB // 4), kit.noise(MIB + MIB // 4)
    first, second = kit.put(a), kit.put(b)
    other = kit.open()
    with other.open(first.id) as one, other.open(first.id) as two, other.open(second.id) as three:
        two.seek(200_000)
        seen = [[stream.read(step) for stream in (one, two, three)] for _ in range(turns)]
    for n, (data, start, name) in enumerate(((a, 0, "first"), (a, 200_000, "second"), (b, 0, "third"))):
        saw = b"".join(turn[n] for turn in seen)
        expect(saw, data[start : start + step * turns], f"reading three streams by turns: the {name}")


@check("content.size_equals_bytes_delivered")
def size_equals_bytes_delivered(kit: Kit) -> None:
    """The size according to create, get, and list, and of the returned data."""
    for size in (0, 1, 1000, 65_537, 700_001):
        data = kit.noise(size)
        file = kit.put(io.BytesIO(data))
        other = kit.open()
        content = other.get_content(file.id)
        expect(file.bytes, size, f"create({size} bytes).bytes")
        expect(other.get(file.id).bytes, size, f"get().bytes of {size} bytes")
        kit.settle()
        expect([f.bytes for f in other if f.id == file.id], [size], f"list(), bytes of a file of {size} bytes")
        expect(len(content), size, f"the length of get_content of {size} bytes")
        expect(hashlib.sha256(content).hexdigest(), file.sha256, "the SHA-256 of get_content")
