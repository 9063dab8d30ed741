"""Files that are published together: as durable as one alone, and each with its own outcome."""

from __future__ import annotations

import os
import platform
import re
import signal
import threading

import pytest
from tests.backends.local_trace import WATCHED, steps_of, where

import holdall
from holdall.backends.local import LocalBackend, _group_commit
from holdall.backends.local._files import Directory

# On whatever disk the tests run: what syncfs does there is not the question here.
_PREAMBLE = """
import os, sys
import holdall
from holdall.backends.local import _group_commit
_group_commit._CROWD = 1
_group_commit._little_is_unwritten = lambda: True
_group_commit._RELIABLE = ("tmpfs", "overlay", "ext4", "xfs", "btrfs")
root, victim = sys.argv[1:]
store = holdall.open_store(root)
"""
_CREATE = """
try:
    store.create("new", b"new" * 1000, purpose="batch")
    os.write(1, b"acknowledged")
except holdall.StorageError as error:
    print("failed", error.errno)
"""


@pytest.fixture
def crowd(monkeypatch):
    """Lets everybody join a group."""
    monkeypatch.setattr(_group_commit, "_CROWD", 1)
    monkeypatch.setattr(_group_commit, "_little_is_unwritten", lambda: True)


class _Syncfs:
    """Stands in for syncfs: counts, waits to be allowed, and may fail."""

    def __init__(self, error=None):
        self.calls = 0
        self.begun = threading.Semaphore(0)
        self.allowed = threading.Semaphore(0)
        self._error = error

    def __call__(self, fd):
        self.calls += 1
        self.begun.release()
        assert self.allowed.acquire(timeout=30)
        if self._error is not None:
            raise self._error


def _opened(root, syncfs):
    store = holdall.open_store(root)
    store.backend._group._syncfs = syncfs
    return store


def _begin(function):
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def test_together_it_is_durable_before_it_is_acknowledged(strace, root, victim):
    """Data and metadata are written, then the file system is synced, then they are renamed, then the root is synced,
    and only then does `create` return.
    """
    said, trace = strace(_PREAMBLE + _CREATE, root, victim)
    assert said == "acknowledged"
    steps = steps_of(trace, root)
    written = where(steps, r"write ROOT/\.staging/NEW/(data\.bin|meta\.json)")
    (all_synced,) = where(steps, "syncfs ROOT")
    (rename,) = where(steps, r"rename .*NEW.*ENTRY")
    (root_synced,) = where(steps, r"fsync ROOT>")
    (acknowledged,) = where(steps, "acknowledge")
    assert max(written) < all_synced < rename < root_synced < acknowledged
    assert not [step for step in steps if "sync ROOT/.staging" in step], "synced once more, one by one"


def test_where_the_file_system_cannot_be_synced_each_file_is(strace, root, victim, check_store):
    """An error of syncfs may be anybody's; what it was to do is done one by one, and nobody fails for another."""
    said, trace = strace(_PREAMBLE + _CREATE, root, victim, options=(WATCHED, "inject=syncfs:error=EIO"))
    assert said == "acknowledged"
    steps = steps_of(trace, root)
    data = where(steps, r"f(data)?sync ROOT/\.staging/NEW/data\.bin")
    meta = where(steps, r"f(data)?sync ROOT/\.staging/NEW/meta\.json")
    directory = where(steps, r"fsync ROOT/\.staging/NEW>")
    (rename,) = where(steps, r"rename .*NEW.*ENTRY")
    assert max(*data, *meta, *directory) < rename < where(steps, r"fsync ROOT>")[0]
    assert len(check_store(root)) == 2


@pytest.mark.parametrize("failing", ["fdatasync", "fsync"])
def test_a_file_that_cannot_be_synced_either_fails(strace, root, victim, check_store, leftovers, failing):
    """The sync of its own tells whose error it was."""
    options = (WATCHED, "inject=syncfs:error=EIO", f"inject={failing}:error=EIO:when=1")
    said, _ = strace(_PREAMBLE + _CREATE, root, victim, options=options)
    assert said == "failed 5\n"
    assert leftovers(root) == []
    assert check_store(root) == {victim}


def test_a_root_that_cannot_be_synced_fails_everybody(strace, root, victim, check_store, leftovers):
    """The kernel tells an error once: it is not asked again, where it would say that all is well."""
    said, trace = strace(_PREAMBLE + _CREATE, root, victim, options=(WATCHED, "inject=fsync:error=EIO:when=1"))
    assert said == "failed 5\n"
    assert len(where(steps_of(trace, root), r"fsync ROOT>")) == 1
    assert leftovers(root) == []
    assert check_store(root) == {victim}


