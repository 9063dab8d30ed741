"""Opening, closing, forking, exiting: nothing is lost, nothing hangs, no space is kept."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import tempfile
import threading

import pytest

import holdall
from holdall.backends.local import LocalBackend, _files


def _descriptors():
    gc.collect()  # what other tests have dropped is closed first
    return set(os.listdir("/proc/self/fd"))


def test_close_gives_the_space_back(root):
    """After `close` nothing of a deleted file takes space any more."""
    with holdall.open_store(root, fsync=False) as store:
        ids = [store.create("a", b"a" * 10_000, purpose="batch").id for _ in range(50)]
        for file_id in ids:
            store.delete(file_id)
    assert os.listdir(root) == [".staging"]
    assert os.listdir(f"{root}/.staging") == []


def test_a_delete_in_progress_is_no_leftover(root):
    """What this process is about to erase is not reported as left by a dead one."""
    with holdall.open_store(root, fsync=False) as store:
        for _ in range(20):
            store.delete(store.create("a", b"a" * 100_000, purpose="batch").id)
            assert store.verify(older_than=0).leftovers == ()


@pytest.mark.parametrize("ending", ["", "import os; os.kill(os.getpid(), 15)", "raise SystemExit(3)", "1 / 0"])
def test_exit_without_close(root, check_store, leftovers, ending):
    """A program that ends without closing its store exits, and has lost nothing; unless a signal ended it, the space
    of what it deleted is given back.
    """
    code = f"""
import holdall
store = holdall.open_store({root!r}, fsync=False)
ids = [store.create(n, n.encode() * 20000, purpose="batch").id for n in "abcdefgh"]
for file_id in ids[1:]:
    store.delete(file_id)
print(ids[0], flush=True)
{ending}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    if "kill" not in ending:
        assert leftovers(root) == []
    assert check_store(root) == {done.stdout.strip()}


