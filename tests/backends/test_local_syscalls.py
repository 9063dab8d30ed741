"""What the local backend asks of the kernel, in which order, and what happens when a sync fails. Seen with strace."""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys

import pytest

import holdall
from holdall.backends.local import _files, _staging

_PREAMBLE = """
import os, sys
import holdall
root, victim = sys.argv[1:]
store = holdall.open_store(root, fsync={fsync})
"""
_CREATE = """
file = store.create("new", b"new" * 1000, purpose="batch")
os.write(1, b"acknowledged")
"""
_DELETE = """
store.delete(victim)
os.write(1, b"acknowledged")
store.close()
"""
_FAILS = """
try:
    {call}
except holdall.StorageError as error:
    print("failed", error.errno)
"""
_WATCHED = "trace=openat,mkdirat,rename,renameat,renameat2,unlinkat,write,fsync,fdatasync,sync,syncfs,sync_file_range"


@pytest.fixture
def strace(missing, tmp_path):
    """Runs Python code under strace with these options; returns its output and the trace."""
    program = shutil.which("strace")
    if program is None:
        missing("strace is not installed")
    log = tmp_path / "trace"

    def run(code, *arguments, options=(_WATCHED,)):
        selected = [part for option in options for part in ("-e", option)]
        command = [program, "-f", "-y", "-s", "16", "-o", log, *selected, sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if "ptrace" in done.stderr.lower() and done.returncode:
            missing(f"strace is not permitted here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        return done.stdout, log.read_text(encoding="utf-8", errors="replace")

    return run


@pytest.fixture
def victim(root):
    """The id of a file in the store."""
    with holdall.open_store(root) as store:
        return store.create("old", b"old", purpose="batch").id


def _steps(trace, root):
    """The calls that concern the store, as `name what`, in the order in which they were begun."""
    steps = []
    for line in trace.splitlines():
        match = re.match(r"\d+ +(\w+)\((.*)", line)
        if not match:
            continue
        call, rest = match.groups()
        if call == "write" and "acknowledged" in rest:
            steps.append("acknowledge")
        elif root in rest and "(deleted)" not in rest:
            what = re.sub(rf"\d*<?{re.escape(root)}", "ROOT", rest)
            what = re.sub(r"file-[0-9a-f]{32}(\.[0-9a-f]{13,}\.(?P<kind>new|old))?", _short, what)
            steps.append(f"{re.sub('at2?$', '', call)} {what.partition(') ')[0]}")
    return steps


def _short(match):
    return (match["kind"] or "entry").upper()


def _where(steps, pattern):
    found = [i for i, step in enumerate(steps) if re.match(pattern, step)]
    assert found, f"{pattern} is not among {steps}"
    return found


def test_create_is_durable_before_it_is_acknowledged(strace, root, victim):
    """Data and metadata are written, then synced, then their directory, then renamed, then the root is synced, and only
    then does `create` return. The data is on its way to the disk before the metadata is written.
    """
    _, trace = strace(_PREAMBLE.format(fsync=True) + _CREATE, root, victim)
    steps = _steps(trace, root)
    written = _where(steps, r"write ROOT/\.staging/NEW/(data\.bin|meta\.json)")
    if _staging.start_writing is not None:
        (begun,) = _where(steps, r"sync_file_range ROOT/\.staging/NEW/data\.bin")
        assert max(w for w in written if "data.bin" in steps[w]) < begun
        assert begun < min(w for w in written if "meta.json" in steps[w])
    data = _where(steps, r"f(data)?sync ROOT/\.staging/NEW/data\.bin")
    meta = _where(steps, r"f(data)?sync ROOT/\.staging/NEW/meta\.json")
    directory = _where(steps, r"fsync ROOT/\.staging/NEW>")
    (rename,) = _where(steps, r"rename .*NEW.*ENTRY")
    root_sync = _where(steps, r"fsync ROOT>")
    (acknowledged,) = _where(steps, "acknowledge")
    assert max(written) < max(*data, *meta)
    assert max(w for w in written if "data.bin" in steps[w]) < max(data)
    assert max(w for w in written if "meta.json" in steps[w]) < max(meta)
    assert max(*data, *meta, *directory) < rename < max(root_sync) < acknowledged
    assert len(data + meta + directory + root_sync) == 4, "a sync more than needed"


def test_delete_is_durable_before_it_is_acknowledged(strace, root, victim):
    """The entry is renamed away, the root synced, and only then does `delete` return and is anything erased."""
    _, trace = strace(_PREAMBLE.format(fsync=True) + _DELETE, root, victim)
    steps = _steps(trace, root)
    (rename,) = _where(steps, r"rename .*ENTRY.*OLD")
    (root_sync,) = _where(steps, r"fsync ROOT>")
    (acknowledged,) = _where(steps, "acknowledge")
    erased = _where(steps, "unlink ROOT")
    assert rename < root_sync < acknowledged
    assert root_sync < min(erased)


def test_without_fsync_nothing_is_synced(strace, root, victim):
    """`fsync=false` waits for the disk nowhere."""
    _, trace = strace(_PREAMBLE.format(fsync=False) + _CREATE + _DELETE, root, victim)
    assert [step for step in _steps(trace, root) if "sync" in step] == []


def test_a_new_root_is_durable(strace, tmp_path):
    """Every directory made on the way to a new root is synced into the one above it."""
    root = str(tmp_path / "a" / "b" / "c")
    _, trace = strace(_PREAMBLE.format(fsync=True), root, "")
    assert f"<{tmp_path}/a/b>)" in trace
    synced = re.findall(r"fsync\(\d+<([^>]*)>", trace)
    assert synced == [f"{tmp_path}/a/b", f"{tmp_path}/a", str(tmp_path)]


@pytest.mark.parametrize(
    ("call", "nth"),
    [("sync_file_range", 1), ("fdatasync", 1), ("fdatasync", 2), ("fsync", 1), ("fsync", 2)],
    ids=["begin", "first file", "second file", "directory", "root"],
)
def test_a_sync_that_fails_fails_the_create(strace, root, victim, check_store, leftovers, call, nth):
    """Whichever sync of `create` fails, or even beginning one: it raises `StorageError`, and what was reported as failed
    is not there, even if it was there for a moment.
    """
    if call == "sync_file_range" and _staging.start_writing is None:
        pytest.skip("this system has no sync_file_range")
    code = _PREAMBLE.format(fsync=True) + _FAILS.format(call='store.create("new", b"new", purpose="batch")')
    said, _ = strace(code, root, victim, options=(_WATCHED, f"inject={call}:error=EIO:when={nth}"))
    assert said == "failed 5\n"
    assert leftovers(root) == []
    assert check_store(root) == {victim}


@pytest.mark.parametrize(("fsync", "begun"), [(True, 3), (False, 0)])
def test_a_large_file_is_on_its_way_to_the_disk_while_it_is_written(root, monkeypatch, fsync, begun):
    """Writing to the disk is begun every MiB and at the end, so that little is left to wait for when all has been
    written; without `fsync`, nothing is begun.
    """
    sizes = []
    monkeypatch.setattr(_staging, "start_writing", lambda fd: sizes.append(os.fstat(fd).st_size))
    mib = 1024 * 1024
    with holdall.open_store(root, fsync=fsync) as store:
        store.create("large", (bytes(mib // 4) for _ in range(9)), purpose="batch")
    assert sizes == [mib, 2 * mib, 9 * mib // 4][:begun]


def test_a_large_file_whose_writing_fails_midway_is_not_stored(root, monkeypatch, check_store, leftovers):
    """Data that could not be written to the disk may be lost, and a later sync might not tell."""

    def fail(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with holdall.open_store(root) as store:
        upload = store.begin("large", purpose="batch")
        monkeypatch.setattr(_staging, "start_writing", fail)
        with upload, pytest.raises(holdall.StorageError, match=r"cannot create .*Input/output error"):
            upload.write(bytes(5 * 1024 * 1024))
    assert check_store(root) == set()
    assert leftovers(root) == []


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM", "EINVAL"])
def test_where_writing_cannot_be_begun_early_files_are_stored_all_the_same(strace, root, victim, check_store, error):
    """A sandbox or a file system without sync_file_range(2) costs time, and nothing else."""
    code = _PREAMBLE.format(fsync=True) + _CREATE
    _, trace = strace(code, root, victim, options=(_WATCHED, f"inject=sync_file_range:error={error}"))
    assert len(check_store(root)) == 2
    assert trace.count("fdatasync(") == 2


def test_without_sync_file_range_files_are_stored_all_the_same(root, monkeypatch, check_store):
    """Other systems have no such call."""
    monkeypatch.setattr(_staging, "start_writing", None)
    with holdall.open_store(root) as store:
        stored = store.create("new", b"new" * 1000, purpose="batch")
    assert check_store(root) == {stored.id}


def test_a_sync_that_fails_fails_the_delete(strace, root, victim, check_store, leftovers):
    """If the root cannot be synced, `delete` raises `StorageError` and the file is still there."""
    code = _PREAMBLE.format(fsync=True) + _FAILS.format(call="store.delete(victim)")
    said, _ = strace(code, root, victim, options=(_WATCHED, "inject=fsync:error=EIO:when=1"))
    assert said == "failed 5\n"
    assert leftovers(root) == []
    assert check_store(root) == {victim}


_COSTS = """
store.get(victim)
many = holdall.open_store(root + "/many", fsync=False)
for n in range(20):
    many.create("a", b"a", purpose="batch")
new = holdall.open_store(root + "/many", fsync=False)
def mark():
    os.write(1, b"mark")
for call in (
    lambda: store.create("new", b"new" * 300, purpose="batch"),
    lambda: store.get(victim),
    lambda: store.get_content(victim),
    lambda: store.backend.list_ids(),
    lambda: new.list(),
    lambda: new.list(),
    lambda: store.delete(victim),
):
    mark()
    call()
mark()
"""


def test_calls_into_the_kernel(strace, root, victim):
    """One call of the store makes no more calls about files into the kernel than these; each one more is slower."""
    code = _PREAMBLE.format(fsync=False) + 'store.create("a", b"a", purpose="batch")\n' + _COSTS
    _, trace = strace(code, root, victim, options=("trace=%file,%desc,flock",))
    main = trace.split(maxsplit=1)[0]
    parts = [0]
    for line in trace.splitlines():
        pid, _, call = line.partition(" ")
        if pid != main:
            continue
        if '"mark"' in call:
            parts.append(0)
        # Memory is not what this is about, and a call that was interrupted is shown in two lines.
        elif not call.strip().startswith(("mmap", "munmap", "mprotect", "brk", "<...", "+++", "---")):
            parts[-1] += 1
    create, get, content, listing, files, again, delete = parts[1:-1]
    steps = 2 if _files.open_unlinked is None else 0
    # mkdir; open, lock, fstat, write, close of data; open, write, close of metadata; rename.
    assert create <= 10
    # open, read, close; without openat2(2) also open entry, close entry.
    assert get <= 3 + steps
    # get; open, fstat, pread, close.
    assert content <= 7 + 2 * steps
    # open, dup, fstat, lseek and two getdents, close, close; the C library adds its own.
    assert listing <= 12
    # list_ids and the root's times; each file as by get. Then nothing is read again.
    assert files <= 13 + 20 * (3 + steps)
    assert again <= 13
    # get; open entry, stat, close entry; rename.
    assert delete <= 7 + steps
