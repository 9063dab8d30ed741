"""What `create` takes: everything `FileStore.create` does, and sources that have to be awaited."""

from __future__ import annotations

import contextvars
import hashlib
import io
import os
import tempfile

import anyio
import pytest
from anyio import Event
from anyio.lowlevel import checkpoint
from starlette.datastructures import UploadFile
from tests.aio._fakes import PATIENCE_SECONDS, Call, GatedBackend, ticks

import holdall
from holdall import AsyncFileStore, FileStore, open_async_store
from holdall.backends.memory import MemoryBackend
from holdall.wrappers import Fault, Faulty

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * 4096


@pytest.fixture
def backend():
    """A backend with gates."""
    return GatedBackend()


@pytest.fixture
def store(backend):
    """An asynchronous store on it, with a single thread for calls and one for uploads."""
    return AsyncFileStore(FileStore(backend), max_threads=1)


async def in_chunks(data=DATA, size=100_000):
    """The bytes as an asynchronous generator."""
    for start in range(0, len(data), size):
        await checkpoint()
        yield data[start : start + size]


class AsyncReadable:
    """Nothing but an asynchronous `read`."""

    def __init__(self, data=DATA):
        self._file = io.BytesIO(data)

    async def read(self, size):
        await checkpoint()
        return self._file.read(size)


def upload_file(spool_bytes):
    """A Starlette upload, in memory or rolled over to disk."""
    spool = tempfile.SpooledTemporaryFile(max_size=spool_bytes)  # noqa: SIM115 - as Starlette's parser does it
    spool.write(DATA)
    spool.seek(0)
    return UploadFile(spool, filename="f", size=len(DATA))


SOURCES = {
    "bytes": lambda path: DATA,
    "memoryview": lambda path: memoryview(DATA),
    "file": lambda path: io.BytesIO(DATA),
    "path": lambda path: path,
    "iterable": lambda path: [DATA[:5], b"", DATA[5:]],
    "async generator": lambda path: in_chunks(),
    "async read": lambda path: AsyncReadable(),
    "upload in memory": lambda path: upload_file(len(DATA) + 1),
    "upload on disk": lambda path: upload_file(10),
}


@pytest.mark.parametrize("name", SOURCES)
async def test_every_source_is_stored_whole(url, tmp_path, name):
    """Size, hash and content are those of the source, whichever kind it is."""
    path = tmp_path / "source"
    path.write_bytes(DATA)
    source = SOURCES[name](path)
    async with open_async_store(url) as store:
        file = await store.create("f", source, purpose="batch")

        assert (len(DATA), hashlib.sha256(DATA).hexdigest()) == (file.bytes, file.sha256)
        assert await store.get_content(file.id) == DATA
    if isinstance(source, UploadFile):
        assert not source.file.closed
        await source.close()


async def test_anyio_files_are_sources(store, tmp_path):
    """An asynchronous file is read in chunks, not in lines."""
    (tmp_path / "source").write_bytes(b"a\nb\n" * 1000)
    async with await anyio.open_file(tmp_path / "source", "rb") as source:
        file = await store.create("f", source, purpose="batch")

    assert await store.get_content(file.id) == b"a\nb\n" * 1000
    assert store._store.backend.calls.count("write") == 1


async def test_a_store_is_copied_into_itself(store):
    """A source that itself needs the store's threads gets them, however few there are."""
    file = await store.create("f", DATA, purpose="batch")
    with anyio.fail_after(PATIENCE_SECONDS):
        async with await store.open(file.id) as reader:
            read = await store.create("read", reader, purpose="batch")
        async with await store.open(file.id) as reader:
            iterated = await store.create("iterated", (chunk async for chunk in reader), purpose="batch")

    assert [file.sha256] * 2 == [read.sha256, iterated.sha256]


async def test_an_empty_source_is_an_empty_file(store):
    """An asynchronous source that ends at once gives a file of no bytes."""
    assert (await store.create("f", in_chunks(b""), purpose="batch")).bytes == 0
    assert (await store.create("f", AsyncReadable(b""), purpose="batch")).bytes == 0


