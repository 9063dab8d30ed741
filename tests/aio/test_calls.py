"""The asynchronous store keeps the promises of `FileStore`, on threads of its own, and never blocks the loop."""

from __future__ import annotations

import inspect
import threading

import anyio
import pytest
from anyio import to_thread
from anyio.lowlevel import checkpoint
from tests.aio._fakes import PATIENCE_SECONDS, Call, GatedBackend, ticks

import holdall
from holdall import AsyncFileStore, FileStore, open_async_store

pytestmark = pytest.mark.anyio

METHODS = ["close", "create", "delete", "get", "get_content", "list", "open", "sweep", "verify"]


@pytest.mark.parametrize("name", METHODS)
def test_each_method_takes_what_file_stores_does(name):
    """Every method has the parameters of its namesake, with the same defaults."""
    ours = inspect.signature(getattr(AsyncFileStore, name)).parameters
    theirs = inspect.signature(getattr(FileStore, name)).parameters

    assert [(p.name, p.kind, p.default) for p in theirs.values()] == [
        (p.name, p.kind, p.default) for p in ours.values()
    ]


def test_no_method_is_missing():
    """Whatever is public on `FileStore` is on the asynchronous one, but for what is about a store in itself."""
    public = {name for name in vars(FileStore) if not name.startswith("_")}

    assert public - {name for name in vars(AsyncFileStore) if not name.startswith("_")} == {
        "backend",
        "is_quick",
    }


async def test_the_methods_do_what_file_stores_do(url):
    """On both backends of the core each call gives what the synchronous store would."""
    async with open_async_store(url, max_bytes=1000) as store:
        first = await store.create(
            "a.txt", b"hello", purpose="assistants", metadata={"k": 1}, content_type="text/plain"
        )
        second = await store.create("b.txt", b"world", purpose="batch", expires_after=100)

        assert first.metadata == {"k": 1}
        assert first.content_type == "text/plain"
        assert second.expires_at == second.created_at + 100
        assert await store.get(first.id) == first
        assert await store.get_content(first.id) == b"hello"
        assert await store.get_content(first.id, 1, 3) == b"el"
        assert (await store.list()).data == [first, second]
        assert (await store.list(order="desc", limit=1)).data == [second]
        assert (await store.list(after=first.id)).data == [second]
        assert (await store.list(purpose="batch")).data == [second]
        assert [file async for file in store] == [first, second]
        assert (await store.verify()).ok
        assert (await store.sweep(dry_run=True)).expired == ()
        await store.delete(first.id)
        assert (await store.list()).data == [second]


async def test_the_properties_are_those_of_the_store(url):
    """`url`, `capabilities`, `max_bytes` and `remember` need no await; setting the last sets the store's."""
    async with open_async_store(url, max_bytes=1000) as store:
        inner = store._store

        assert (store.url, store.capabilities, store.max_bytes) == (inner.url, inner.capabilities, 1000)
        assert store.remember == inner.remember
        store.remember = 0
        assert (store.remember, inner.remember) == (0, 0)
        assert repr(store) == f"<AsyncFileStore {store.url}>"


async def test_errors_are_those_of_file_store(url):
    """Nothing is wrapped: bad ids, absent files and closed stores raise what they do synchronously."""
    store = await open_async_store(url)
    absent = "file-" + "0" * 32
    for call in (store.get, store.get_content, store.open, store.delete):
        with pytest.raises(holdall.InvalidFileId):
            await call("../x")
        with pytest.raises(holdall.FileNotFound) as caught:
            await call(absent)
        assert caught.value.file_id == absent
    with pytest.raises(holdall.InvalidRequest):
        await store.list(limit=0)
    await store.close()
    await store.close()
    for call in (store.get, store.get_content, store.open, store.delete):
        with pytest.raises(holdall.InvalidRequest, match="closed"):
            await call(absent)
    with pytest.raises(holdall.InvalidRequest, match="closed"):
        aiter(store)
    with pytest.raises(holdall.InvalidRequest, match="closed"):
        await store.__aenter__()


async def test_a_failing_storage_raises_its_storage_error():
    """What the backend raises arrives as the `StorageError` that `FileStore` makes of it, its cause chained."""
    backend = GatedBackend()
    cause = PermissionError(13, "no")
    backend.failure = ("read_meta", cause)
    store = AsyncFileStore(FileStore(backend))

    with pytest.raises(holdall.AccessDenied) as caught:
        await store.get("file-" + "0" * 32)

    assert caught.value.__cause__ is cause