def test_after_a_fork(root, check_store):
    """A store that was used before a fork works in the child and in the parent: both create and delete, neither hangs,
    the child exits the normal way.
    """
    code = f"""
import os, sys, warnings
import holdall
warnings.simplefilter("ignore", DeprecationWarning)
store = holdall.open_store({root!r}, fsync=False)
kept, first, second = (store.create(n, n.encode() * 1000, purpose="batch").id for n in "abc")
store.delete(store.create("x", b"x", purpose="batch").id)
pid = os.fork()
mine = first if pid else second
store.delete(mine)
store.create("d", b"d" * 1000, purpose="batch")
if pid == 0:
    store.delete(store.create("y", b"y", purpose="batch").id)
    {{}}
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
store.close()
print(kept)
"""
    for closing in ("store.close()", "pass"):
        shutil.rmtree(root, ignore_errors=True)
        done = subprocess.run(
            [sys.executable, "-c", code.replace("{}", closing)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert os.listdir(f"{root}/.staging") == []
        present = check_store(root)
        assert len(present) == 3
        assert done.stdout.strip() in present


def test_an_upload_that_is_under_way_at_a_fork_is_the_parents(child, root, check_store):
    """The child's copy of it stores nothing, says so, and takes nothing away when it is dropped; the parent goes on."""
    said = child.run(
        """
        store = holdall.open_store(root)
        with store.begin("upload", purpose="batch") as upload:
            upload.write(b"upload")
            for use in (lambda: upload.write(b"x"), upload.finish):
                pid = os.fork()
                if pid == 0:
                    with upload:
                        attempt(use)
                    os._exit(0)
                os.waitpid(pid, 0)
            attempt(upload.finish)
        """,
        root=root,
    )
    written, finished, *in_the_parent = said
    for message in (written, finished):
        assert "StorageError" in message["error"]
        assert "before this process was forked" in message["text"]
    assert in_the_parent == [{"done": True}, {"exit": 0}]
    assert len(check_store(root)) == 1


def test_fork_while_another_thread_opens_the_staging_directory(root, calls):
    """A fork in the middle of another thread's call leaves nothing locked in the child."""
    code = f"""
import os, sys, threading, warnings
import holdall
warnings.simplefilter("ignore", DeprecationWarning)
store = holdall.open_store({root!r}, fsync=False)
inside, go = threading.Event(), threading.Event()
real = os.mkdir
def slow(*args, **kwargs):
    if threading.current_thread() is not threading.main_thread():
        inside.set()
        go.wait()
    return real(*args, **kwargs)
os.mkdir = slow
thread = threading.Thread(target=lambda: store.create("a", b"a", purpose="batch"))
thread.start()
inside.wait()
pid = os.fork()
if pid == 0:
    store.delete(store.create("b", b"b", purpose="batch").id)
    store.close()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
go.set()
thread.join()
store.close()
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_used_after_close(root):
    """After `close` every call says so, on the backend too, and closing again does nothing."""
    backend = LocalBackend(root)
    with backend.stage("file-a") as staged:
        staged.publish(b"{}")
    backend.close()
    backend.close()
    for call in (
        lambda: backend.stage("file-b"),
        lambda: backend.read_meta("file-a"),
        lambda: backend.open_data("file-a"),
        backend.list_ids,
        lambda: backend.remove("file-a"),
        lambda: list(backend.debris()),
        lambda: backend.local_path("file-a"),
    ):
        with pytest.raises(holdall.InvalidRequest, match="open it again"):
            call()


def test_descriptors_are_given_back(root):
    """`close` closes every descriptor, and so does dropping a store, a stream or a write that was never closed."""
    before = _descriptors()
    with holdall.open_store(root, fsync=False) as store:
        file = store.create("a", b"a", purpose="batch")
        store.delete(store.create("b", b"b", purpose="batch").id)
        store.verify()
    assert _descriptors() <= before
    backend = LocalBackend(root)
    stream = backend.open_data(file.id)
    staged = backend.stage("file-b")
    assert len(_descriptors() - before) == 4
    del backend, stream, staged
    assert _descriptors() <= before


def test_a_dropped_write_can_be_swept(root):
    """A write that was neither published nor discarded is a leftover as soon as nobody holds it."""
    with holdall.open_store(root, fsync=False) as store:
        staged = store.backend.stage("file-b")
        assert store.sweep(older_than=0).leftovers == ()
        del staged
        assert [d.file_id for d in store.sweep(older_than=0).leftovers] == ["file-b"]


def test_close_while_a_write_is_in_progress(root, check_store):
    """What was begun before `close` can be finished; it is there afterwards."""
    store = holdall.open_store(root, fsync=False)
    begun, closed = threading.Event(), threading.Event()

    def source():
        yield b"new"
        begun.set()
        closed.wait()
        yield b"new"

    thread = threading.Thread(target=lambda: store.create("new", source(), purpose="batch"))
    thread.start()
    begun.wait()
    store.close()
    closed.set()
    thread.join()
    assert len(check_store(root)) == 1


@pytest.mark.parametrize("verb", ["read_meta", "open_data", "list_ids", "remove", "stage"])
def test_close_in_the_middle_of_a_call(root, tmp_path, monkeypatch, verb):
    """A call that is under way in another thread when the store is closed goes on in the store's directory, even if the
    number of its descriptor would have been used again for another one.
    """
    decoy = LocalBackend(tmp_path / "decoy", fsync=False)
    backend = LocalBackend(root, fsync=False)
    for each, meta in ((decoy, b"decoy"), (backend, b"real")):
        with each.stage("file-a") as staged:
            staged.write(meta)
            staged.publish(meta)
    arrived, go_on = threading.Event(), threading.Event()
    real_open, real_mkdir = os.open, os.mkdir
    results = []

    def held(real):
        def call(*args, **kwargs):
            if threading.current_thread() is thread and not arrived.is_set():
                arrived.set()
                go_on.wait()
            return real(*args, **kwargs)

        return call

    def work():
        result = getattr(backend, verb)(*(() if verb == "list_ids" else ("file-a" if verb != "stage" else "file-b",)))
        if verb == "stage":
            result.publish(b"late")
        elif verb == "open_data":
            with result:
                result = result.read()
        results.append(result)

    thread = threading.Thread(target=work)
    monkeypatch.setattr(os, "open", held(real_open))
    monkeypatch.setattr(os, "mkdir", held(real_mkdir))
    if _files.open_unlinked is not None:
        monkeypatch.setattr(_files, "open_unlinked", held(_files.open_unlinked))
    thread.start()
    arrived.wait()
    backend.close()
    # These take the numbers that closing gave free.
    taken = [real_open(tmp_path / "decoy", os.O_RDONLY) for _ in range(8)]
    go_on.set()
    thread.join()
    for fd in taken:
        os.close(fd)
    assert len(results) == 1
    if verb in {"read_meta", "open_data"}:
        assert results == [b"real"]
    assert list(decoy.list_ids()) == ["file-a"]
    assert decoy.read_meta("file-a") == b"decoy"
    with holdall.open_store(root) as again:
        expected = {"remove": [], "stage": ["file-a", "file-b"]}.get(verb, ["file-a"])
        assert list(again.backend.list_ids()) == expected
        assert os.listdir(f"{root}/.staging") == []
    decoy.close()


def test_a_root_that_was_removed(root):
    """When the root was removed under an open store, every call says so; no file is called missing."""
    with holdall.open_store(root, fsync=False) as store:
        file = store.create("a", b"a", purpose="batch")
        shutil.rmtree(root)
        for call in (
            lambda: store.get(file.id),
            lambda: store.get_content(file.id),
            store.list,
            lambda: store.create("b", b"b", purpose="batch"),
            lambda: store.delete(file.id),
            store.verify,
        ):
            with pytest.raises(holdall.StorageError, match="directory was removed") as caught:
                call()
            assert not isinstance(caught.value, FileNotFoundError)
    with holdall.open_store(root) as store:
        assert list(store) == []


@pytest.mark.parametrize("first", ["get", "list", "create", "delete", "open"])
def test_a_root_that_was_restored(root, check_store, first):
    """When another directory is in the place of the removed root, the call that finds out fails, and those after it
    go on in that directory: a server need not be started anew after a restore.
    """
    with holdall.open_store(root, fsync=False) as store:
        file = store.create("a", b"a", purpose="batch")
        shutil.copytree(root, f"{root}.backup")
        shutil.rmtree(root)
        shutil.move(f"{root}.backup", root)
        calls = {
            "get": lambda: store.get(file.id),
            "list": store.list,
            "create": lambda: store.create("b", b"b", purpose="batch"),
            "delete": lambda: store.delete(file.id),
            "open": lambda: store.get_content(file.id),
        }
        with pytest.raises(holdall.StorageError, match="directory was removed"):
            calls[first]()
        assert list(store) == [file]
        assert store.get_content(file.id) == b"a"
        other = store.create("b", b"b", purpose="batch")
        store.delete(file.id)
        assert list(store) == [other]
    assert check_store(root) == {other.id}


def test_a_root_that_was_replaced_on_another_file_system(root):
    """A directory elsewhere, such as an empty mount point, is not taken for the root: the store must be opened again."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere, holdall.open_store(root, fsync=False) as store:
        if os.stat(elsewhere).st_dev == os.stat(root).st_dev:
            pytest.skip("/dev/shm is on the file system of the store")
        file = store.create("a", b"a", purpose="batch")
        shutil.rmtree(root)
        os.symlink(elsewhere, root)
        for _ in range(2):
            with pytest.raises(holdall.StorageError, match="open the store again"):
                store.get(file.id)


def test_a_staging_directory_that_was_removed(root, check_store):
    """When somebody tidied `.staging` away under an open store, it is made again by a create and by a delete."""
    with holdall.open_store(root, fsync=False) as store:
        first = store.create("a", b"a" * 10, purpose="batch")
        os.rmdir(f"{root}/.staging")
        second = store.create("b", b"b" * 10, purpose="batch")
        os.rmdir(f"{root}/.staging")
        store.delete(first.id)
        with pytest.raises(holdall.FileNotFound):
            store.delete(first.id)
    assert check_store(root) == {second.id}