class Stop(BaseException):
    """No `Exception`, as `KeyboardInterrupt` is none."""


@pytest.mark.parametrize("fault", [OSError(5, "broken"), Stop()])
async def test_a_failed_create_is_done_with_its_source(tmp_path, fault):
    """While the caller handles the error, their buffer can be resized, and no descriptor of a path is open."""
    (tmp_path / "source").write_bytes(DATA)
    descriptors = len(os.listdir("/dev/fd"))
    for source in (bytearray(DATA), tmp_path / "source"):
        backend = Faulty(MemoryBackend(), [Fault("write", fault)])
        try:
            await AsyncFileStore(FileStore(backend)).create("f", source, purpose="batch")
        except (holdall.StorageError, Stop):
            if isinstance(source, bytearray):
                source.clear()
            else:
                assert len(os.listdir("/dev/fd")) <= descriptors
            continue
        pytest.fail("the fault was swallowed")


def failing_read(error):
    """A source whose second `read` raises."""

    class Source:
        started = False

        async def read(self, size):
            if self.started:
                raise error
            self.started = True
            return b"first"

    return Source()


async def failing_async(error):
    """An asynchronous source that raises after its first chunk."""
    yield b"first"
    raise error


def failing_sync(error):
    """A synchronous one."""
    yield b"first"
    raise error


@pytest.mark.parametrize("kind", [ValueError, OSError, Stop, holdall.InvalidRequest, TimeoutError])
@pytest.mark.parametrize("source", [failing_read, failing_async, failing_sync])
async def test_a_sources_exception_comes_through_unchanged(store, backend, kind, source):
    """The very exception of the source is raised, and nothing is stored."""
    error = kind("mine")
    with pytest.raises(kind) as caught:
        await store.create("f", source(error), purpose="batch")

    assert caught.value is error
    assert backend.unfinished == 0
    assert (await store.list()).data == []


@pytest.mark.parametrize("chunk", ["text", 7, None])
async def test_a_source_must_give_bytes(store, backend, chunk):
    """Anything but bytes from an asynchronous source is `InvalidRequest`, and nothing is stored."""

    class Source:
        async def read(self, size):
            return chunk

    async def iterated():
        yield chunk

    for source in (Source(), iterated()):
        with pytest.raises(holdall.InvalidRequest):
            await store.create("f", source, purpose="batch")

    assert backend.unfinished == 0
    assert (await store.list()).data == []


async def test_wrong_arguments_are_refused_before_anything_is_read(store, backend):
    """A bad purpose, size or type of source raises `InvalidRequest`; the source is not asked for anything."""
    asked = []

    async def source():
        asked.append(1)
        yield b"x"

    for options in (
        {"purpose": ""},
        {"purpose": "batch", "max_bytes": 0},
        {"purpose": "batch", "expected_sha256": "x"},
    ):
        with pytest.raises(holdall.InvalidRequest):
            await store.create("f", source(), **options)
    with pytest.raises(holdall.InvalidRequest):
        await store.create("f", "text", purpose="batch")
    with pytest.raises(holdall.InvalidRequest):
        await store.create("f", b"x", purpose="batch", expected_bytes="1")

    assert asked == []
    assert backend.calls == []


async def test_the_limit_ends_the_reading(store, backend):
    """Over the limit, `FileTooLarge` is raised and an endless source is asked for nothing more."""
    given = 0

    async def source():
        nonlocal given
        while True:
            given += 10
            yield b"x" * 10

    with pytest.raises(holdall.FileTooLarge):
        await store.create("f", source(), purpose="batch", max_bytes=100)

    assert given == 110
    assert backend.unfinished == 0


