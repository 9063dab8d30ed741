"""A cancelled call leaves nothing behind, wherever it was."""

from __future__ import annotations

import asyncio
import gc
import io
import os

import anyio
import pytest
from anyio import CancelScope, Event
from anyio.lowlevel import checkpoint
from tests.aio._fakes import LOOPS, Call, GatedBackend, ticks

from holdall import AsyncFileStore, FileNotFound, FileStore, open_async_store

pytestmark = pytest.mark.anyio


@pytest.fixture
def backend():
    """A backend with gates."""
    return GatedBackend()


@pytest.fixture
def store(backend):
    """An asynchronous store on it, with a single thread for calls."""
    return AsyncFileStore(FileStore(backend), max_threads=1)


# There are two ways to cancel; trio knows only the first.
WAYS = [*((loop, "scope") for loop in LOOPS), ("asyncio", "task")]
cancelled_in_every_way = pytest.mark.parametrize(("anyio_backend", "how"), WAYS)


async def async_chunks():
    """Three chunks, awaited."""
    for _ in range(3):
        await checkpoint()
        yield b"chunk"


def sync_chunks():
    """Three chunks."""
    yield from [b"chunk"] * 3


SOURCES = {
    "async": async_chunks,
    "iterable": sync_chunks,
    "bytes": lambda: b"x" * 600_000,
    "one chunk": lambda: b"x",
    "file": lambda: io.BytesIO(b"x" * 600_000),
}


@cancelled_in_every_way
@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("verb", ["stage", "write"])
async def test_create_cancelled_in_the_storage_stores_nothing(store, backend, how, source, verb):
    """Cancelled while the storage is at work, `create` waits for it, discards, and only then raises."""
    gate = backend.gate(verb)
    async with anyio.create_task_group() as group:
        call = Call(how, lambda: store.create("f", source(), purpose="batch")).start(group)
        await gate.reached()
        call.cancel()
        await ticks()
        assert not call.over
        gate.open()
        await call.end()

    assert call.cancelled
    assert backend.unfinished == 0
    assert backend.calls.count("write") == (1 if verb == "write" else 0)
    assert "publish" not in backend.calls
    assert (await store.list()).data == []


@cancelled_in_every_way
async def test_create_cancelled_at_its_source_stores_nothing(store, backend, how):
    """Cancelled while the source is awaited, the source sees it, what was written is discarded."""
    waiting = Event()
    seen = []

    async def source():
        yield b"first"
        try:
            waiting.set()
            await Event().wait()
        except BaseException as error:
            seen.append(type(error))
            raise

    async with anyio.create_task_group() as group:
        call = Call(how, lambda: store.create("f", source(), purpose="batch")).start(group)
        await waiting.wait()
        call.cancel()
        await call.end()

    assert call.cancelled
    assert seen == [anyio.get_cancelled_exc_class()]
    assert backend.written == len(b"first")
    assert backend.unfinished == 0
    assert (await store.list()).data == []


@cancelled_in_every_way
async def test_nothing_is_left_in_staging_on_disk(tmp_path, how):
    """The same on local disk: no entry, and nothing in the staging directory."""
    waiting = Event()

    async def source():
        yield b"x" * 1_000_000
        waiting.set()
        await Event().wait()

    async with (
        open_async_store(tmp_path / "store", fsync=False) as store,
        anyio.create_task_group() as group,
    ):
        call = Call(how, lambda: store.create("f", source(), purpose="batch")).start(group)
        await waiting.wait()
        call.cancel()
        await call.end()
        assert call.cancelled

    assert os.listdir(tmp_path / "store") == [".staging"]
    assert os.listdir(tmp_path / "store" / ".staging") == []


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
async def test_a_cancel_scope_waits_for_the_publish(store, backend, source):
    """Once the publish has begun, the file is returned and is there; the cancellation comes with the next await."""
    gate = backend.gate("publish")
    async with anyio.create_task_group() as group:
        call = Call("scope", lambda: store.create("f", source(), purpose="batch")).start(group)
        await gate.reached()
        call.cancel()
        await ticks()
        assert not call.over
        gate.open()
        await call.end()

    assert call.cancelled_after
    assert await store.get(call.value.id) == call.value


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_cancelled_task_deletes_what_it_published(store, backend, source):
    """`Task.cancel` cannot be held off: if the file was published meanwhile, it is deleted again before the raise."""
    gate = backend.gate("publish")
    async with anyio.create_task_group() as group:
        call = Call("task", lambda: store.create("f", source(), purpose="batch")).start(group)
        await gate.reached()
        call.cancel()
        await ticks()
        call.cancel()
        await ticks()
        assert not call.over
        gate.open()
        await call.end()

    assert call.cancelled
    assert backend.calls[-1] == "remove"
    assert (await store.list()).data == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_both_cancellations_at_once_leave_nothing(store, backend):
    """A cancelled scope around the cancelled task does not keep the published file from being deleted again."""
    gate = backend.gate("publish")
    scope = CancelScope()

    async def create():
        with scope:
            await store.create("f", b"x", purpose="batch")

    async with anyio.create_task_group() as group:
        call = Call("task", create).start(group)
        await gate.reached()
        call.cancel()
        await ticks()
        scope.cancel()
        gate.open()
        await call.end()

    assert backend.calls[-1] == "remove"
    assert (await store.list()).data == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_failing_undo_is_logged_and_hides_nothing(store, backend, caplog):
    """If the published file cannot be deleted again, that is logged, and the cancellation is raised all the same."""
    gate = backend.gate("publish")
    backend.failure = ("remove", OSError("broken"))
    async with anyio.create_task_group() as group:
        call = Call("task", lambda: store.create("f", b"x", purpose="batch")).start(group)
        await gate.reached()
        call.cancel()
        gate.open()
        await call.end()

    assert call.cancelled
    assert "could not undo" in caplog.text


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_what_somebody_else_deleted_need_not_be_undone(store, backend, caplog):
    """The published file is gone already: that is what was wanted, and no warning is due."""
    gate = backend.gate("publish")
    backend.failure = ("remove", FileNotFound("gone"))
    async with anyio.create_task_group() as group:
        call = Call("task", lambda: store.create("f", b"x", purpose="batch")).start(group)
        await gate.reached()
        call.cancel()
        gate.open()
        await call.end()

    assert call.cancelled
    assert backend.calls[-1] == "remove"
    assert caplog.text == ""


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_asyncio_timeout_and_wait_for_leave_nothing(store, backend):
    """The timeouts of asyncio cancel tasks too: `TimeoutError`, and nothing is stored."""

    async def source():
        yield b"first"
        await Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(store.create("f", source(), purpose="batch"), 0.01)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await store.create("f", source(), purpose="batch")

    assert backend.unfinished == 0
    assert (await store.list()).data == []


