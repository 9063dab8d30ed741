"""Another thread's change in the middle of a call to the memory backend: neither spoils the other."""

from __future__ import annotations

import itertools

import pytest
from tests.interleaving import disturbed

from holdall import FileNotFound, StorageError
from holdall.backends import memory

IDS = ["file-a", "file-b", "file-c", "file-d"]


def _put(backend, file_id):
    try:
        with backend.stage(file_id) as staged:
            staged.publish(b"{}")
    except StorageError:
        return 0
    return 1


def _remove(backend, file_id):
    try:
        backend.remove(file_id)
    except FileNotFound:
        return 0
    return 1


@pytest.mark.parametrize("there", [IDS, IDS[1:]], ids=["delete", "create"])
def test_a_listing_has_all_others_once(there):
    """The first file goes or comes during the listing, whatever the moment."""
    change = _remove if IDS[0] in there else _put
    for nth in itertools.count(1):
        backend = memory.MemoryBackend()
        for file_id in there:
            _put(backend, file_id)
        listed, reached = disturbed(
            memory, lambda b=backend: list(b.list_ids()), nth, lambda b=backend: change(b, IDS[0])
        )
        assert listed in (IDS, IDS[1:])
        if not reached:
            break
    assert nth > 20


@pytest.mark.parametrize("verb", [_put, _remove])
@pytest.mark.parametrize("other", IDS)
def test_two_changes(verb, other):
    """Of two creates or deletes of one file, one succeeds; of two files, both."""
    for nth in itertools.count(1):
        backend = memory.MemoryBackend()
        there = {_put: set(IDS) - {"file-c", other}, _remove: set(IDS)}[verb]
        for file_id in sorted(there):
            _put(backend, file_id)
        done = []
        mine, reached = disturbed(
            memory, lambda b=backend: verb(b, "file-c"), nth, lambda b=backend, d=done: d.append(verb(b, other))
        )
        if not reached:
            break
        assert mine + sum(done) == len({"file-c", other})
        left = {_put: there | {"file-c", other}, _remove: there - {"file-c", other}}[verb]
        assert list(backend.list_ids()) == backend._space.ids == sorted(backend._space.entries) == sorted(left)
    assert nth > 20
