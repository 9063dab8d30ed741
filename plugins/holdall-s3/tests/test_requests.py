"""What each call costs in requests, and that ranges transfer no more than themselves."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator

import pytest
from holdall_s3._client import Client, Pending
from s3_counting import watched
from s3_raw import S3Raw
from s3_servers import S3Server

import holdall
from holdall import FileStore, StoreURL
from holdall.ids import IdMinter

MIB = 1024 * 1024


@pytest.fixture
def store(server: S3Server) -> Iterator[FileStore]:
    """A store on each of the servers, emptied after."""
    url = StoreURL.parse(server.url("requests")).child(f"t-{IdMinter().mint()[0]}")
    with holdall.open_store(url) as opened:
        yield opened
    S3Raw(server, url.path).clear()


def test_opening_sends_nothing(server: S3Server) -> None:
    """A store can be opened before its server is there."""
    with holdall.open_store(server.url("x", endpoint_url="http://127.0.0.1:9")) as store, watched(store) as sent:
        assert sent == []


def test_calls_on_a_small_file(store: FileStore) -> None:
    """Two PUTs create it, the data first; one GET knows it; two read it; each range is one GET more."""
    with watched(store) as sent:
        file = store.create("a", b"some bytes", purpose="batch")
        assert sent == ["PutObject data.bin", "PutObject meta.json"]
        sent.clear()
        store.get(file.id)
        assert sent == ["GetObject meta.json"]
        sent.clear()
        assert store.get_content(file.id) == b"some bytes"
        assert sent == ["GetObject meta.json", "GetObject data.bin bytes=0-9"]
        sent.clear()
        with store.open(file.id) as stream:
            assert stream.read() == b"some bytes"
        assert sent == ["GetObject meta.json", "GetObject data.bin bytes=0-9"]
        sent.clear()
        store.delete(file.id)
        # For the backend to know that it is there; that it has not expired is remembered.
        assert sent == ["GetObject meta.json", "DeleteObject meta.json", "DeleteObject data.bin"]


@pytest.mark.parametrize(("size", "parts"), [(5 * MIB, 0), (5 * MIB + 1, 2), (10 * MIB, 2), (11 * MIB, 3)])
def test_parts_of_an_upload(server: S3Server, size: int, parts: int) -> None:
    """What fits into a part is one PUT; more are as many parts as it takes, however it is written."""
    with holdall.open_store(server.url("parts", part_size="5MiB")) as store, watched(store) as sent:
        data = bytes(range(256)) * (size // 256) + bytes(size % 256)
        file = store.create("a", io.BytesIO(data), purpose="batch")
        assert (sent.of("UploadPart"), sent.of("CompleteMultipartUpload")) == (parts, 1 if parts else 0)
        assert sent.of("PutObject") == (1 if parts else 2)
        assert store.get_content(file.id) == data
        store.delete(file.id)


def test_a_page_of_many(store: FileStore) -> None:
    """The newest and the oldest page of five among 150 cost some LISTs, and one GET for each file and the next."""
    backend = store.backend
    for n in range(150):
        # Only metadata: a page reads nothing else.
        raw = store.create(f"{n}", b"", purpose="batch")
    for order in ("asc", "desc"):
        with watched(store) as sent:
            page = store.list(limit=5, order=order)
            assert (len(page), page.has_more) == (5, True)
            assert sent.of("ListObjectsV2") <= 4
            assert sent.of("GetObject") <= 6
    with watched(store) as sent:
        assert len(list(backend.list_ids())) == 150
        assert sent == ["ListObjectsV2"] * 2
        sent.clear()
        assert next(backend.list_ids(after=raw.id), None) is None
        assert next(backend.list_ids(after="zzz"), None) is None
        assert next(backend.list_ids(before="file-"), None) is None
        assert sent == ["ListObjectsV2"]


def test_listing_again_reads_nothing(store: FileStore) -> None:
    """What was read before is not read again, unless another process has made it; what another removed is left out."""
    ids = [store.create(f"{n}", b"", purpose="batch").id for n in range(30)]
    with holdall.open_store(store.url) as other:
        assert [f.id for f in other.list()] == ids
        with watched(other) as sent:
            assert [f.id for f in other.list()] == ids
            assert set(sent) == {"ListObjectsV2"}
            store.delete(ids[7])
            new = store.create("new", b"", purpose="batch").id
            assert [f.id for f in other.list()] == [*ids[:7], *ids[8:], new]
            assert sent.of("GetObject") == 1


def test_range_is_asked_for_as_such(store: FileStore) -> None:
    """Of a large file, a small range in the middle is one GET whose body has only that."""
    data = bytes(range(256)) * 8192
    file = store.create("a", data, purpose="batch")
    with watched(store) as sent, store.backend.open_data(file.id, 1_000_000, 1_000_010) as stream:
        assert stream.read(100) == data[1_000_000:1_000_010]
        assert stream.read(1) == b""
        assert sent == ["GetObject data.bin bytes=1000000-1000009"]


def test_turns_of_the_loop(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hand-over to the client's loop costs as much as a fast request: one for each request, none for the body of
    a small file, none to find its end, none to close it.
    """
    file = store.create("a", b"some bytes", purpose="batch")
    turns: list[object] = []
    start = Client.start

    def counted(self: Client, coroutine: object) -> Pending[object]:
        turns.append(coroutine)
        return start(self, coroutine)

    monkeypatch.setattr(Client, "start", counted)
    assert store.get_content(file.id) == b"some bytes"
    assert len(turns) == 2
    with store.open(file.id) as stream:
        assert stream.read() == b"some bytes"
        assert stream.read() == b""
    assert len(turns) == 4
    with store.backend.open_data(file.id) as stream:
        assert stream.read(100) == b"some bytes"
        assert stream.read(100) == b""
    assert len(turns) == 5


def test_metadata_of_many_share_a_turn(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of 17 entries and one that is absent, in the order asked for, take three turns of the loop."""
    ids = [store.create(f"{n}", b"", purpose="batch").id for n in range(17)]
    started: list[object] = []
    start = Client.start
    monkeypatch.setattr(Client, "start", lambda self, coroutine: started.append(0) or start(self, coroutine))
    asked = [ids[16], "file-absent", *ids[:16]]
    assert [file_id for file_id, _ in store.backend.read_metas(asked)] == [ids[16], *ids[:16]]
    assert len(started) == 3


def test_a_page_is_read_at_once(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The metadata of a page of 20, and of the file after it, are all on their way before the first is waited for."""
    for n in range(21):
        store.create(f"{n}", b"", purpose="batch")
    barrier, read = asyncio.Barrier(21), Client.read

    async def together(self: Client, *arguments: str) -> bytes:
        async with asyncio.timeout(30):
            await barrier.wait()
        return await read(self, *arguments)

    monkeypatch.setattr(Client, "read", together)
    page = store.list(limit=20)
    assert ([f.filename for f in page], page.has_more) == ([f"{n}" for n in range(20)], True)