@pytest.mark.parametrize("call", ["syncfs", "renameat", "rename", "renameat2", "fsync"])
def test_killed_at_each_step(strace, root, victim, check_store, call):
    """Whatever the committing thread was about to do: the file is there whole or not at all."""
    options = (WATCHED, f"inject={call}:signal=KILL:when=1")
    said, _ = strace(_PREAMBLE + _CREATE, root, victim, options=options, killed=True)
    there = check_store(root)
    assert there >= {victim}
    assert "acknowledged" not in said or len(there) == 2


def test_many_wait_for_two_syncs(root, crowd, check_store):
    """All that wait when a group begins are in it, and have appeared when it ends; nobody else has to sync."""
    syncfs = _Syncfs()
    with _opened(root, syncfs) as store:
        files = []
        threads = [_begin(lambda: files.append(store.create("a", b"a", purpose="batch")))]
        assert syncfs.begun.acquire(timeout=30)
        threads += [_begin(lambda: files.append(store.create("b", b"b", purpose="batch"))) for _ in range(20)]
        _wait_until(lambda: len(store.backend._group._waiting) == 20)
        assert store.list().data == [], "before its group was synced"
        syncfs.allowed.release(2)
        for thread in threads:
            thread.join(30)
        assert syncfs.calls == 2
        assert {file.id for file in files} == {file.id for file in store}
    assert len(check_store(root)) == 21


def _wait_until(condition):
    """There is no event for that somebody has begun to wait."""
    give_up = threading.Event()
    timer = threading.Timer(30, give_up.set)
    timer.start()
    while not condition():
        assert not give_up.is_set()
        os.sched_yield()
    timer.cancel()


def test_each_has_its_own_outcome(root, crowd, check_store):
    """Of two with one id, one is told that it exists; the others of the group are stored."""
    syncfs = _Syncfs()
    syncfs.allowed.release(100)
    with _opened(root, syncfs) as store:
        first = store.create("a", b"a", purpose="batch")
        with store.begin("b", purpose="batch", file_id=first.id) as upload:
            upload.write(b"b")
            with pytest.raises(holdall.StorageError, match="exists already"):
                upload.finish()
        second = store.create("c", b"c", purpose="batch")
        assert store.get_content(first.id) == b"a"
    assert check_store(root) == {first.id, second.id}


class _Member:
    """A file whose rename works or not."""

    def __init__(self, works):
        self.files_synced = self.moved = self.root_synced = False
        self.root_error = None
        self._works = works

    def move(self):
        if not self._works:
            raise OSError(39, os.strerror(39))
        self.moved = True


def test_one_that_cannot_be_renamed_holds_up_nobody(tmp_path):
    """The others of its group are renamed and durable; it is left to its own thread, with nothing said to be done."""
    members = [_Member(works) for works in (True, False, True)]
    root = Directory(os.open(tmp_path, os.O_RDONLY))
    _group_commit._publish(members, root, lambda _: None)
    assert [(m.files_synced, m.moved, m.root_synced) for m in members] == [
        (True, True, True),
        (True, False, False),
        (True, True, True),
    ]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="nobody can be interrupted here")
@pytest.mark.parametrize("working", [False, True], ids=["waiting for the group before", "while the group works"])
def test_interrupted_while_waiting(root, crowd, check_store, leftovers, working):
    """Ctrl-C: nothing was stored. What the other thread has done meanwhile is taken back, and the others are stored."""
    syncfs = _Syncfs()
    with _opened(root, syncfs) as store:
        group = store.backend._group
        before = [] if working else [_begin(lambda: store.create("a", b"a", purpose="batch"))]
        if before:
            assert syncfs.begun.acquire(timeout=30)
        main = threading.get_ident()

        def interrupt():
            if working:
                assert syncfs.begun.acquire(timeout=30)
            else:
                _wait_until(lambda: len(group._waiting) == 1)
            signal.pthread_kill(main, signal.SIGINT)
            if working:
                # The interrupted thread now waits for this one.
                syncfs.allowed.release()

        interrupter = _begin(interrupt)
        with pytest.raises(KeyboardInterrupt):
            store.create("b", b"b", purpose="batch")
        interrupter.join(30)
        waiting = list(group._waiting)
        syncfs.allowed.release(100)
        assert waiting == []
        for thread in before:
            thread.join(30)
        after = store.create("c", b"c", purpose="batch")
        assert leftovers(root) == []
        assert [file.filename for file in store] == ["a"] * len(before) + [after.filename]
    check_store(root)


def test_what_is_large_waits_by_itself(root, crowd):
    """A group would wait for all of it."""
    syncfs = _Syncfs()
    with _opened(root, syncfs) as store:
        store.create("a", bytes(_group_commit._MOST_BYTES + 1), purpose="batch")
        assert syncfs.calls == 0
        syncfs.allowed.release()
        store.create("a", bytes(_group_commit._MOST_BYTES), purpose="batch")
        assert syncfs.calls == 1


