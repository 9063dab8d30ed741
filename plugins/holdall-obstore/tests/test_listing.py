"""Ids come in the order of text from servers that order keys in either known way; other orders are found out."""

from __future__ import annotations

import asyncio
import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from holdall_obstore._listing import in_order, start_after
from hypothesis import given
from hypothesis import strategies as st
from obstore_servers import Server

from holdall import StorageError, open_store
from holdall.ids import IdMinter

IDS = st.text("a0-_Z", min_size=1, max_size=4).map("file-".__add__)
BOUNDS = st.none() | IDS | st.sampled_from(["", "a", "file-", "file-~", "zzz", "file-a.b"])
STRAYS = ["README", "aa", "file", "file.x", "zz"]


@given(ids=st.sets(IDS), after=BOUNDS, before=BOUNDS, by_bytes=st.booleans())
def test_every_id_between_the_bounds_ascending(ids, after, before, by_bytes):
    """Whatever the ids and bounds, and whether the server orders by the bytes of keys or by the names of folders."""
    listed = sorted([*ids, *STRAYS], key=lambda name: f"{name}/" if by_bytes else name)
    offset = start_after(after)
    # What a server leaves out that starts after this name.
    rest = [] if offset is None else [n for n in listed if (f"{n}/" if by_bytes else n) > offset]
    expected = sorted(i for i in ids if (after is None or i > after) and (before is None or i < before))

    assert expected == list(in_order(rest, after, before))


def test_ids_of_one_length_are_not_held_back():
    """An id that no other can precede is given on before the next is asked for."""
    ids = iter(["file-1", "file-2"])
    assert next(in_order(ids, None, None)) == "file-1"
    assert next(ids) == "file-2"


def test_reading_stops_at_the_bound():
    """Of an endless listing only what is before the bound is read."""
    endless = (f"file-{n:06d}" for n in itertools.count())
    assert list(in_order(endless, "file-000001", "file-000004")) == ["file-000002", "file-000003"]


def test_a_server_without_order_is_found_out():
    """Ids that come in no known order are an error, since files would be missing from pages."""
    with pytest.raises(StorageError, match="does not list keys in order"):
        list(in_order(["file-b", "file-a"], None, None))


def test_only_what_has_metadata_is_listed(weed_s3: Server, prefix):
    """Ids are those whose metadata is there now: not a folder of data or of other people's files, however many keys
    and wherever an answer ends.
    """
    mint = IdMinter().mint
    ids = [mint()[0] for _ in range(4)]
    with open_store(weed_s3.url(prefix)) as store:
        backend = store.backend

        async def fill():
            keys = [f"{prefix}/{ids[0]}/data.bin.{n:04d}" for n in range(1100)]
            keys += [f"{prefix}/{ids[2]}/kept/meta.json", *map(backend.data_key, ids)]
            keys += [backend.meta_key(ids[0]), backend.meta_key(ids[3])]
            await asyncio.gather(*(backend.store.put_async(key, b"{}") for key in keys))

        asyncio.run(fill())
        assert list(backend.list_ids()) == [ids[0], ids[3]]
        assert list(backend.list_ids(after=ids[0])) == [ids[3]]
        backend.delete_meta(ids[0])
        assert list(backend.list_ids()) == [ids[3]]


@pytest.mark.parametrize("most", [0, 1])
def test_metadata_is_read_without_threads_where_none_can_be_started(weed_s3: Server, prefix, monkeypatch, most):
    """While the interpreter exits, or at the limit of threads, a listing takes longer, and misses nothing."""
    with open_store(weed_s3.url(prefix)) as store:
        expected = [store.create("a", b"", purpose="batch").id for _ in range(5)]
        real, begun = ThreadPoolExecutor.submit, []

        def submit(self, *arguments):
            if len(begun) == most:
                raise RuntimeError("can't start new thread")
            begun.append(arguments)
            return real(self, *arguments)

        store.remember = 0
        monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
        assert [file.id for file in store.list()] == expected
        assert len(begun) == most
