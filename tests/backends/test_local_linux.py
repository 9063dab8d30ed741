"""The system calls that Python has no function for: interrupted, and beside another program."""

from __future__ import annotations

import errno
import os
import types

import pytest

from holdall.backends.local import _linux


@pytest.fixture
def directory(tmp_path):
    """A descriptor of a directory with one file in it."""
    (tmp_path / "name").write_bytes(b"bytes")
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.skipif(_linux.open_unlinked is None, reason="no openat2 here")
def test_what_is_opened_is_not_passed_on_to_other_programs(directory):
    """A program that is started meanwhile does not keep a deleted file's space taken."""
    fd = _linux.open_unlinked(directory, b"name")
    try:
        assert os.read(fd, 9) == b"bytes"
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


@pytest.mark.skipif(_linux.open_unlinked is None, reason="no openat2 here")
def test_an_open_that_a_signal_interrupts_is_made_again(directory, monkeypatch):
    """As Python's own calls are: no error comes of it."""
    answers = []

    def syscall(*_):
        return answers.pop(0) if answers else os.open("name", os.O_RDONLY, dir_fd=directory)

    monkeypatch.setattr(_linux.ctypes, "CDLL", lambda *_, **__: types.SimpleNamespace(syscall=syscall))
    monkeypatch.setattr(_linux.ctypes, "get_errno", lambda: errno.EINTR)
    open_below = _linux._bind_openat2(os.O_RDONLY)
    answers += [-1, -1]
    fd = open_below(directory, b"name")
    os.close(fd)

    assert answers == []


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EPERM])
def test_where_openat2_is_refused_there_is_none(monkeypatch, code):
    """An old kernel, or a sandbox: found out once, and nothing is left open."""
    before = os.listdir("/dev/fd")
    monkeypatch.setattr(_linux.ctypes, "CDLL", lambda *_, **__: types.SimpleNamespace(syscall=lambda *_: -1))
    monkeypatch.setattr(_linux.ctypes, "get_errno", lambda: code)

    assert _linux._bind_openat2(os.O_RDONLY) is None
    assert len(os.listdir("/dev/fd")) == len(before)


@pytest.mark.skipif(_linux.open_unlinked is None, reason="no openat2 here")
def test_trying_openat2_leaves_nothing_open():
    """It is tried once in every process."""
    before = os.listdir("/dev/fd")

    assert _linux._bind_openat2(os.O_RDONLY)
    assert len(os.listdir("/dev/fd")) == len(before)
