"""Reading a stored file as an asynchronous stream."""

from __future__ import annotations

import io

import anyio
import pytest
from tests.aio._fakes import GatedBackend, ticks

import holdall
from holdall import AsyncFileStore, FileStore, open_async_store

pytestmark = pytest.mark.anyio

DATA = bytes(range(256)) * 4096


async def test_chunks_come_in_order_and_bounded(url):
    """Iterating gives all bytes, in chunks of at most 256 KiB, none of them empty."""
    async with open_async_store(url) as store:
        file = await store.create("f", DATA, purpose="batch")
        async with await store.open(file.id) as reader:
            chunks = [chunk async for chunk in reader]

    assert b"".join(chunks) == DATA
    assert {len(chunk) for chunk in chunks} == {256 * 1024}


async def test_an_empty_file_has_no_chunks(url):
    """Iterating an empty file ends at once; reading it gives nothing."""
    async with open_async_store(url) as store:
        file = await store.create("f", b"", purpose="batch")
        async with await store.open(file.id) as reader:
            assert [chunk async for chunk in reader] == []
            assert await reader.read() == b""


async def test_read_seek_and_tell(url):
    """`read` gives what is asked for, `seek` moves from start, position and end, `tell` knows where."""
    async with open_async_store(url) as store:
        file = await store.create("f", DATA, purpose="batch")
        async with await store.open(file.id) as reader:
            assert await reader.read(10) == DATA[:10]
            assert reader.tell() == 10
            assert await reader.seek(700_000) == 700_000
            assert await reader.read(10) == DATA[700_000:700_010]
            assert await reader.seek(-5, io.SEEK_CUR) == 700_005
            assert await reader.seek(-3, io.SEEK_END) == len(DATA) - 3
            assert await reader.read() == DATA[-3:]
            assert await reader.read(1) == b""
            assert await reader.seek(1) == 1
            assert b"".join([chunk async for chunk in reader]) == DATA[1:]


async def test_a_closed_reader_stays_closed(url):
    """`aclose` may be called twice; reading afterwards is a `ValueError`."""
    async with open_async_store(url) as store:
        file = await store.create("f", b"x", purpose="batch")
        reader = await store.open(file.id)
        assert not reader.closed
        await reader.aclose()
        await reader.aclose()
        assert reader.closed
        with pytest.raises(ValueError, match="closed"):
            await reader.read()


async def test_damage_is_the_error_it_is_synchronously(tmp_path):
    """A file cut short raises `IntegrityError` while it is read."""
    async with open_async_store(tmp_path) as store:
        file = await store.create("f", DATA, purpose="batch")
        (tmp_path / file.id / "data.bin").write_bytes(DATA[:1000])
        async with await store.open(file.id) as reader:
            with pytest.raises(holdall.IntegrityError):
                await reader.read()


async def test_reading_and_closing_run_on_the_stores_threads():
    """A stream that blocks, in a read or in its close, does not block the loop."""
    backend = GatedBackend()
    store = AsyncFileStore(FileStore(backend))
    file = await store.create("f", b"hello", purpose="batch")
    backend.open_data = lambda *args: _SlowStream(backend)
    async with await store.open(file.id) as reader:
        for verb, call in (("stream.read", reader.read), ("stream.close", reader.aclose)):
            gate = backend.gate(verb)
            async with anyio.create_task_group() as group:
                group.start_soon(call)
                await gate.reached()
                await ticks()
                gate.open()

    assert reader.closed


class _SlowStream(io.BytesIO):
    def __init__(self, backend):
        super().__init__(b"hello")
        self._backend = backend

    def read(self, size=-1):
        self._backend._at("stream.read")
        return super().read(size)

    def close(self):
        self._backend._at("stream.close")
        super().close()