def test_few_wait_by_themselves(root):
    """A thread alone, which is what most are, syncs what it has written and nothing else."""
    syncfs = _Syncfs()
    with _opened(root, syncfs) as store:
        for _ in range(10):
            store.create("a", b"a", purpose="batch")
    assert syncfs.calls == 0


@pytest.mark.parametrize(
    ("memory", "calls"),
    [
        ("Dirty:      100 kB\nWriteback:      0 kB\nWritebackTmp: 99999999 kB\n", 1),
        ("Dirty:       32 kB\nWriteback: 32768 kB\n", 0),
        ("Dirty: 99999999 kB\nWriteback:      0 kB\n", 0),
        ("MemTotal: 1 kB\n", 0),
        (None, 0),
    ],
)
def test_nobody_waits_for_what_others_write(root, monkeypatch, tmp_path, memory, calls):
    """Where much is unwritten, or nobody can tell, each waits for what it has written itself."""
    monkeypatch.setattr(_group_commit, "_CROWD", 1)
    monkeypatch.setattr(_group_commit, "_MEMORY", str(tmp_path / "meminfo"))
    if memory is not None:
        (tmp_path / "meminfo").write_text(memory)
    syncfs = _Syncfs()
    syncfs.allowed.release(100)
    with _opened(root, syncfs) as store:
        file = store.create("a", b"a", purpose="batch")
        assert store.get_content(file.id) == b"a"
    assert syncfs.calls == calls


def test_without_a_thread_each_waits_by_itself(root, crowd, monkeypatch):
    """Where no more threads can be started, files are stored all the same."""

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    with _opened(root, _Syncfs()) as store:
        monkeypatch.setattr(_group_commit.ThreadPoolExecutor, "submit", refuse)
        file = store.create("a", b"a", purpose="batch")
        again = store.create("b", b"b", purpose="batch")
        assert [f.id for f in store] == [file.id, again.id]


def test_published_after_close(root, crowd):
    """A write that was begun before can still be published, by itself."""
    syncfs = _Syncfs()
    store = _opened(root, syncfs)
    staged = store.backend.stage("file-x")
    store.close()
    staged.publish(b"{}")
    assert os.listdir(f"{root}/file-x")
    assert syncfs.calls == 0


def test_in_a_forked_child(root, child, check_store):
    """Whatever the parent's threads were doing: the child has a thread of its own."""
    said = child.run(
        """
        from holdall.backends.local import _group_commit
        _group_commit._CROWD = 1
        _group_commit._little_is_unwritten = lambda: True
        store = holdall.open_store(root)
        store.backend._group._syncfs = lambda fd: None
        store.create("parent", b"parent", purpose="batch")
        store.backend._group._lock.acquire()
        pid = os.fork()
        if pid == 0:
            store.create("child", b"child", purpose="batch")
            os._exit(7)
        say(child=os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        store.backend._group._lock.release()
        store.create("parent", b"parent", purpose="batch")
        """,
        root=root,
    )
    assert said == [{"child": 7}, {"exit": 0}]
    assert len(check_store(root)) == 3


@pytest.mark.parametrize(("release", "there"), [("5.7.19", False), ("5.8", True), ("6.18.1-a", True), ("odd", False)])
def test_syncfs_is_used_where_it_reports_errors(monkeypatch, release, there):
    """Before Linux 5.8 it said that all is well when it was not."""
    monkeypatch.setattr(platform, "release", lambda: release)
    assert (_group_commit._bind() is not None) is there


@pytest.mark.parametrize(("kind", "there"), [("ext4", True), ("overlay", False), ("nfs4", False), ("", False)])
def test_syncfs_is_used_where_it_can_be_relied_on(kind, there):
    """On an overlay it reports no errors; elsewhere nobody has tried."""
    group = _group_commit.GroupCommit(kind)
    with group.counted(1), group.counted(1), group.counted(1), group.counted(1) as crowded:
        assert crowded is (there and _group_commit._syncfs is not None)


def test_without_fsync_there_are_no_groups(root):
    """Nobody waits for the disk, so nobody waits together."""
    with holdall.open_store(root, fsync=False) as store:
        assert isinstance(store.backend, LocalBackend)
        assert store.backend._group is None


def test_syncfs_really_is_called(tmp_path):
    """The binding reaches the kernel: it succeeds on a directory, and says what is wrong with a closed descriptor."""
    if _group_commit._syncfs is None:
        pytest.skip(f"{platform.system()} {platform.release()} has no syncfs that reports errors")
    fd = os.open(tmp_path, os.O_RDONLY)
    _group_commit._syncfs(fd)
    os.close(fd)
    with pytest.raises(OSError, match=re.escape(os.strerror(9))):
        _group_commit._syncfs(fd)
