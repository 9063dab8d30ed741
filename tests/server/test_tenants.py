"""Stores of tenants: opened when asked for, few at a time, never closed under who uses them."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

import holdall
from holdall import InvalidRequest
from holdall.backends.local import LocalBackend
from holdall.server._places import Places
from holdall.server._quota import Quota
from holdall.server._tenants import Stores, UploadsOf

NAMES = ["a", "b", "c", "d"]


async def _works(store):
    return (await store.list(limit=1)).has_more is False


@pytest.mark.parametrize("url", ["local", "memory://"])
def test_few_stores_are_open_and_none_is_closed_in_use(url, tmp_path):
    """Beyond the bound, those that nobody uses are closed, the longest unused first; one in use stays."""

    async def run():
        async with Stores(str(tmp_path) if url == "local" else url, tenants=lambda: NAMES, most_open=2) as stores:
            async with stores.lease("a") as used:
                file = await used.create("x", b"x", purpose="batch")
                for name in NAMES[1:]:
                    async with stores.lease(name) as store:
                        assert await _works(store)
                assert await used.get_content(file.id) == b"x"
                assert list(stores._entries) == ["a", "d"]
                async with stores.lease("a") as again:
                    assert again is used
            async with stores.lease("b"), stores.lease("c"):
                pass
            with pytest.raises(InvalidRequest, match="closed"):
                await used.get(file.id)
            async with stores.lease("a") as reopened:
                assert await reopened.get(file.id) == file
        with pytest.raises(InvalidRequest, match="closed"):
            await reopened.get(file.id)

    anyio.run(run)


def test_a_store_asked_for_by_many_at_once_is_opened_once(tmp_path):
    """All get the same one."""

    async def run():
        seen = []
        async with Stores(str(tmp_path), tenants=lambda: NAMES) as stores:

            async def use():
                async with stores.lease("a") as store:
                    await store.list(limit=1)
                    seen.append(store)

            async with anyio.create_task_group() as tasks:
                for _ in range(20):
                    tasks.start_soon(use)
        assert len({id(store) for store in seen}) == 1

    anyio.run(run)


def test_a_store_that_does_not_open_is_tried_again(tmp_path):
    """The error reaches who asked; the next one finds it open when the cause is gone."""

    async def run():
        async with Stores(str(tmp_path), tenants=lambda: NAMES) as stores:
            (tmp_path / "a").write_bytes(b"in the way")
            with pytest.raises(holdall.StorageError):
                async with stores.lease("a"):
                    pass
            (tmp_path / "a").unlink()
            async with stores.lease("a") as store:
                assert await _works(store)

    anyio.run(run)


def test_a_store_that_is_open_already_stays_open(tmp_path):
    """It is lent as it is, and is nobody's to close; keys and quotas need a URL."""

    async def run():
        async with holdall.open_async_store("memory://") as own:
            async with Stores(own) as stores, stores.lease(None) as lent:
                assert lent is own
                assert stores.tenants() == [None]
            assert await _works(own)
            with pytest.raises(InvalidRequest, match="URL"):
                Stores(own, quota=lambda _: Quota(1))
            with pytest.raises(InvalidRequest, match="URL"):
                Stores(own, tenants=lambda: NAMES)

    anyio.run(run)


@pytest.mark.parametrize("name", ["..", "a/b", "", "A", "file-x", "-a", "ä", "a" * 33])
def test_what_could_reach_elsewhere_is_no_tenant(name, tmp_path):
    """Whoever the name comes from: only plain names become part of a path."""

    async def run():
        async with Stores(str(tmp_path / "root"), tenants=lambda: NAMES) as stores:
            with pytest.raises(InvalidRequest, match="cannot be a tenant"):
                async with stores.lease(name):
                    pass
        assert [path.name for path in tmp_path.iterdir()] == ["root"]
        assert list((tmp_path / "root").iterdir()) == []

    anyio.run(run)


def test_whether_the_storage_answers_is_asked_of_no_tenant(tmp_path):
    """It is ready whatever a function of quotas knows, and opens nobody's store."""

    async def run():
        async with Stores(str(tmp_path), tenants=lambda: NAMES, quota={"a": None}.__getitem__) as stores:
            await stores.check(60)
            assert stores._entries == {}
        with pytest.raises(RuntimeError, match="not started"):
            await stores.check(60)

    anyio.run(run)


@pytest.fixture
def still_open(monkeypatch):
    """The local storages that are open."""
    found, make, close = [], LocalBackend.__init__, LocalBackend.close

    def opened(self, *args, **options):
        make(self, *args, **options)
        found.append(self)

    def closed(self):
        close(self)
        found.remove(self)

    monkeypatch.setattr(LocalBackend, "__init__", opened)
    monkeypatch.setattr(LocalBackend, "close", closed)
    return found


def test_what_was_opened_is_closed_also_by_who_is_cancelled(tmp_path, still_open):
    """A client that goes at the wrong moment, or a server that stops at once, leaves no storage open."""

    async def cancelled(context):
        with anyio.CancelScope() as scope:
            async with context:
                scope.cancel()
                await checkpoint()

    async def run():
        places = Places(most_open=1)
        stores = Stores(str(tmp_path), tenants=lambda: NAMES, most_open=1)
        async with stores:
            async with stores.lease("a"):
                pass
            await cancelled(stores.lease("b"))
            assert len(still_open) == 2  # the root, and that of b
            await cancelled(stores.apart("a"))
            await cancelled(UploadsOf(stores).apart("a"))
            assert len(still_open) == 2
            with holdall.open_store(tmp_path / "a") as a, holdall.open_store(tmp_path / "b") as b:
                async with places.lease(holdall.AsyncFileStore(a)):
                    pass
                await cancelled(places.lease(holdall.AsyncFileStore(b)))
                assert len(still_open) == 5
            await places.close()
        await cancelled(stores)

    anyio.run(run)
    assert still_open == []


def test_stores_that_make_room_at_the_same_time_close_each_once(tmp_path, still_open):
    """Of many requests that end at once, none trips over what another is closing, and none closes what is in use."""
    names = [f"t{number}" for number in range(8)]
    ended = []

    async def run():
        async with Stores(str(tmp_path), tenants=lambda: names, most_open=2) as stores:

            async def one(name):
                for _ in range(20):
                    async with stores.lease(name) as store:
                        await checkpoint()
                        assert await _works(store)
                ended.append(name)

            async with anyio.create_task_group() as group:
                for name in names:
                    group.start_soon(one, name)

    anyio.run(run)
    assert sorted(ended) == names
    assert still_open == []
