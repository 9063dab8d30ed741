"""Two clients at one bucket: what they may see of each other."""

from __future__ import annotations

import threading
import uuid

import pytest
from s3_raw import S3Raw
from tests.storage.conftest import url_of

import holdall
from holdall import FileNotFound

DATA = bytes(range(256)) * 4096


@pytest.fixture
def stores(seaweedfs_server, scheme):
    """Two handles on one place, the second by the other driver."""
    prefix = f"races/{uuid.uuid4().hex}"
    other = {"s3": "s3+obstore", "s3+obstore": "s3"}[scheme]
    with (
        holdall.open_store(url_of(seaweedfs_server, scheme, prefix)) as one,
        holdall.open_store(url_of(seaweedfs_server, other, prefix)) as two,
    ):
        yield one, two
    S3Raw(seaweedfs_server, prefix).clear()


def test_two_delete_the_same_file(stores):
    """One of them succeeds, perhaps both, since S3 does not tell; who does not gets FileNotFound; the file is gone."""
    for _ in range(10):
        file = stores[0].create("a", b"x", purpose="batch")
        start, outcomes = threading.Barrier(2), []

        def delete(store, file=file, start=start, outcomes=outcomes):
            start.wait()
            try:
                store.delete(file.id)
                outcomes.append("deleted")
            except FileNotFound:
                outcomes.append("absent")

        threads = [threading.Thread(target=delete, args=(store,)) for store in stores]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) in (["absent", "deleted"], ["deleted", "deleted"])
        with pytest.raises(FileNotFound):
            stores[0].get(file.id)
    assert list(stores[1]) == []
    assert stores[1].sweep(older_than=0).leftovers == ()


def test_create_while_listing(stores):
    """Whatever is listed is whole, and what was there before the listing began is in it."""
    writer, reader = stores
    before = [writer.create("a", DATA, purpose="batch").id for _ in range(5)]
    done = threading.Event()

    def create():
        for _ in range(20):
            writer.create("b", DATA, purpose="batch")
        done.set()

    thread = threading.Thread(target=create)
    thread.start()
    last = False
    while not last:
        last = done.is_set()
        files = list(reader)
        assert [f.id for f in files[:5]] == before
        assert len({f.id for f in files}) == len(files)
        assert reader.get_content(files[-1].id) == DATA
    thread.join()
    assert len(files) == 25


def test_delete_while_reading(stores):
    """A reader reads on or is told that the file is gone; it never gets other bytes."""
    writer, reader = stores
    file = writer.create("a", DATA * 8, purpose="batch")
    with reader.open(file.id) as stream:
        got = stream.read(10)
        writer.delete(file.id)
        try:
            got += stream.read()
        except FileNotFound:
            assert got == DATA[:10]
        else:
            assert got == DATA * 8
    with pytest.raises(FileNotFound):
        reader.get_content(file.id)
