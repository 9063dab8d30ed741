"""What each call costs in requests, counted by a proxy before a real server."""

from __future__ import annotations

import collections
import threading
import time

import pytest
from obstore_servers import Proxy, Server

from holdall import open_store

MIB = 1024 * 1024


@pytest.fixture
def store(weed_s3: Server, proxy: Proxy, prefix):
    """A store whose requests go through the proxy."""
    with open_store(weed_s3.url(prefix, port=proxy.server_port)) as store:
        yield store


def test_a_small_file(store, proxy: Proxy):
    """Two PUTs to create, one GET to look, two to read, three requests to delete."""
    made = []
    create = proxy.counted(lambda: made.append(store.create("a.txt", b"x" * 1000, purpose="user_data").id))
    (file_id,) = made
    assert create == ["PUT data.bin", "PUT meta.json"]
    assert proxy.counted(lambda: store.get(file_id)) == ["GET meta.json"]
    assert proxy.counted(lambda: store.get_content(file_id)) == ["GET data.bin", "GET meta.json"]
    assert proxy.counted(lambda: store.get_content(file_id, 10, 20)) == ["GET data.bin", "GET meta.json"]
    assert proxy.counted(lambda: store.delete(file_id)) == [
        "DELETE data.bin",
        "DELETE meta.json",
        "GET meta.json",
    ]


def test_up_to_the_size_of_a_part_is_one_put(store, proxy: Proxy):
    """Exactly part_size is one PUT; one byte more is a multipart upload of two parts."""
    blocks = [b"x" * MIB] * 8
    create = proxy.counted(lambda: store.create("a.bin", iter(blocks), purpose="user_data"))
    assert create == ["PUT data.bin", "PUT meta.json"]
    create = proxy.counted(lambda: store.create("a.bin", iter([*blocks, b"x"]), purpose="user_data"))
    # The GET looks whether the id is taken: the end of a multipart upload cannot be made conditional. The HEAD looks
    # whether a sweep has taken the bytes before they had metadata.
    looks, sent = ["GET meta.json", "HEAD data.bin"], ["PUT meta.json", "PUT partNumber", "PUT partNumber"]
    assert create == [*looks, "POST uploadId", "POST uploads", *sent]


def test_a_failed_upload_is_aborted(store, proxy: Proxy):
    """A source that fails after three parts: the multipart upload is aborted, and nothing else is stored."""

    def failing():
        for _ in range(30):
            yield b"x" * MIB
        raise RuntimeError("the source broke")

    def create():
        with pytest.raises(RuntimeError, match="the source broke"):
            store.create("a.bin", failing(), purpose="user_data")

    asked = proxy.counted(create)
    assert asked.count("DELETE uploadId") == 1
    assert not [request for request in asked if request.startswith("POST uploadId") or "meta.json" in request]


def test_a_page_costs_what_it_holds(store, proxy: Proxy):
    """Of 1200 entries, the newest and the oldest page of 20 cost at most 8 lists and one read an entry and one more."""
    backend = store.backend
    first_ms = int(time.time() * 1000) - 1200 * 60_000
    for n in range(1200):
        # As objects, without the rest of a create: what is listed is keys.
        file_id = f"file-{first_ms + n * 60_000:012x}7000800000000000{n:04x}"
        meta = b'{"id": "%b", "object": "file", "filename": "a", "purpose": "user_data", "bytes": 0, "created_at": 1, '
        backend.store.put(backend.data_key(file_id), b"")
        backend.store.put(backend.meta_key(file_id), meta % file_id.encode() + b'"status": "uploaded"}')
    for order in ("asc", "desc"):
        asked = collections.Counter(proxy.counted(lambda order=order: store.list(limit=20, order=order)))
        assert set(asked) == {"GET list-type", "GET meta.json"}
        assert asked["GET list-type"] <= 8
        assert asked["GET meta.json"] <= 21
    # Two objects an entry, a thousand a list: 1200 entries are three lists, of which the last may be full.
    asked = proxy.counted(lambda: list(backend.list_ids()))
    assert len(asked) in {3, 4}
    page = store.list(limit=20)
    asked = collections.Counter(proxy.counted(lambda: store.list(after=page.last_id, limit=20)))
    assert asked["GET list-type"] <= 3
    assert asked["GET meta.json"] <= 21


def test_listing_again_reads_nothing(store, proxy: Proxy):
    """What was read before is not read again, unless another process has made it; what another removed is left out."""
    with open_store(store.url) as other:
        ids = [other.create(f"{n}", b"", purpose="user_data").id for n in range(30)]
        listed = []
        first = collections.Counter(proxy.counted(lambda: listed.append([f.id for f in store.list()])))
        assert first["GET meta.json"] == 30
        again = proxy.counted(lambda: listed.append([f.id for f in store.list()]))
        assert set(again) == {"GET list-type"}
        other.delete(ids[7])
        new = other.create("new", b"", purpose="user_data").id
        last = collections.Counter(proxy.counted(lambda: listed.append([f.id for f in store.list()])))
        assert last["GET meta.json"] == 1
        assert listed == [ids, ids, [*ids[:7], *ids[8:], new]]


def test_opening_asks_nothing(weed_s3: Server, proxy: Proxy, prefix):
    """A store can be opened where no server answers yet."""
    assert proxy.counted(lambda: open_store(weed_s3.url(prefix, port=proxy.server_port)).close()) == []


def test_a_page_is_read_at_once(store, monkeypatch):
    """The metadata of a page of 20, and of the file after it, are all on their way before the first is waited for."""
    for n in range(21):
        store.create(f"{n}", b"", purpose="user_data")
    barrier, find = threading.Barrier(21), store.backend.find_meta

    def together(file_id):
        barrier.wait(30)
        return find(file_id)

    monkeypatch.setattr(store.backend, "find_meta", together)
    page = store.list(limit=20)
    assert ([f.filename for f in page], page.has_more) == ([f"{n}" for n in range(20)], True)
