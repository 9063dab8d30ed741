"""What each call costs in requests, and that ranges transfer no more than themselves."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
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
        # Once to know that it has not expired, once for the backend to know that it is there.
        assert sent == ["GetObject meta.json"] * 2 + ["DeleteObject meta.json", "DeleteObject data.bin"]


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


def test_range_is_asked_for_as_such(store: FileStore) -> None:
    """Of a large file, a small range in the middle is one GET whose body has only that."""
    data = bytes(range(256)) * 8192
    file = store.create("a", data, purpose="batch")
    with watched(store) as sent, store.backend.open_data(file.id, 1_000_000, 1_000_010) as stream:
        assert stream.read(100) == data[1_000_000:1_000_010]
        assert stream.read(1) == b""
        assert sent == ["GetObject data.bin bytes=1000000-1000009"]