@cancelled_in_every_way
async def test_a_call_without_a_thread_yet_is_cancelled_at_once(store, backend, how):
    """A call that waits for a thread has not begun: cancelled, it ends, and nothing was asked of the storage."""
    gate = backend.gate("list_ids")
    async with anyio.create_task_group() as group:
        group.start_soon(store.list)
        await gate.reached()
        call = Call(how, lambda: store.create("f", b"x", purpose="batch")).start(group)
        await ticks()
        call.cancel()
        await call.end()
        gate.open()

    assert call.cancelled
    assert "stage" not in backend.calls


async def test_a_call_in_a_cancelled_scope_does_not_begin(store, backend):
    """In a scope that is cancelled already, nothing is asked of the storage."""
    with CancelScope() as scope:
        scope.cancel()
        await store.create("f", async_chunks(), purpose="batch")

    assert scope.cancelled_caught
    assert backend.calls == []


async def test_a_cancelled_scope_is_noticed_by_a_source_that_never_waits(store, backend):
    """An endless source without a single await does not keep `create` from noticing that it is cancelled."""
    with CancelScope() as scope:

        async def source():
            while True:
                if backend.written > 100:
                    scope.cancel()
                yield b"x" * 10

        await store.create("f", source(), purpose="batch", max_bytes=10_000)

    assert scope.cancelled_caught
    assert backend.unfinished == 0
    assert backend.written < 200


@cancelled_in_every_way
@pytest.mark.parametrize(("verb", "where"), [("get", "read_meta"), ("delete", "remove")])
async def test_a_call_that_began_is_waited_for(store, backend, how, verb, where):
    """Cancelled on the storage, a call ends when the storage has: nothing of it goes on behind the caller's back."""
    file = await store.create("f", b"x", purpose="batch")
    gate = backend.gate(where)
    async with anyio.create_task_group() as group:
        call = Call(how, lambda: getattr(store, verb)(file.id)).start(group)
        await gate.reached()
        call.cancel()
        await ticks()
        assert not call.over
        gate.open()
        await call.end()

    assert (call.cancelled_after, call.cancelled) == (how == "scope", how == "task")
    assert backend.inside == 0


@cancelled_in_every_way
async def test_verify_ends_with_the_file_it_is_at(store, backend, how):
    """Cancelled, `verify` does not go through the rest of the store."""
    for _ in range(3):
        await store.create("f", b"x", purpose="batch")
    gate = backend.gate("open_data")
    async with anyio.create_task_group() as group:
        call = Call(how, store.verify).start(group)
        await call.cancel_at(gate)

    assert call.cancelled
    assert backend.calls.count("open_data") == 1


@cancelled_in_every_way
async def test_an_open_that_nobody_gets_is_closed(store, backend, how):
    """If the task is cancelled while a file is being opened, its stream is closed, or handed over to be closed."""
    streams = []
    inner = store._store.open
    store._store.open = lambda file_id: streams.append(inner(file_id)) or streams[-1]
    file = await store.create("f", b"x", purpose="batch")
    gate = backend.gate("open_data")

    async def open_and_close():
        async with await store.open(file.id):
            await checkpoint()

    async with anyio.create_task_group() as group:
        call = Call(how, open_and_close).start(group)
        await call.cancel_at(gate)

    assert call.cancelled
    assert [stream.closed for stream in streams] == [True]


@cancelled_in_every_way
async def test_cancelled_readers_leave_no_descriptor_open(tmp_path, how):
    """A reader left by a cancellation closes its file: the process has no more descriptors open than before."""
    async with open_async_store(tmp_path / "store", fsync=False) as store:
        file = await store.create("f", b"x" * 1_000_000, purpose="batch")
        await store.get_content(file.id)
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            reading = Event()

            async def read(reading=reading):
                async with await store.open(file.id) as reader:
                    async for _ in reader:
                        reading.set()
                        await Event().wait()

            async with anyio.create_task_group() as group:
                call = Call(how, read).start(group)
                await reading.wait()
                call.cancel()
                await call.end()
            assert call.cancelled
        gc.disable()
        try:
            assert len(os.listdir("/proc/self/fd")) == before
        finally:
            gc.enable()


@cancelled_in_every_way
async def test_a_cancelled_task_still_closes_its_store(backend, how):
    """Leaving `async with` by a cancellation closes the store."""
    inside = Event()

    async def use():
        async with AsyncFileStore(FileStore(backend)):
            inside.set()
            await Event().wait()

    async with anyio.create_task_group() as group:
        call = Call(how, use).start(group)
        await inside.wait()
        call.cancel()
        await call.end()

    assert call.cancelled
    assert backend.calls == ["close"]
