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
    monkeypatch.setattr(_reaper, "_MOST_PAUSES", 2)
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


def test_a_sweep_after_the_thread_has_ended(root):
    """While another thread closes the store, or the interpreter exits, there is nothing left to wait for."""
    store, ids = _filled(root, 1)
    store.delete(ids.pop())
    store.backend._reaper._work().executor.shutdown()
    assert store.sweep(older_than=0).leftovers == ()
    store.close()


def test_an_interrupted_wait_hurries_nobody_else(root, monkeypatch):
    """After Ctrl-C in a sweep, removals are waited out as before."""
    store, ids = _filled(root, 2)
    monkeypatch.setattr(_reaper, "_PAUSE_SECONDS", 3600)
    store.delete(ids.pop())

    class Interrupted(_reaper.ThreadPoolExecutor):
        def submit(self, *_):
            raise KeyboardInterrupt

    (work,) = store.backend._reaper._works.values()
    work.executor.__class__ = Interrupted
    with pytest.raises(KeyboardInterrupt):
        store.backend._reaper.wait()
    work.executor.__class__ = _reaper.ThreadPoolExecutor
    assert not work.hurry.is_set()
    store.close()
    assert _trash(root) == []


def test_what_cannot_be_erased_holds_up_nothing_else(root, monkeypatch, caplog):
    """Whatever keeps one removed entry from being erased, the others are, and the log says so."""
    real, calls = _reaper.erase, []

    def fail_the_first(name, dir_fd):
        calls.append(name)
        if len(calls) == 1:
            raise RecursionError("a directory in a directory in a directory")
        real(name, dir_fd)

    monkeypatch.setattr(_reaper, "erase", fail_the_first)
    store, ids = _filled(root, 5)
    for file_id in ids:
        store.delete(file_id)
    store.close()
    assert len(_trash(root)) == 1
    assert f"could not give back the space of {_trash(root)[0]}" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError("can't start new thread")])
def test_without_its_thread_nothing_is_forgotten(root, monkeypatch, error):
    """Where the thread could not be started, or this was interrupted: the entry is erased, by `close` at the latest."""
    store, ids = _filled(root, 2)

    def fail(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(_reaper.ThreadPoolExecutor, "submit", fail)
        if error is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                store.delete(ids[0])
            (work,) = store.backend._reaper._works.values()
            assert work.executor is None, "one that does not know its thread keeps the process from ending"
        else:
            store.delete(ids[0])
            assert _trash(root) == [], "there is nobody else to erase it"
    store.delete(ids[1])
    store.close()
    assert _trash(root) == []


@pytest.mark.timeout(60)
@pytest.mark.parametrize("moment", ["noting what is pending", "starting the thread"])
def test_a_signal_handler_may_delete_while_deleting(root, monkeypatch, moment):
    """A delete by a handler that interrupts a delete of the same thread does not wait for it, and both are erased."""
    store, ids = _filled(root, 3)
    store.delete(ids.pop())
    store.backend._reaper.wait()
    (work,) = store.backend._reaper._works.values()

    def interrupted():
        if len(ids) == 1:
            store.delete(ids.pop())

    class Pending(list):
        def append(self, item):
            interrupted()
            super().append(item)

    class Executor(_reaper.ThreadPoolExecutor):
        def submit(self, *args):
            with self._shutdown_lock:
                interrupted()
            return super().submit(*args)

    if moment == "starting the thread":
        work.executor.__class__ = Executor
    else:
        work.pending = Pending()
    store.delete(ids.pop())
    store.close()
    assert ids == []
    assert _trash(root) == []


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
