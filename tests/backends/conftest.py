"""Shared by the tests of the local backend: child processes, faults at the n-th call, and inspection of a root."""

from __future__ import annotations

import fcntl
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading

import pytest

import holdall
from holdall.backends.local import _files, _staging

_CALLS = (
    "close",
    "fdatasync",
    "fstat",
    "fsync",
    "listdir",
    "lstat",
    "mkdir",
    "open",
    "pread",
    "read",
    "readlink",
    "rename",
    "replace",
    "rmdir",
    "scandir",
    "stat",
    "unlink",
    "write",
)


class Child:
    """Runs code in a fork of a process that has imported holdall; see `local_child.py`."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, str(pathlib.Path(__file__).with_name("local_child.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def messages(self, code, **names):
        """The messages of the code, one after another; the last is `exit`."""
        order = {"code": textwrap.dedent(code), **names}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            message = json.loads(line)
            yield message
            if "exit" in message:
                return

    def run(self, code, **names):
        """The messages of the code, without `pid`; the last is `exit`."""
        return [m for m in self.messages(code, **names) if "pid" not in m]

    def tell(self, code, **names):
        """The messages of the code, merged into one dict. The code must succeed."""
        said = self.run(code, **names)
        assert said[-1] == {"exit": 0}, said
        return {name: value for message in said[:-1] for name, value in message.items()}

    def close(self):
        """End the process."""
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


class Calls:
    """Counts this thread's calls to the operating system, and injects an action at the n-th."""

    def __init__(self):
        self.made = []
        self._thread = None
        self._nth = None
        self._action = None
        self._sparing = ()

    def wrap(self, name, real):
        """The replacement for `real`."""

        def call(*args, **kwargs):
            if threading.get_ident() != self._thread or name in self._sparing:
                return real(*args, **kwargs)
            self.made.append(name)
            if len(self.made) != self._nth:
                return real(*args, **kwargs)
            return self._action(name, lambda: real(*args, **kwargs))

        return call

    def count(self, function):
        """The names of the calls that `function` makes."""
        self.fault(function, None, None)
        return self.made

    def fault(self, function, nth, action, sparing=()):
        """Run `function`; its `nth` call is passed to `action` with its name. Returns whether there was an n-th call.

        Calls with a name in `sparing` are not counted.
        """
        self.made, self._nth, self._action, self._sparing = [], nth, action, sparing
        self._thread = threading.get_ident()
        try:
            function()
        finally:
            self._thread = None
        return nth is not None and len(self.made) >= nth


@pytest.fixture(scope="session")
def child():
    """Runs code in another process, quickly."""
    process = Child()
    yield process
    process.close()


@pytest.fixture
def calls(monkeypatch):
    """Observes every call of this thread to the operating system, and can make one of them fail."""
    counter = Calls()
    for name in _CALLS:
        monkeypatch.setattr(os, name, counter.wrap(name, getattr(os, name)))
    monkeypatch.setattr(fcntl, "flock", counter.wrap("flock", fcntl.flock))
    if _files.open_unlinked is not None:
        monkeypatch.setattr(_files, "open_unlinked", counter.wrap("open", _files.open_unlinked))
    if _staging.start_writing is not None:
        monkeypatch.setattr(_staging, "start_writing", counter.wrap("sync_file_range", _staging.start_writing))
    return counter


@pytest.fixture
def root(tmp_path):
    """The root of a new store."""
    return str(tmp_path / "root")


@pytest.fixture
def public_directory():
    """A directory that other users can access; pytest's own is private."""
    path = tempfile.mkdtemp(prefix="holdall-")
    os.chmod(path, 0o755)
    yield path
    # A test may have left directories that even their owner cannot enter.
    for directory, _, _ in os.walk(path):
        os.chmod(directory, 0o700)
    shutil.rmtree(path)


@pytest.fixture
def missing():
    """A function to call if this machine lacks something: skips, or fails where everything must run."""

    def report(what):
        if os.environ.get("HOLDALL_REQUIRE_SERVERS") == "1":
            pytest.fail(what)
        pytest.skip(what)

    return report


@pytest.fixture
def leftovers():
    """The names in a root that belong to no entry, found without the store."""

    def find(root):
        found = []
        for name in os.listdir(root):
            path = os.path.join(root, name)
            if name == ".staging":
                found += [f".staging/{inner}" for inner in os.listdir(path)]
            elif sorted(os.listdir(path)) != ["data.bin", "meta.json"]:
                found.append(name)
        return found

    return find


@pytest.fixture
def check_store(leftovers):
    """Checks a root through a new handle: it is intact, its files are correct, and sweep leaves nothing else.

    The correct content of a file is its name, repeated to its size. Returns the ids in the store.
    """

    def check(root):
        with holdall.open_store(root) as store:
            files = store.list().data
            for file in files:
                content = store.get_content(file.id)
                assert content == (file.filename.encode() * len(content))[: len(content)]
                assert len(content) == file.bytes
            report = store.verify(older_than=0)
            assert report.problems == ()
            assert report.files == len(files)
            store.sweep(older_than=0)
            assert store.verify(older_than=0).leftovers == ()
            assert leftovers(root) == []
            assert [f.id for f in store] == [f.id for f in files]
            return {f.id for f in files}

    return check
