"""When removed entries are erased: not while deleting goes on, soon after, and at the latest when the store is closed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

import holdall
from holdall.backends.local import _reaper


@pytest.fixture
def erased(monkeypatch):
    """Released once for each entry that was erased, by whatever thread."""
    released = threading.Semaphore(0)
    real = _reaper.erase

    def erase(name, dir_fd):
        real(name, dir_fd)
        released.release()

    monkeypatch.setattr(_reaper, "erase", erase)
    return released


def _trash(root):
    return [name for name in os.listdir(f"{root}/.staging") if name.endswith(".old")]


def _filled(root, count):
    store = holdall.open_store(root, fsync=False)
    return store, [store.create("a", b"a", purpose="batch").id for _ in range(count)]


def test_nothing_is_erased_while_deleting_goes_on(root, monkeypatch):
    """As long as there was no pause, the removed entries are only moved; `close` erases all, without waiting for one."""
    monkeypatch.setattr(_reaper, "_PAUSE_SECONDS", 3600)
    store, ids = _filled(root, 20)
    for file_id in ids:
        store.delete(file_id)
    assert len(_trash(root)) == 20
    assert store.list().data == []
    store.close()
    assert _trash(root) == []


def test_erased_after_a_pause(root, erased):
    """Nobody has to close the store for its space to come back."""
    store, ids = _filled(root, 20)
    for file_id in ids:
        store.delete(file_id)
    for _ in ids:
        assert erased.acquire(timeout=30)
    assert _trash(root) == []
    store.delete(store.create("b", b"b", purpose="batch").id)
    assert erased.acquire(timeout=30), "only the first pause was noticed"
    store.close()


def test_a_stream_of_deletes_is_not_waited_out(root, erased, monkeypatch):
    """Where there never is a pause, entries are erased all the same."""
    monkeypatch.setattr(_reaper, "_LONGEST_WAIT_SECONDS", 0.05)
    store, ids = _filled(root, 1)
    ended = threading.Event()

    def delete_on_and_on():
        while not ended.is_set():
            store.delete(store.create("a", b"a", purpose="batch").id)

    thread = threading.Thread(target=delete_on_and_on)
    thread.start()
    try:
        assert erased.acquire(timeout=30)
    finally:
        ended.set()
        thread.join()
    store.delete(ids[0])
    store.close()
    assert _trash(root) == []


def test_a_sweep_does_not_wait_for_the_pause(root, monkeypatch):
    """What is about to be erased is erased at once, and is no leftover to report."""
    monkeypatch.setattr(_reaper, "_PAUSE_SECONDS", 3600)
    store, ids = _filled(root, 3)
    for _ in range(2):
        store.delete(ids.pop())
        report = store.sweep(older_than=0)
        assert report.leftovers == ()
        assert _trash(root) == []
    store.close()


def test_nothing_is_forgotten_at_the_end_of_the_process(root):
    """A program that deletes and ends, without closing its store, leaves nothing behind."""
    code = """
import sys, holdall
store = holdall.open_store(sys.argv[1], fsync=False)
kept, gone = [store.create(name, b"data", purpose="batch") for name in "ab"]
store.delete(gone.id)
"""
    subprocess.run([sys.executable, "-c", code, root], check=True, timeout=60)
    assert _trash(root) == []
    with holdall.open_store(root) as store:
        assert [store.get_content(file.id) for file in store] == [b"data"]
