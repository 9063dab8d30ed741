"""Small reads of what is near need no thread: the answers, errors and cancellations are the same."""

from __future__ import annotations

import anyio
import pytest
from tests.aio._fakes import GatedBackend

from holdall import AsyncFileStore, FileNotFound, FileStore, InvalidFileId, InvalidRequest
from holdall.aio._threads import Threads
from holdall.backends.memory import MemoryBackend

pytestmark = pytest.mark.anyio


@pytest.fixture
def no_threads(monkeypatch):
    """From here on, a call that needs a thread fails."""

    def install():
        async def run(*_, **__):
            pytest.fail("a thread was asked")

        monkeypatch.setattr(Threads, "run", run)

    return install


async def test_what_was_read_before_needs_no_thread(no_threads):
    """`get` of any file and `get_content` of a small one, after a create."""
    store = AsyncFileStore(FileStore(MemoryBackend()))
    file = await store.create("a", b"hello", purpose="batch")
    no_threads()

    assert await store.get(file.id) == file
    assert await store.get_content(file.id) == b"hello"
    assert await store.get_content(file.id, 1, 3) == b"el"
    with pytest.raises(InvalidRequest):
        await store.get_content(file.id, 6)


async def test_large_content_is_left_to_a_thread(monkeypatch):
    """Copying it would stop the loop for longer than a thread takes."""
    store = AsyncFileStore(FileStore(MemoryBackend()))
    file = await store.create("a", bytes(64 * 1024 + 1), purpose="batch")
    asked = []

    async def run(self, call, *args, **_):
        asked.append(call.__name__)
        return call(*args)

    monkeypatch.setattr(Threads, "run", run)
    assert len(await store.get_content(file.id)) == 64 * 1024 + 1
    assert asked == ["get_content"]


async def test_a_slow_storage_is_left_to_threads():
    """The loop goes on while the storage is waited for, also for a file that was read before."""
    backend = GatedBackend()
    store = AsyncFileStore(FileStore(backend))
    file = await store.create("a", b"hello", purpose="batch")
    gate = backend.gate("read_meta")
    async with anyio.create_task_group() as group:
        group.start_soon(store.get, file.id)
        await gate.reached()
        gate.open()


async def test_the_errors_are_the_same():
    """Deleted by another handle since it was read, and what is no id."""
    backend = MemoryBackend()
    inner = FileStore(backend)
    store = AsyncFileStore(inner)
    file = await store.create("a", b"hello", purpose="batch")
    FileStore(backend).delete(file.id)
    for call in (store.get, store.get_content):
        with pytest.raises(FileNotFound):
            await call(file.id)
        with pytest.raises(InvalidFileId):
            await call("../etc")
        with pytest.raises(InvalidFileId):
            await call(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["get", "get_content"])
async def test_others_have_their_turn(method):
    """A task that reads again and again lets others run in between, and can be cancelled."""
    store = AsyncFileStore(FileStore(MemoryBackend()))
    file = await store.create("a", b"hello", purpose="batch")
    turns = 0

    async def other():
        nonlocal turns
        for _ in range(50):
            await anyio.lowlevel.checkpoint()
            turns += 1

    async def reading():
        for _ in range(100_000):
            await getattr(store, method)(file.id)
        pytest.fail("nobody else had a turn")

    async with anyio.create_task_group() as group:
        group.start_soon(reading)
        await other()
        group.cancel_scope.cancel()

    assert turns == 50
