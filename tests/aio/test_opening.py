"""Opening an asynchronous store by URL, and closing it."""

from __future__ import annotations

import pathlib
from functools import partial

import anyio
import pytest
from anyio import to_thread
from tests.aio._fakes import PATIENCE_SECONDS, Call, GatedBackend, ticks

import holdall
from holdall import FileStore, open_async_store
from holdall.aio import _opening

pytestmark = pytest.mark.anyio


async def test_it_is_awaited_or_entered(url):
    """Both forms give an open store; entering also closes it."""
    store = await open_async_store(url)
    assert isinstance(store, holdall.AsyncFileStore)
    await store.close()
    async with open_async_store(url) as entered:
        await entered.list()

    with pytest.raises(holdall.InvalidRequest, match="closed"):
        await entered.list()


async def test_an_awaited_store_is_a_context_manager(url):
    """`async with await open_async_store(...)` closes it too."""
    async with await open_async_store(url) as store:
        await store.list()

    with pytest.raises(holdall.InvalidRequest, match="closed"):
        await store.list()


@pytest.mark.parametrize("form", [str, pathlib.Path])
async def test_paths_and_options_are_those_of_open_store(tmp_path, form):
    """A path names a local store, options win over the URL's."""
    async with open_async_store(form(tmp_path / "a b"), fsync=False, max_bytes="1KiB") as store:
        assert store.max_bytes == 1024
        assert holdall.Capability.DURABLE not in store.capabilities

    assert (tmp_path / "a b").is_dir()


async def test_without_a_url_it_is_the_default_store(tmp_path, monkeypatch):
    """`$HOLDALL_STORE` names it, as for `open_store`."""
    monkeypatch.setenv("HOLDALL_STORE", f"file://{tmp_path}/default")
    async with open_async_store() as store:
        assert str(store.url) == f"file://{tmp_path}/default"


async def test_nothing_is_opened_before_it_is_awaited(tmp_path):
    """Calling the function alone makes no directory."""
    opening = open_async_store(tmp_path / "store")
    assert not (tmp_path / "store").exists()

    await (await opening).close()
    assert (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("url", "options", "kind"),
    [
        ("s3x://bucket", {}, holdall.UnknownScheme),
        ("memory://?fsycn=false", {}, holdall.InvalidStoreURL),
        ("memory://", {"max_threads": 0}, holdall.InvalidRequest),
    ],
)
async def test_errors_are_those_of_open_store(url, options, kind):
    """A wrong scheme, option or value raises when it is awaited and when it is entered."""
    with pytest.raises(kind):
        await open_async_store(url, **options)
    with pytest.raises(kind):
        async with open_async_store(url, **options):
            pass


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_store_that_nobody_gets_is_closed(monkeypatch):
    """If the task is cancelled while the store is being opened, the store is closed again."""
    backend = GatedBackend()
    gate = backend.gate("open")

    def slow_open(url, **options):
        gate.pass_through()
        return FileStore(backend)

    monkeypatch.setattr(_opening, "open_store", slow_open)
    async with anyio.create_task_group() as group:

        async def opening():
            return await open_async_store("memory://")

        call = Call("task", opening).start(group)
        await gate.reached()
        call.cancel()
        gate.open()
        await call.end()

    assert call.cancelled
    assert backend.calls == ["close"]


def test_a_store_may_serve_one_loop_after_another(tmp_path):
    """A store made outside of any loop works in loops that run one after the other."""
    store = holdall.AsyncFileStore(holdall.open_store(tmp_path), max_threads=1)

    async def use():
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(store.list)
        return await store.create("f", b"x", purpose="batch")

    ids = [anyio.run(use).id for _ in range(2)]

    assert ids == [file.id for file in store._store]
    anyio.run(store.close)


def test_a_store_may_serve_several_loops_at_once(anyio_backend):
    """A call that occupies the only thread in one loop keeps no other loop waiting, and each loop wakes its own tasks."""
    backend = GatedBackend()
    store = holdall.AsyncFileStore(holdall.FileStore(backend), max_threads=1)
    gate = backend.gate("list_ids")

    async def create():
        with anyio.fail_after(PATIENCE_SECONDS):
            async with anyio.create_task_group() as group:
                for name in "ab":
                    group.start_soon(partial(store.create, name, b"x", purpose="batch"))

    async def use():
        async with anyio.create_task_group() as group:
            group.start_soon(store.list)
            await gate.reached()
            group.start_soon(store.list)
            await ticks()
            await to_thread.run_sync(partial(anyio.run, create, backend=anyio_backend))
            gate.open()

    anyio.run(use, backend=anyio_backend)

    assert sorted(file.filename for file in store._store) == ["a", "b"]
