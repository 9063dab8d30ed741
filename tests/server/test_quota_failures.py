"""What counts against a quota when the storage fails: what is stored, and nothing else."""

from __future__ import annotations

import pytest

import holdall
from holdall import FileStore
from holdall.backends.memory import MemoryBackend
from holdall.server import Quota
from holdall.server._quota import Ledger, Metered, QuotaExceeded


class Failing(MemoryBackend):
    """Raises at the call that is named."""

    def __init__(self):
        super().__init__()
        self.at = ""
        self.written = 0
        self.closed = False

    def step(self, call):
        if self.at == call:
            raise ConnectionResetError(call)

    def stage(self, file_id):
        self.step("stage")
        staged = super().stage(file_id)
        for name in ("write", "publish", "discard"):
            setattr(staged, name, self._failing(name, getattr(staged, name)))
        return staged

    def _failing(self, name, real):
        def call(*arguments):
            if name == "write":
                self.written += len(arguments[0])
            self.step(name)
            return real(*arguments)

        return call

    def remove(self, file_id):
        self.step("remove")
        super().remove(file_id)

    def close(self):
        self.closed = True
        self.step("close")
        super().close()


def _put(store, size):
    return store.create("a", b"x" * size, purpose="batch")


@pytest.fixture
def backend():
    return Failing()


@pytest.fixture
def store(backend):
    """With room for ten bytes and two files, and counted once: what follows is known from what happens here."""
    store = FileStore(Metered(backend, Ledger(lambda: 0.0), Quota(max_bytes=10, max_files=2)))
    store.delete(_put(store, 1).id)
    return store


@pytest.mark.parametrize("at", ["stage", "write", "publish"])
def test_a_write_that_fails_gives_back_its_room(store, backend, at):
    """Wherever it fails, the next one has all of it."""
    for _ in range(3):
        backend.at = at
        with pytest.raises(holdall.StorageError):
            _put(store, 8)
    backend.at = ""
    _put(store, 4)
    _put(store, 6)


def test_a_write_whose_rest_cannot_be_removed_gives_back_its_room(store, backend):
    """What it left is a leftover, which does not count."""
    upload = store.begin("a", purpose="batch")
    upload.write(b"x" * 8)
    backend.at = "discard"
    upload.discard()
    backend.at = ""
    _put(store, 4)
    _put(store, 6)


def test_a_file_that_could_not_be_deleted_still_counts(store, backend):
    """It is there."""
    file = _put(store, 10)
    backend.at = "remove"
    with pytest.raises(holdall.StorageError):
        store.delete(file.id)
    with pytest.raises(QuotaExceeded):
        _put(store, 1)


def test_what_is_over_the_quota_does_not_reach_the_storage(store, backend):
    """It is refused before it is written."""
    backend.written = 0
    with store.begin("a", purpose="batch") as upload:
        upload.write(b"x" * 6)
        with pytest.raises(QuotaExceeded):
            upload.write(b"x" * 5)
    assert backend.written == 6


@pytest.mark.parametrize("at", ["", "close"])
def test_the_storages_of_files_and_parts_are_both_closed(at):
    """Also if closing that of the parts fails."""
    files, parts = Failing(), Failing()
    parts.at = at
    meter = Metered(files, Ledger(), Quota(), parts)
    try:
        meter.close()
    except ConnectionResetError:
        assert at
    assert (files.closed, parts.closed) == (True, True)
