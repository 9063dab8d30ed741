"""A call that fails or is interrupted anywhere did not happen, and leaves no descriptor and no leftover."""

from __future__ import annotations

import errno
import gc
import itertools
import os

import pytest

import holdall
from holdall.backends.local import LocalBackend

# Closing what was only read has nothing to report.
_SPARING = ("close",)


def _descriptors():
    # What other tests have dropped is closed first, and what is still on its way to be is no growth.
    gc.collect()
    return len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0


def _interrupt(name, real):
    real()
    raise KeyboardInterrupt


def _fail(name, real):
    if name == "close":
        # A file that could not be closed without an error is closed all the same (close(2)).
        real()
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture(params=[False, True], ids=["no fsync", "fsync"])
def store(request, root):
    """A store that was used before, so that its staging directory is open."""
    with holdall.open_store(root, fsync=request.param) as opened:
        opened.create("old", b"old" * 100, purpose="batch")
        yield opened


def test_interrupted_create(calls, store, root, check_store, leftovers):
    """Ctrl-C right after any call into the system: nothing is there, and nothing that a sweep would not remove."""
    for nth in itertools.count(1):
        before = check_store(root)
        try:
            reached = calls.fault(lambda: store.create("new", b"new" * 100, purpose="batch"), nth, _interrupt)
        except KeyboardInterrupt:
            assert check_store(root) == before
            continue
        assert not reached, "an interrupt was swallowed"
        break
    assert nth > 9
    assert len(check_store(root)) == 2


def test_interrupted_delete(calls, store, root, check_store):
    """Ctrl-C right after any call into the system: the file is still there and whole."""
    victim = store.create("victim", b"victim" * 100, purpose="batch").id
    for nth in itertools.count(1):
        try:
            reached = calls.fault(lambda: store.delete(victim), nth, _interrupt)
        except KeyboardInterrupt:
            assert victim in check_store(root)
            continue
        assert not reached, "an interrupt was swallowed"
        break
    assert nth > 4
    assert victim not in check_store(root)


def test_create_that_fails(calls, store, root, check_store, leftovers):
    """Any call into the system fails: `StorageError`, nothing is there, nothing is left open.

    What could not be erased is left for a sweep.
    """
    before, descriptors = check_store(root), _descriptors()
    no_errors = []
    for nth in itertools.count(1):
        try:
            reached = calls.fault(lambda: store.create("new", b"new" * 100, purpose="batch"), nth, _fail)
        except holdall.StorageError as error:
            assert error.errno == errno.EIO
            assert _descriptors() <= descriptors
            assert leftovers(root) == []
            assert check_store(root) == before
            continue
        if not reached:
            break
        no_errors.append(calls.made[nth - 1])
        before = check_store(root)
    # Not every network file system supports locks.
    assert no_errors == ["flock"]
    assert nth > 9


def test_delete_that_fails(calls, store, root, check_store):
    """Any call into the system fails: `StorageError`, the file is still there, nothing is left open."""
    victim = store.create("victim", b"victim" * 100, purpose="batch").id
    descriptors = _descriptors()
    for nth in itertools.count(1):
        try:
            reached = calls.fault(lambda: store.delete(victim), nth, _fail, _SPARING)
        except holdall.StorageError as error:
            assert not isinstance(error, holdall.FileNotFound)
            assert _descriptors() <= descriptors
            assert victim in check_store(root)
            continue
        assert not reached
        break
    assert nth > 5
    assert victim not in check_store(root)


@pytest.mark.parametrize("verb", ["get", "get_content", "list", "verify", "sweep"])
def test_reading_that_fails(calls, store, root, verb):
    """Any call into the system fails: `StorageError` and never a missing file; nothing is left open."""
    file_id = store.create("a", b"a" * 100, purpose="batch").id
    os.makedirs(f"{root}/.staging/file-x.0.new")
    arguments = [file_id] if verb.startswith("get") else []
    descriptors = _descriptors()
    failed = 0
    for nth in itertools.count(1):
        try:
            if not calls.fault(lambda: getattr(store, verb)(*arguments), nth, _fail, _SPARING):
                break
        except holdall.StorageError as error:
            assert error.errno == errno.EIO
            failed += 1
        assert _descriptors() <= descriptors
    assert failed >= 2


def test_opening_that_fails(calls, tmp_path):
    """Any call into the system fails while a root is made and opened: `StorageError`, and nothing is left open."""
    descriptors = _descriptors()
    for nth in itertools.count(1):
        path = tmp_path / str(nth) / "deep"
        try:
            if not calls.fault(lambda path=path: LocalBackend(path), nth, _fail, _SPARING):
                break
        except holdall.StorageError:
            pass
        except OSError:
            # The interpreter's own look at a path.
            assert calls.made[nth - 1] in {"stat", "lstat"}
        assert _descriptors() <= descriptors
    assert nth > 5


def test_entry_taken_back_by_another_reader(calls, root):
    """When the sync of the root fails after the rename, and the entry was already deleted by somebody who saw it,
    the create fails, and nothing comes back.
    """
    with holdall.open_store(root) as store, holdall.open_store(root) as other:
        store.delete(store.create("warm", b"", purpose="batch").id)

        def delete_then_fail(name, real):
            for file in other:
                other.delete(file.id)
            raise OSError(errno.EIO, "sync")

        def create():
            store.create("a", b"a", purpose="batch")

        last_sync = [i for i, name in enumerate(calls.count(create), 1) if name == "fsync"][-1]
        with pytest.raises(holdall.StorageError):
            calls.fault(create, last_sync, delete_then_fail)
        assert list(store) == []
        store.sweep(older_than=0)
        assert os.listdir(root) == [".staging"]
