"""From a URL to the arguments of a filesystem, for each way in which a filesystem is addressed."""

from __future__ import annotations

import sys

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from holdall_fsspec import FsspecBackend

import holdall
from holdall import Capability, InvalidStoreURL
from holdall.url import StoreURL


class _Kept(MemoryFileSystem):
    cachable = False

    def _keep(self, **given):
        self.given = {name: value for name, value in given.items() if value is not None}


class WebFileSystem(_Kept):
    """Is addressed by a URL of its own."""

    protocol = "web"

    def __init__(self, base_url, auth=None, timeout: int | None = None):
        super().__init__()
        self._keep(base_url=base_url, auth=auth, timeout=timeout)


class UserFileSystem(_Kept):
    """Has a host, and calls who uses it `user`."""

    protocol = "userish"

    def __init__(self, host="default", port=None, user=None, password=None):
        super().__init__()
        self._keep(host=host, port=port, user=user, password=password)


class OptionsFileSystem(_Kept):
    """Has arguments of each kind that an annotation or a name tells, and some that are no options."""

    protocol = "typed"

    def __init__(
        self,
        wrapped: Optional[int] = None,  # noqa: F821 - a text, as in many clients
        union: Union[str, None] = None,  # noqa: F821
        secret=None,
        token=None,
        auth_timeout=None,
        _private=None,
        loop=None,
        commit=None,
        max_bytes=None,
        copy=None,
        function=dict,
        **more,
    ):
        super().__init__()
        self._keep(wrapped=wrapped, union=union, secret=secret, token=token, auth_timeout=auth_timeout, **more)


_MINE = (WebFileSystem, UserFileSystem, OptionsFileSystem)


@pytest.fixture(autouse=True)
def _protocols():
    for cls in _MINE:
        fsspec.register_implementation(cls.protocol, cls, clobber=True)
    yield
    for cls in _MINE:
        del sys.modules["fsspec.registry"]._registry[cls.protocol]


def _given(url):
    with holdall.open_store(url) as store, store.backend._place.pool.use() as fs:
        return fs.given


def _root(url):
    with holdall.open_store(url) as store:
        return store.backend._place.root


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("fsspec+web://h/x", {"base_url": "https://h/"}),
        ("fsspec+web://h:81/x?tls=false", {"base_url": "http://h:81/"}),
        ("fsspec+web://me:p%40ss@h/x", {"base_url": "https://h/", "auth": ("me", "p@ss")}),
        ("fsspec+web://me@h/x?timeout=3", {"base_url": "https://h/", "auth": ("me", ""), "timeout": 3}),
        ("fsspec+userish://me:p@h:8/x", {"host": "h", "port": 8, "user": "me", "password": "p"}),
        ("fsspec+userish://[::1]/x", {"host": "::1"}),
        ("fsspec+userish:///x", {"host": "default"}),
    ],
)
def test_an_authority_becomes_the_arguments_of_its_kind(url, given):
    """A host and its like, or one URL with or without TLS; a host with a default can be left out."""
    assert _given(url) == given


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("fsspec+userish://:8/x", "names no host"),
        ("fsspec+web:///x", "names no host"),
        ("fsspec+memory://x:80", "takes no user, password or port"),
        ("fsspec+userish://h/x?opt.host=other", "cannot be set by an option"),
        ("fsspec+web://h/x?opt.base_url=other", "cannot be set by an option"),
        ("fsspec+typed://x?opt.no-name=1", "cannot be set by an option"),
        ("fsspec+typed://x?opt.loop=1", "cannot be set by an option"),
    ],
)
def test_what_cannot_be_meant_is_refused(url, why):
    """Nothing is ignored, and nothing is guessed."""
    with pytest.raises(InvalidStoreURL) as caught:
        holdall.open_store(url).close()
    assert why in str(caught.value)


def test_the_root_is_a_path_as_the_filesystem_has_it():
    """Without a slash at its end; with that at its start where the filesystem's paths have one."""
    assert _root("fsspec+userish://h/a/b/") == "/a/b"
    assert _root("fsspec+web://h/a/b/") == "/a/b"
    assert _root("fsspec+memory://a/b/") == "/a/b"


def test_types_of_options():
    """From the text of an annotation, or the name of a secret; what is no option is not offered as one."""
    assert _given("fsspec+typed://x?wrapped=5&union=5&secret=5&token=5&auth_timeout=5") == {
        "wrapped": 5,
        "union": "5",
        "secret": "5",
        "token": 5,
        "auth_timeout": 5,
    }
    names = FsspecBackend.options_for(StoreURL.parse("fsspec+typed://x")).model_fields
    assert not {"_private", "loop", "copy", "function", "max_bytes"} & names.keys()
    # The store's own option keeps its name; that of the filesystem has the prefix.
    assert names["commit"].default == "auto"
    assert "tls" not in names
    hosted = FsspecBackend.options_for(StoreURL.parse("fsspec+userish://x")).model_fields
    assert not {"host"} & hosted.keys()


@pytest.mark.parametrize(
    ("scheme", "variable", "value"),
    [
        ("s3", "AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9"),
        ("gs", "STORAGE_EMULATOR_HOST", "http://127.0.0.1:9"),
        ("az", "AZURE_STORAGE_CONNECTION_STRING", "UseDevelopmentStorage=true"),
        ("abfs", "AZURE_STORAGE_CONNECTION_STRING", "a=b;BlobEndpoint=http://127.0.0.1:9"),
    ],
)
def test_durable_is_not_declared_for_a_server_that_the_environment_names(bucket, monkeypatch, scheme, variable, value):
    """An emulator keeps what it acknowledges in memory."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "STORAGE_EMULATOR_HOST", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, scheme, bucket)
    with holdall.open_store(f"fsspec+{scheme}://b/p") as store:
        assert Capability.DURABLE in store.capabilities
    monkeypatch.setenv(variable, value)
    with holdall.open_store(f"fsspec+{scheme}://b/p") as store:
        assert Capability.DURABLE not in store.capabilities


@pytest.mark.parametrize("scheme", ["sftp", "webdav", "hdfs", "ftp", "smb"])
def test_durable_is_not_declared_for_what_nothing_is_known_of(bucket, monkeypatch, scheme):
    """Whether a server of files waits for its disk is its operator's choice."""
    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, scheme, bucket)
    with holdall.open_store(f"fsspec+{scheme}://b/p") as store:
        assert Capability.DURABLE not in store.capabilities
        assert Capability.PERSISTENT in store.capabilities


@pytest.mark.parametrize("scheme", ["simplecache", "filecache", "dir", "zip"])
def test_what_is_no_place_of_its_own_is_refused(scheme):
    """A cache shows what was there once; a view of another filesystem cannot be told of which."""
    with pytest.raises(InvalidStoreURL, match="use the protocol"):
        holdall.open_store(f"fsspec+{scheme}://x")
