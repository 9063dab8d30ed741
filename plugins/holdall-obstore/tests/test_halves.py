"""Writes and deletes of which the server has done half: on a store in memory whose requests the test can break."""

from __future__ import annotations

import logging

import pytest
from holdall_obstore._memory import MemoryBackend
from obstore.exceptions import AlreadyExistsError, GenericError

from holdall import StorageError, StorageUnavailable
from holdall.ids import IdMinter
from holdall.model import FileObject, encode_meta


class _Store:
    """Passes on to the store below, after `before` has had its say."""

    def __init__(self, below) -> None:
        self.below = below
        self.before = lambda method, key: None

    def put(self, key, data, **options):
        self.before("put", key)
        return self.below.put(key, data, **options)

    def delete(self, key):
        self.before("delete", key)
        return self.below.delete(key)

    def __getattr__(self, name):
        return getattr(self.below, name)


@pytest.fixture
def backend():
    """A backend on such a store."""
    made = MemoryBackend()
    made.store = _Store(made.store)
    yield made
    made.close()


def _entry():
    file_id, created_at = IdMinter().mint()
    return file_id, encode_meta(FileObject(id=file_id, filename="x", purpose="batch", bytes=3, created_at=created_at))


def _keys(backend):
    return [f"{name}/{rest}" for name, rest, _ in backend._objects()]


def _half(backend, meta, error, *, always):
    """A PUT of metadata stores some of them and fails, once or always."""
    happened = []

    def before(method, key):
        if method == "put" and key.endswith("meta.json") and (always or not happened):
            happened.append(key)
            backend.store.below.put(key, meta[:7])
            raise error

    backend.store.before = before


def test_half_of_its_own_metadata_is_replaced(backend):
    """A server that keeps what it had of a PUT whose connection broke: the whole is put in its place."""
    file_id, meta = _entry()
    _half(backend, meta, AlreadyExistsError("it exists"), always=False)
    with backend.stage(file_id) as staged:
        staged.write(b"abc")
        staged.publish(meta)
    assert backend.read_meta(file_id) == meta


def test_half_of_its_own_metadata_is_taken_back(backend):
    """If the whole cannot be put there, neither the half nor the data stays."""
    file_id, meta = _entry()
    _half(backend, meta, GenericError("status code: 500"), always=True)
    with pytest.raises(StorageUnavailable), backend.stage(file_id) as staged:
        staged.write(b"abc")
        staged.publish(meta)
    assert _keys(backend) == []


def test_metadata_of_another_are_neither_replaced_nor_taken_back(backend):
    """An entry that appears between data and metadata stays as it is, and so does its data."""
    file_id, meta = _entry()

    def before(method, key):
        if method == "put" and key.endswith("meta.json"):
            backend.store.below.put(key, b"of another")

    backend.store.before = before
    with pytest.raises(StorageError, match="exists already"), backend.stage(file_id) as staged:
        staged.write(b"abc")
        staged.publish(meta)
    assert backend.read_meta(file_id) == b"of another"
    assert len(_keys(backend)) == 2


def test_a_delete_whose_second_half_fails_has_deleted(backend, caplog):
    """The metadata are gone, so there is no file: no error, and the log says what is left."""
    file_id, meta = _entry()
    with backend.stage(file_id) as staged:
        staged.write(b"abc")
        staged.publish(meta)

    def before(method, key):
        if method == "delete" and key.endswith("data.bin"):
            raise GenericError("status code: 503")

    backend.store.before = before
    with caplog.at_level(logging.WARNING, "holdall"):
        backend.remove(file_id)
    assert _keys(backend) == [f"{file_id}/data.bin"]
    assert f"could not give back the space of deleted {file_id}" in caplog.text
