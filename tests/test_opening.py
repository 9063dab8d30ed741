"""Opening: which store is meant when no URL is given."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

import holdall
from holdall import InvalidStoreURL, StoreURL
from holdall.opening import default_url


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.delenv("HOLDALL_STORE", raising=False)


def test_without_a_url_the_environment_says(monkeypatch, tmp_path):
    """`$HOLDALL_STORE` is a URL or a path."""
    monkeypatch.setenv("HOLDALL_STORE", "memory://from-the-environment?max_bytes=3")
    assert holdall.open_store().url == StoreURL.parse("memory://from-the-environment?max_bytes=3")

    monkeypatch.setenv("HOLDALL_STORE", str(tmp_path / "a b"))
    with holdall.open_store(fsync=False) as store:
        assert store.url == StoreURL("file", path=str(tmp_path / "a b"), query={"fsync": "false"})


def test_without_anything_it_is_a_directory_of_the_users(monkeypatch, tmp_path):
    """An unset or empty variable gives a directory below the home, made when it is opened."""
    for value in (None, ""):
        if value is not None:
            monkeypatch.setenv("HOLDALL_STORE", value)
        assert default_url().scheme == "file"
        assert default_url().path.startswith(f"{tmp_path}/")
        assert default_url().path.endswith("/holdall/files")

    assert not os.path.exists(default_url().path)
    holdall.open_store(fsync=False).close()
    assert os.path.isdir(default_url().path)


def test_an_empty_url_is_no_default():
    """A variable that happens to be empty in the caller's code does not open the wrong store."""
    with pytest.raises(InvalidStoreURL):
        holdall.open_store("")


def test_the_variable_is_not_looked_at_when_a_url_is_given(monkeypatch, tmp_path):
    """A broken variable harms nobody who names a store."""
    monkeypatch.setenv("HOLDALL_STORE", "nothing://x")

    with holdall.open_store(tmp_path / "here", fsync=False) as store:
        assert store.url.path == str(tmp_path / "here")


def test_a_backend_without_options_opens_with_the_stores():
    """`memory://` is private each time, and `memory://name` shared."""
    first, second = holdall.open_store("memory://"), holdall.open_store("memory://")
    file = first.create("a", b"a", purpose="batch")
    assert list(second) == []

    one, other = holdall.open_store("memory://opening-test"), holdall.open_store("memory://opening-test/")
    file = one.create("a", b"a", purpose="batch")
    assert list(other) == [file]
    assert list(holdall.open_store("memory://opening-test/part")) == []


def test_a_memory_store_can_be_used_in_a_forked_child():
    """Also if another thread held its lock at the moment of the fork; a private store as well as a shared one."""
    code = """
        import os, holdall
        stores = [holdall.open_store("memory://"), holdall.open_store("memory://shared")]
        for store in stores:
            store.backend._space.lock.acquire()
        if child := os.fork():
            os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        for store in stores:
            assert store.get_content(store.create("a", b"a", purpose="batch").id) == b"a"
        os._exit(7)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], timeout=60, check=False)

    assert done.returncode == 7


@pytest.mark.parametrize(
    "url",
    [
        "memory://user@name",
        "memory://name:80",
        "file://user@{}/store",
        "file://localhost:80{}/store",
        "file://host{}/store",
        "file://",
    ],
)
def test_memory_and_directories_have_no_user_or_port(tmp_path, url):
    """What they cannot have is refused, not ignored."""
    with pytest.raises(InvalidStoreURL):
        holdall.open_store(url.format(tmp_path))
    assert not (tmp_path / "store").exists()
