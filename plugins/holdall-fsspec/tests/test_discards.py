"""Writes that fail: what they leave on the storage, and what becomes of the instance that they used."""

from __future__ import annotations

import json

import pytest

import holdall
from holdall import StorageError, StorageUnavailable

MIB = 1024 * 1024


def _source(size, error):
    yield b"x" * size
    raise error


def _only(pool):
    """The instance that is waiting for its next use."""
    with pool.use() as fs:
        return fs


def test_a_small_write_that_is_given_up_asks_nothing(store, bucket):
    """Nothing of it was sent, so there is nothing to look for."""
    with pytest.raises(ValueError, match="no more"):
        store.create("a", _source(10, ValueError("no more")), purpose="batch")
    assert bucket.calls() == []


def test_an_instance_comes_back_from_a_write_that_is_given_up(store, bucket):
    """The source failed, and not the connection: it is used again, and closed with the store."""
    before = _only(store.backend._place.pool)
    with pytest.raises(ValueError, match="no more"):
        store.create("a", _source(6 * MIB, ValueError("no more")), purpose="batch")
    assert _only(store.backend._place.pool) is before


def test_an_instance_with_which_a_write_failed_is_not_used_again(store, bucket):
    """It may have lost its connection."""
    before = _only(store.backend._place.pool)
    bucket.fail["put", "data.bin"] = ConnectionResetError("cut")
    with pytest.raises(StorageUnavailable):
        store.create("a", b"x", purpose="batch")
    assert _only(store.backend._place.pool) is not before


def test_metadata_of_another_is_no_proof_that_ones_own_arrived(store, bucket):
    """After a lost answer, what is stored is compared with what was sent."""
    staged = store.backend.stage("file-1")
    staged.write(b"x")
    key = "/b/p/file-1/meta.json"
    bucket.store[key] = bucket.file(key, json.dumps({"of": "another"}).encode())
    bucket.fail["put", "meta.json"] = ConnectionResetError("cut")
    with pytest.raises(ConnectionResetError):
        staged.publish(b"{}")


@pytest.mark.parametrize("size", [10, MIB])
def test_a_move_that_fails_leaves_nothing_on_a_tree(tmp_path, monkeypatch, size):
    """Neither the data, nor the temporary file with the metadata, nor the entry's directory."""
    with holdall.open_store(f"fsspec+file://{tmp_path}/s") as store:
        with store.backend._place.pool.use() as fs:
            kind = type(fs)

        def cut(self, *args, **kwargs):
            raise RuntimeError("cut")

        monkeypatch.setattr(kind, "mv", cut)
        with pytest.raises(StorageError):
            store.create("a", b"x" * size, purpose="batch")
    assert list((tmp_path / "s").iterdir()) == []