VERBS = {
    "read_meta": lambda store, file: store.get(file.id),
    "open_data": lambda store, file: store.get_content(file.id),
    "stage": lambda store, file: store.create("f", b"x", purpose="batch"),
    "write": lambda store, file: store.create("f", b"x", purpose="batch"),
    "publish": lambda store, file: store.create("f", b"x", purpose="batch"),
    "list_ids": lambda store, file: store.list(),
    "remove": lambda store, file: store.delete(file.id),
    "debris": lambda store, file: store.sweep(),
    "close": lambda store, file: store.close(),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_blocked_storage_does_not_block_the_loop(verb):
    """While a verb of the backend blocks, other tasks run; it is they who let it go on."""
    backend = GatedBackend()
    store = AsyncFileStore(FileStore(backend))
    file = await store.create("f", b"x", purpose="batch")
    gate = backend.gate(verb)
    ended = False

    async def call():
        nonlocal ended
        await VERBS[verb](store, file)
        ended = True

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await gate.reached()
        await ticks(100)
        assert not ended
        gate.open()

    assert ended


async def test_a_store_has_threads_of_its_own():
    """At most `max_threads` calls are on the storage at once, and none of them takes from anyio's default limiter."""
    backend = GatedBackend()
    store = AsyncFileStore(FileStore(backend), max_threads=2)
    file = await store.create("f", b"x", purpose="batch")
    gate = backend.gate("open_data")
    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(store.get_content, file.id)
        await gate.reached()
        await ticks()
        assert to_thread.current_default_thread_limiter().borrowed_tokens == 0
        gate.open()

    assert backend.calls.count("open_data") == 6
    assert backend.most_inside <= 2


async def test_stores_do_not_starve_each_other():
    """A store whose threads are all blocked keeps no other store waiting."""
    blocked, free = GatedBackend(), GatedBackend()
    slow = AsyncFileStore(FileStore(blocked), max_threads=1)
    quick = AsyncFileStore(FileStore(free), max_threads=1)
    gate = blocked.gate("list_ids")
    async with anyio.create_task_group() as group:
        group.start_soon(slow.list)
        await gate.reached()
        with anyio.fail_after(PATIENCE_SECONDS):
            assert (await quick.list()).data == []
        gate.open()


@pytest.mark.parametrize("most", [0, -1, 1.5, True, "4"])
def test_max_threads_is_checked(most):
    """Anything but a positive whole number is `InvalidRequest`."""
    with pytest.raises(holdall.InvalidRequest, match="max_threads"):
        AsyncFileStore(FileStore(GatedBackend()), max_threads=most)


async def test_many_tasks_at_once(url):
    """Fifty tasks create, read and delete at once; each sees its own file, and what is left is what was kept."""
    kept = []

    async def work(number):
        data = str(number).encode() * 1000

        async def source():
            for start in range(0, len(data), 500):
                yield data[start : start + 500]

        file = await store.create(f"{number}", source() if number % 2 else data, purpose="batch")
        assert await store.get_content(file.id) == data
        if number % 5 == 0:
            await store.delete(file.id)
        else:
            kept.append(file.id)

    async with open_async_store(url, max_threads=4) as store:
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(work, number)

        assert sorted(kept) == [file.id async for file in store]
        assert len(kept) == 40


async def test_iterating_fetches_as_it_goes_and_holds_no_thread():
    """The first of many files costs a page, not the store; between two files no call is under way."""
    backend = GatedBackend()
    inner = FileStore(backend, remember=0)
    expected = [inner.create("f", b"x", purpose="batch").id for _ in range(250)]
    store = AsyncFileStore(inner, max_threads=1)
    files = aiter(store)
    backend.calls.clear()

    seen = [(await anext(files)).id]
    assert backend.calls.count("read_meta") == 100
    # There is one thread, and it is free.
    assert (await store.get(seen[0])).id == seen[0]
    seen += [file.id async for file in files]

    assert expected == seen
    with pytest.raises(StopAsyncIteration):
        await anext(files)


async def test_iterating_goes_on_when_its_place_is_deleted():
    """Deleting each file as it comes misses none."""
    inner = FileStore(GatedBackend())
    expected = [inner.create("f", b"x", purpose="batch").id for _ in range(150)]
    store = AsyncFileStore(inner)
    seen = []
    async for file in store:
        seen.append(file.id)
        await store.delete(file.id)

    assert expected == seen
    assert (await store.list()).data == []


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_iterating_goes_on_after_a_timeout():
    """If the task is cancelled while files are fetched, as by a timeout, the next one to iterate misses none."""
    backend = GatedBackend()
    inner = FileStore(backend, remember=0)
    expected = [inner.create("f", b"x", purpose="batch").id for _ in range(150)]
    files = aiter(AsyncFileStore(inner))
    gate = backend.gate("read_meta")
    async with anyio.create_task_group() as group:
        call = Call("task", lambda: anext(files)).start(group)
        await call.cancel_at(gate)

    assert call.cancelled
    assert [file.id async for file in files] == expected


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_an_error_that_a_cancelled_task_did_not_get_ends_no_iteration_silently():
    """If fetching files fails while the task is cancelled, the next one to iterate gets the error, not an end."""
    backend = GatedBackend()
    inner = FileStore(backend)
    files = aiter(AsyncFileStore(inner))
    gate = backend.gate("list_ids")
    backend.failure = ("list_ids", OSError("broken"))
    async with anyio.create_task_group() as group:
        call = Call("task", lambda: anext(files)).start(group)
        await call.cancel_at(gate)

    assert call.cancelled
    with pytest.raises(holdall.StorageError):
        await anext(files)


async def test_an_error_comes_after_the_files_before_it():
    """If the storage fails half-way, the files found before are delivered, then the error is raised, and that is all."""
    backend = GatedBackend()
    inner = FileStore(backend)
    inner.remember = 0
    expected = [inner.create("f", b"x", purpose="batch").id for _ in range(5)]
    fourth, read = expected[3], backend.read_meta

    def read_meta(file_id):
        if file_id == fourth:
            raise OSError("broken")
        return read(file_id)

    backend.read_meta = read_meta
    files, seen = aiter(AsyncFileStore(inner)), []
    with pytest.raises(holdall.StorageError):
        async for file in files:
            seen.append(file.id)  # noqa: PERF401 - a comprehension would lose what came before the error

    assert expected[:3] == seen
    assert [file async for file in files] == []


async def test_iterating_may_be_abandoned():
    """Leaving `async for` early leaves nothing to clean up: no warning, and the store closes."""
    inner = FileStore(GatedBackend())
    for _ in range(3):
        inner.create("f", b"x", purpose="batch")
    async with AsyncFileStore(inner) as store:
        async for _ in store:
            break
        await checkpoint()


async def test_a_sweep_has_the_arguments_that_it_is_given(tmp_path):
    """The age of leftovers that go, and that nothing may go."""
    (tmp_path / "file-dead").mkdir()
    async with open_async_store(tmp_path, fsync=False) as store:
        assert (await store.sweep()).leftovers == ()
        for dry_run in (True, False):
            report = await store.sweep(older_than=0, dry_run=dry_run)
            assert (len(report.leftovers), report.dry_run) == (1, dry_run)
            assert (tmp_path / "file-dead").exists() is dry_run


async def test_verify_reports_progress_on_the_loop(url):
    """`on_file` is called with each file's id and size, in the loop's own thread."""
    seen = []
    async with open_async_store(url) as store:
        file = await store.create("f", b"hello", purpose="batch")
        await store.verify(on_file=lambda *args: seen.append((*args, threading.get_ident())))

    assert seen == [(file.id, 5, threading.get_ident())]


async def test_an_exception_of_on_file_comes_through_unchanged(url):
    """What the caller's `on_file` raises ends `verify`, and is that very exception."""
    error = LookupError("mine")

    def fail(file_id, size):
        raise error

    async with open_async_store(url) as store:
        await store.create("f", b"hello", purpose="batch")
        with pytest.raises(LookupError) as caught:
            await store.verify(on_file=fail)

    assert caught.value is error


async def test_where_no_thread_can_be_started_the_error_says_so(monkeypatch):
    """It comes as it is, and nothing is stored."""

    async def run_sync(*_, **__):
        raise RuntimeError("can't start new thread")

    with holdall.open_store("memory://") as inner:
        store = AsyncFileStore(inner)
        with monkeypatch.context() as patched:
            patched.setattr(to_thread, "run_sync", run_sync)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                await store.create("f", b"x", purpose="batch")
        assert inner.list().data == []
