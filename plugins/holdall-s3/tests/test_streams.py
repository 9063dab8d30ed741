"""Reading: connections that break, files that go, processes that fork, memory that stays bounded."""

from __future__ import annotations

import os
import signal
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from s3_raw import S3Raw
from s3_servers import S3Server

import holdall
from holdall import FileNotFound, FileStore, StorageError, StorageUnavailable, StoreURL
from holdall.ids import IdMinter

MIB = 1024 * 1024
DATA = bytes(range(256)) * 8192


@pytest.fixture
def store(server: S3Server) -> Iterator[FileStore]:
    """A store on each of the servers, emptied after."""
    url = StoreURL.parse(server.url("streams")).child(f"t-{IdMinter().mint()[0]}")
    with holdall.open_store(url) as opened:
        yield opened
    S3Raw(server, url.path).clear()


class _Breaks:
    """A body that breaks off after some bytes."""

    def __init__(self, body: Any, after: int) -> None:
        self.body, self.left = body, after

    async def read(self, size: int) -> bytes:
        if not self.left:
            raise ConnectionResetError("cut")
        data = await self.body.read(min(size, self.left))
        self.left -= len(data)
        return bytes(data)

    def close(self) -> None:
        self.body.close()


@pytest.mark.parametrize("after", [0, 1, 65_536, 1_000_000])
def test_a_broken_connection_is_taken_up(store: FileStore, after: int) -> None:
    """The bytes before and after the break are the right ones, each once."""
    file = store.create("a", DATA, purpose="batch")
    with store.backend.open_data(file.id, 10) as stream:
        stream._body = _Breaks(stream._body, after)
        assert stream.read(len(DATA)) == DATA[10:]


def test_a_connection_that_breaks_every_time(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is StorageUnavailable, and the stream stands where it stood."""
    file = store.create("a", DATA, purpose="batch")
    with store.backend.open_data(file.id) as stream:
        assert stream.read(5) == DATA[:5]
        original = type(stream)._open

        async def breaking(self: Any) -> None:
            await original(self)
            self._body = _Breaks(self._body, 0)

        monkeypatch.setattr(type(stream), "_open", breaking)
        stream._drop()
        with pytest.raises(StorageUnavailable):
            stream.read(MIB)
        monkeypatch.undo()
        assert stream.read(MIB) == DATA[5:][:MIB]


def test_any_number_of_files_is_open_at_once(store: FileStore) -> None:
    """A file that is open and not read keeps nobody from opening, creating or listing others, however many there are."""
    file = store.create("a", DATA, purpose="batch")
    streams: list[Any] = []
    done = threading.Event()

    def use() -> None:
        streams.extend(store.backend.open_data(file.id) for _ in range(70))
        store.create("b", b"b", purpose="batch")
        if len(list(store)) == 2:
            done.set()

    threading.Thread(target=use, daemon=True).start()
    came = done.wait(60)
    assert [stream.read(10) for stream in streams] == [DATA[:10]] * len(streams)
    for stream in streams:
        stream.close()
    assert came, f"stuck with {len(streams)} files open"


def test_replaced_meanwhile(store: FileStore) -> None:
    """A reader that has to ask again never goes on in another object's bytes."""
    file = store.create("a", DATA, purpose="batch")
    with store.backend.open_data(file.id) as stream:
        assert stream.read(5) == DATA[:5]
        with_other_bytes = bytes(len(DATA))
        raw = S3Raw(_server_of(store), store.url.path)
        raw.put(raw.key(file.id, "data.bin"), with_other_bytes)
        stream._drop()
        stream._left = b""
        with pytest.raises(FileNotFound, match="meanwhile"):
            stream.read(MIB)


def _server_of(store: FileStore) -> S3Server:
    assert store.url is not None
    return S3Server("", store.url.query["endpoint_url"], store.url.host)


def test_a_forked_child_works(store: FileStore) -> None:
    """It reads, writes, and reads on in a stream of the parent's; the parent's connections go on as before."""
    file = store.create("a", DATA, purpose="batch")
    stream = store.open(file.id)
    assert stream.read(10) == DATA[:10]
    upload = store.begin("b", purpose="batch")
    upload.write(b"of the parent")
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert stream.read(500_000) == DATA[10:500_010]
            stream.close()
            assert store.get_content(file.id) == DATA
            assert store.create("c", b"of the child", purpose="batch").bytes == 12
            upload.discard()  # a copy: the parent's upload goes on
            store.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert stream.read(500_000) == DATA[10:500_010]
    stream.close()
    assert store.get_content(upload.finish().id) == b"of the parent"
    assert sorted(f.filename for f in store) == ["a", "b", "c"]


def test_a_listing_does_not_go_on_in_a_forked_child(store: FileStore) -> None:
    """What was under way at the fork is the parent's: the child's copy is an error and no endless wait."""
    for n in range(30):
        store.create(f"{n}", b"", purpose="batch")
    metas = store.backend.read_metas(store.backend.list_ids())
    next(metas)
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        status = 1
        try:
            with pytest.raises(StorageError, match="the parent process began"):
                list(metas)
            assert len(list(store)) == 30
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(list(metas)) == 29


def test_a_call_that_is_interrupted_has_ended(store: FileStore) -> None:
    """Ctrl-C while a listing's metadata are read: what is under way ends, and the store goes on."""
    for n in range(20):
        store.create(f"{n}", b"", purpose="batch")
    metas = store.backend.read_metas(store.backend.list_ids())
    next(metas)
    metas.close()
    assert len(list(store)) == 20


def test_many_threads_one_store(store: FileStore) -> None:
    """Forty threads create and read through one handle."""
    found: list[bytes] = []

    def work(n: int) -> None:
        file = store.create(f"{n}", b"%d" % n, purpose="batch")
        found.append(store.get_content(file.id))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, found)) == list(range(40))


@pytest.mark.parametrize(("concurrency", "most"), [(1, 2), (3, 5)])
def test_memory_of_a_large_upload(server: S3Server, concurrency: int, most: int) -> None:
    """An upload takes the memory of the parts on their way, and a download that of a block."""
    url = StoreURL.parse(server.url("memory", part_size="5MiB", max_concurrency=concurrency))
    with holdall.open_store(url) as store:
        store.create("warm", bytes(6 * MIB), purpose="batch")
        block = os.urandom(MIB)
        tracemalloc.start()
        try:
            file = store.create("a", (block for _ in range(40)), purpose="batch")
            up = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            with store.open(file.id) as stream:
                while stream.read(MIB):
                    pass
            down = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert up < most * 5 * MIB
        assert down < 8 * MIB
    S3Raw(server, url.path).clear()


def test_signed_urls_are_bounded(store: FileStore) -> None:
    """S3 signs for at most seven days: more is refused, not cut."""
    file = store.create("a", b"x", purpose="batch")
    assert "X-Amz-Expires=604800" in store.backend.signed_url(file.id, 604_800)
    for seconds in (0, 604_801):
        with pytest.raises(holdall.HoldallError, match="604800"):
            store.backend.signed_url(file.id, seconds)
