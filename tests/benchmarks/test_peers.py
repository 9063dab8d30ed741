"""What holdall is measured against does what it is measured at."""

from __future__ import annotations

import pytest
from benchmarks.peers import PEERS, _objects, find

pytestmark = [
    # Of the peers, which are not ours to mend: filedepot uses a module that will go, file-keeper leaves files open.
    pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NAMES = [name for classes in PEERS.values() for name in classes]


def _open(name, tmp_path):
    found, missing = find([name])
    if missing:
        pytest.skip(f"comes with the bench group: {missing[name]}")
    return found[0](tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_peer_gives_back_what_it_was_given(name, tmp_path):
    """Each finds what it stored, lists all of it, pages some of it, and loses what is deleted."""
    peer = _open(name, tmp_path)
    contents = [f"{n}".encode() * 300 for n in range(5)]
    ids = [peer.create(data) for data in contents]

    assert [peer.get_content(file_id) for file_id in ids] == contents
    for file_id, data in zip(ids, contents, strict=True):
        assert peer.facts(peer.get(file_id)) in {("report.jsonl", len(data)), ("report.jsonl", None)}
    assert len(peer.list()) == 5
    assert len(peer.page(3)) == 3
    peer.delete(ids[2])
    assert len(peer.list()) == 4
    peer.close()


def test_a_peer_that_is_not_installed_is_named_and_is_no_error(monkeypatch):
    """Whoever has not all of them measures the others."""
    monkeypatch.setitem(PEERS, "_absent", ("Absent",))
    found, missing = find(["Absent", "SeedFloor"])

    assert [kind.name for kind in found] == ["seed-protocol floor"]
    assert list(missing) == ["Absent"]


def test_what_is_compared_on_object_stores_can_be_made():
    """Each client has all that is asked of it, and a driver of holdall does it."""
    for kind in (*_objects.CLIENTS, _objects.HoldallStore):
        assert not kind.__abstractmethods__, kind
    store = _objects.HoldallStore("memory://", "holdall")
    file_id = store.create(b"hello")
    assert store.get(file_id)["bytes"] == 5
    assert store.get_content(file_id) == b"hello"
    assert len(store.list()) == 1
    store.delete(file_id)
    assert len(store.list()) == 0
    store.close()