@pytest.mark.parametrize("expected", [None, 1, 1000])
async def test_bytes_over_the_limit_are_refused_unseen(store, backend, expected):
    """Where the size is certain, nothing is staged for what is too large."""
    with pytest.raises(holdall.FileTooLarge):
        await store.create("f", b"x" * 1000, purpose="batch", max_bytes=100, expected_bytes=expected)

    assert backend.calls == []


@pytest.mark.parametrize("source", [lambda: DATA, in_chunks, lambda: io.BytesIO(DATA)], ids=["bytes", "async", "file"])
async def test_expectations_are_checked(store, backend, source):
    """Another size or SHA-256 than expected is `IntegrityError`; the right ones are stored."""
    for wrong in ({"expected_bytes": 1}, {"expected_bytes": len(DATA) + 1}, {"expected_sha256": "0" * 64}):
        with pytest.raises(holdall.IntegrityError):
            await store.create("f", source(), purpose="batch", **wrong)
    assert (await store.list()).data == []
    assert backend.unfinished == 0

    right = {"expected_bytes": len(DATA), "expected_sha256": hashlib.sha256(DATA).hexdigest()}
    assert (await store.create("f", source(), purpose="batch", **right)).bytes == len(DATA)


async def test_a_slow_storage_holds_the_source_back(store, backend):
    """While the storage has not taken a chunk, no other is asked for."""
    gate = backend.gate("write")
    given = 0

    async def source():
        nonlocal given
        for _ in range(5):
            given += 1
            yield b"chunk"

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: store.create("f", source(), purpose="batch"))
        await gate.reached()
        await ticks(50)
        assert given == 1
        gate.open()

    assert given == 5


async def test_slow_sources_keep_no_other_call_waiting(store):
    """An upload that waits for its source leaves the threads to the other calls."""
    waiting, go_on = Event(), Event()

    async def source():
        waiting.set()
        await go_on.wait()
        yield b"late"

    async with anyio.create_task_group() as group:
        group.start_soon(lambda: store.create("slow", source(), purpose="batch"))
        await waiting.wait()
        with anyio.fail_after(PATIENCE_SECONDS):
            file = await store.create("quick", b"x", purpose="batch")
            assert await store.get_content(file.id) == b"x"
        go_on.set()

    assert [file.filename async for file in store] == ["slow", "quick"]


async def test_a_source_is_awaited_in_the_callers_task(store):
    """A source may keep a cancel scope open between its chunks, and sees the caller's context variables."""
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("mine")

    async def source():
        with anyio.fail_after(PATIENCE_SECONDS):
            for _ in range(3):
                await checkpoint()
                yield variable.get().encode()
                variable.set("its")

    file = await store.create("f", source(), purpose="batch")

    assert await store.get_content(file.id) == b"mineitsits"
    assert variable.get() == "its"


async def test_a_large_upload_streams_through_little_memory(tmp_path):
    """A file of many chunks is on disk while it still comes: it is not collected first."""
    root = tmp_path / "store"
    on_disk = []

    async def source():
        for _ in range(20):
            yield b"x" * 100_000
            (entry,) = os.listdir(root / ".staging")
            on_disk.append(os.stat(root / ".staging" / entry / "data.bin").st_size)

    async with open_async_store(root, fsync=False) as store:
        await store.create("f", source(), purpose="batch")

    assert on_disk == [100_000 * n for n in range(1, 21)]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_chunk_is_not_sent_twice_after_a_timeout(store, backend):
    """A write that asyncio cancelled was done all the same: whoever repeats it, or goes on, stores nothing wrong."""
    upload = await store.begin("f", purpose="batch")
    gate = backend.gate("write")
    async with anyio.create_task_group() as group:
        call = Call("task", lambda: upload.write(b"chunk")).start(group)
        await call.cancel_at(gate)

    assert call.cancelled
    for go_on in (lambda: upload.write(b"chunk"), upload.finish):
        with pytest.raises(holdall.InvalidRequest, match="one of its writes was cancelled"):
            await go_on()
    assert backend.unfinished == 0
    assert (await store.list()).data == []
