"""What is taken back when a step fails after the rename: for each who is told, only its own, and durably."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import threading

import pytest

import holdall


@pytest.fixture
def syncs_of(monkeypatch):
    """Hands each sync of one directory to a function, as `function(fd, sync)`; others are as ever."""

    def watch(path, function):
        real, wanted = os.fsync, os.stat(path).st_ino

        def fsync(fd):
            if os.fstat(fd).st_ino == wanted:
                function(fd, lambda: real(fd))
            else:
                real(fd)

        monkeypatch.setattr(os, "fsync", fsync)

    return watch


def _fail():
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_everybody_is_told_that_the_root_could_not_be_synced(root, syncs_of, check_store):
    """The kernel reports an error once to each opening of a directory. Of two creates and a delete whose renames did
    not reach the disk, none is acknowledged.
    """
    together, number, told, lock = threading.Barrier(3), itertools.count(), set(), threading.Lock()

    def lose_what_was_renamed(fd, sync):
        if next(number) >= 3:
            sync()  # of the undoing
            return
        together.wait(30)
        with lock:
            if fd in told:
                return
            told.add(fd)
        _fail()

    with holdall.open_store(root) as store:
        victim = store.create("v", b"v", purpose="batch").id
        outcomes = []

        def attempt(call):
            try:
                outcomes.append(call())
            except holdall.StorageError as error:
                outcomes.append(error.errno)

        syncs_of(root, lose_what_was_renamed)
        calls = [lambda: store.create("a", b"a", purpose="batch")] * 2 + [lambda: store.delete(victim)]
        threads = [threading.Thread(target=attempt, args=(call,)) for call in calls]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert outcomes == [errno.EIO] * 3
    assert check_store(root) == {victim}


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_what_is_taken_back_is_durable(root, syncs_of, monkeypatch, verb):
    """The rename may have reached the disk though the sync failed or was interrupted: the way back is synced as well,
    or a loss of power would bring about what was reported as failed.
    """
    done = []
    real = os.rename
    monkeypatch.setattr(os, "rename", lambda *names, **where: (done.append("rename"), real(*names, **where)))
    with holdall.open_store(root) as store:
        victim = store.create("v", b"v", purpose="batch").id

        def interrupt_the_first(_, sync):
            sync()
            done.append("sync")
            if done.count("sync") == 1:
                raise KeyboardInterrupt

        syncs_of(root, interrupt_the_first)
        done.clear()
        with pytest.raises(KeyboardInterrupt):
            store.create("a", b"a", purpose="batch") if verb == "create" else store.delete(victim)
        assert done == ["rename", "sync", "rename", "sync"]
        assert [file.id for file in store] == [victim]


def test_what_somebody_else_stored_under_the_id_stays(root, monkeypatch, check_store):
    """An upload whose directory was tidied away before its rename fails; the file that a second attempt stored meanwhile
    is not its own.
    """
    with holdall.open_store(root) as store:
        first = store.begin("first", purpose="batch")
        first.write(b"first")
        real = os.rename

        def be_late(*names, **where):
            monkeypatch.setattr(os, "rename", real)
            with store.begin("second", purpose="batch", file_id=first.file_id) as second:
                second.write(b"second")
                second.finish()
            (tidied,) = os.listdir(f"{root}/.staging")
            shutil.rmtree(f"{root}/.staging/{tidied}")
            real(*names, **where)

        monkeypatch.setattr(os, "rename", be_late)
        with pytest.raises(holdall.StorageError):
            first.finish()
        assert store.get_content(first.file_id) == b"second"
    assert check_store(root) == {first.file_id}


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_what_cannot_be_taken_back_is_logged(root, syncs_of, monkeypatch, caplog, verb):
    """Where neither forward nor back is possible, whoever runs the store is told which file is not as reported."""
    with holdall.open_store(root) as store:
        victim = store.create("v", b"v", purpose="batch").id
        real, renames = os.rename, itertools.count()
        monkeypatch.setattr(os, "rename", lambda *a, **k: _fail() if next(renames) else real(*a, **k))
        syncs_of(root, lambda *_: _fail())
        with pytest.raises(holdall.StorageError):
            store.create("a", b"a", purpose="batch") if verb == "create" else store.delete(victim)
        monkeypatch.undo()
        there = [file.id for file in store]
    if verb == "create":
        assert f"could not take back {there[1]}" in caplog.text
    else:
        assert there == []
        assert f"could not put back {victim}" in caplog.text


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_what_is_taken_back_is_not_logged_as_if_it_were_not(root, syncs_of, caplog, verb):
    """Where the root cannot be synced at all, the first error is told, and the file is as reported."""
    with holdall.open_store(root) as store:
        victim = store.create("v", b"v", purpose="batch").id
        syncs_of(root, lambda *_: _fail())
        with pytest.raises(holdall.StorageError):
            store.create("a", b"a", purpose="batch") if verb == "create" else store.delete(victim)
        assert [file.id for file in store] == [victim]
    assert caplog.text == ""
