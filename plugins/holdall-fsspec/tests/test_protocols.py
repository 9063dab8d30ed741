"""Which protocols there are, what their options are, and what is said when one cannot be had."""

from __future__ import annotations

import sys

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from holdall_fsspec import FsspecAlias, FsspecBackend

import holdall
from holdall import InvalidStoreURL, PluginLoadError, StorageError, UnknownScheme, registry
from holdall.backend import Capability
from holdall.url import StoreURL, is_secret_name

ALIASES = {
    "gs": ("gcsfs.GCSFileSystem", "gcsfs"),
    "az": ("adlfs.AzureBlobFileSystem", "adlfs"),
    "abfs": ("adlfs.AzureBlobFileSystem", "adlfs"),
    "sftp": ("fsspec.implementations.sftp.SFTPFileSystem", "paramiko"),
    "webdav": ("webdav4.fsspec.WebdavFileSystem", "webdav4"),
}


class FakeFileSystem(MemoryFileSystem):
    """Takes arguments of each kind, and keeps them."""

    protocol = "fake"
    cachable = False
    given: dict[str, object]

    def __init__(
        self, plain=None, number=3, flag: bool | None = None, size: int = 0, token=None, username=None, **more
    ):
        super().__init__()
        self.given = {"plain": plain, "number": number, "flag": flag, "size": size, "token": token} | more
        self.given["username"] = username


class StrictFileSystem(MemoryFileSystem):
    """Takes no argument but its own."""

    protocol = "strict"

    def __init__(self, endpoint_url=None):
        super().__init__()


class DemandingFileSystem(FakeFileSystem):
    """Needs an argument; its base's are optional."""

    protocol = "demanding"

    def __init__(self, instance, **more):
        super().__init__(**more)
        self.given["instance"] = instance


class HostFileSystem(MemoryFileSystem):
    """Is addressed by a host."""

    protocol = "hosted"

    def __init__(self, host, port=7, username=None, password=None, timeout=None):
        super().__init__()
        self.given = {"host": host, "port": port, "username": username, "password": password}


_MINE = (FakeFileSystem, StrictFileSystem, DemandingFileSystem, HostFileSystem)


@pytest.fixture(autouse=True)
def _protocols():
    """The filesystems of this page are registered as their protocols."""
    for cls in _MINE:
        fsspec.register_implementation(cls.protocol, cls, clobber=True)
    yield
    for cls in _MINE:
        del sys.modules["fsspec.registry"]._registry[cls.protocol]


def given(url, **options):
    """What the filesystem's constructor was called with."""
    with holdall.open_store(url, **options) as store, store.backend._place.pool.use() as fs:
        return fs.given


def refused(url, **options):
    """The text of the error for a URL that is wrong."""
    with pytest.raises(InvalidStoreURL) as caught:
        holdall.open_store(url, **options)
    return str(caught.value)


def without_client(scheme, monkeypatch):
    """As if the client library of an alias were not installed. Returns the package that it lacks."""
    implementation, package = ALIASES[scheme]
    module = implementation.rpartition(".")[0]
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setitem(sys.modules, package, None)
    # Another test may have loaded it, where it is installed.
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, scheme, raising=False)
    return package


@pytest.mark.parametrize("scheme", ALIASES)
def test_an_alias_without_its_client_is_shown_as_such(scheme, monkeypatch):
    """`holdall backends` says what to install for it; what needs no client, or has it, is shown as usable."""
    package = without_client(scheme, monkeypatch)
    shown = {info.scheme: info for info in registry.installed()}

    assert shown[scheme].backend is FsspecAlias
    assert shown[scheme].problem.startswith(f"{scheme}:// needs the package {package}, which is not installed")
    assert shown[scheme].problem.endswith(f"pip install {package}")
    assert (shown["fsspec"].backend, shown["fsspec"].problem) == (FsspecBackend, None)
    assert (shown["ftp"].backend, shown["ftp"].problem) == (FsspecAlias, None)


def test_the_options_shown_are_those_of_the_protocol():
    """Of an alias they include its client's; of `fsspec` they are what every protocol has."""
    shown = {info.scheme: set(info.options.model_fields) for info in registry.installed() if info.options}

    assert shown["fsspec"] == {"commit", "part_size"}
    assert shown["ftp"] > shown["fsspec"] | {"timeout", "tls"}


@pytest.mark.parametrize("scheme", ALIASES)
def test_a_missing_client_library_is_named_when_its_scheme_is_opened(scheme, monkeypatch):
    """The error says what to install; nothing else of holdall is broken by it."""
    package = without_client(scheme, monkeypatch)

    for url in (f"{scheme}://somewhere/x", f"fsspec+{scheme}://somewhere/x"):
        with pytest.raises(PluginLoadError) as caught:
            holdall.open_store(url)
        assert str(caught.value).startswith(
            f"{url.partition(':')[0]}:// needs the package {package}, which is not installed"
        )
        assert str(caught.value).endswith(f"pip install {package}")


def test_a_library_that_is_missing_only_when_connecting_is_named_too(monkeypatch):
    """The filesystem for hdfs imports its client in its constructor."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.fs", None)
    with pytest.raises(PluginLoadError, match="pip install pyarrow"):
        holdall.open_store("hdfs://namenode/x")


def test_a_driver_of_somebody_else_is_not_taken_by_an_alias():
    """`gs+NAME` belongs to a package of that name: without it, it is unknown, and not opened by fsspec."""
    with pytest.raises(UnknownScheme):
        holdall.open_store("gs+nobody://bucket")


def test_an_unknown_protocol_names_the_nearest():
    """A slip in the protocol is answered like a slip in a scheme."""
    with pytest.raises(
        UnknownScheme, match=r"fsspec has no protocol 'memry'; did you mean fsspec\+memory://\?; it has: "
    ):
        holdall.open_store("fsspec+memry://x")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("fsspec://x", "write fsspec+PROTOCOL://"),
        ("fsspec+simplecache://x", "caches what it has read"),
        *((f"fsspec+{name}://x", "use the protocol of that one") for name in ("dir", "reference", "zip")),
        ("fsspec+file://host/x", "did you mean fsspec+file:///host/x"),
        ("fsspec+file://", "names no directory"),
        ("fsspec+memory://", "names no place"),
        ("fsspec+memory://u@x", "takes no user, password or port"),
        ("fsspec+s3:///x?skip_instance_cache=true", "unknown option 'skip_instance_cache'"),
        ("fsspec+hosted:///x", "names no host"),
    ],
)
def test_a_url_that_names_no_place_says_how_to_write_it(url, why):
    """Nothing is opened by guessing."""
    assert why in refused(url)


def test_arguments_of_the_constructor_are_options_with_its_types():
    """A type comes from the annotation, else from the default; else a text is read as JSON if it is JSON."""
    url = "fsspec+fake://x?plain=word&number=5&flag=true&size=7&username=123"

    assert given(url) == {"plain": "word", "number": 5, "flag": True, "size": 7, "token": None, "username": "123"}
    assert given('fsspec+fake://x?plain={"a":[1]}')["plain"] == {"a": [1]}
    assert given('fsspec+fake://x?plain="12"')["plain"] == "12"
    assert given("fsspec+fake://x?plain=12")["plain"] == 12


def test_every_option_is_described():
    """`holdall backends fsspec+fake` says of each option what it is, also of those that are the constructor's."""
    url = StoreURL.parse("fsspec+fake://x?opt.other=1")
    described = {n: f.description for n, f in FsspecBackend.options_for(url).model_fields.items()}

    assert described["plain"] == described["opt.other"] == "as the constructor of FakeFileSystem has it"
    assert all(described.values())


def test_an_option_given_in_python_is_kept_and_stands_in_the_url():
    """`store.url` opens the same store again, also with an option that is no text."""
    with holdall.open_store("fsspec+fake://x", plain={"a": 1}, number=4) as store:
        again = store.url.reveal()

    assert given(again)["plain"] == {"a": 1}
    assert given(again)["number"] == 4


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (
            "fsspec+strict://x?endpoint_ulr=1",
            "unknown option 'endpoint_ulr' for fsspec+strict://; did you mean 'endpoint_url'?",
        ),
        (
            "fsspec+strict://x?opt.endpoint_ulr=1",
            "unknown option 'opt.endpoint_ulr' for strict; did you mean 'endpoint_url'?",
        ),
        ("fsspec+fake://x?numbr=1", "did you mean 'number'?"),
        ("fsspec+fake://x?number=many", "option 'number' of fsspec+fake:// cannot be 'many'"),
        ("fsspec+fake://x?opt.use_listings_cache=true", "'use_listings_cache' of fake cannot be set by an option"),
        ("fsspec+fake://x?number=1&opt.number=2", "the options 'number' and 'opt.number' are the same; keep one"),
        ("fsspec+hosted://h/x?host=other", "unknown option 'host'"),
        ("fsspec+hosted://u:p@h/x?username=other", "'username' is given both before the host"),
        ("fsspec+fake://x?part_size=1", "option 'part_size'"),
        ("fsspec+fake://x?commit=mv", "option 'commit'"),
    ],
)
def test_a_wrong_option_is_refused_with_the_nearest(url, why):
    """No option is silently ignored, and none can bring a cache back."""
    assert why in refused(url)


def test_an_argument_that_only_the_client_knows_is_reached_by_its_prefix():
    """What a constructor hands on as keyword arguments has no names to check."""
    assert given("fsspec+fake://x?opt.anything=2")["anything"] == 2
    assert given("fsspec+fake://x?opt.number=9")["number"] == 9


def test_an_argument_that_the_constructor_demands_is_an_option_that_must_be_given():
    """Without it, the error names it and says how to pass it."""
    why = "fsspec+demanding:// needs the option 'instance'; add ?instance=… to the URL"
    assert refused("fsspec+demanding://x?number=4") == why
    assert given("fsspec+demanding://x?instance=one&number=4")["instance"] == "one"
    assert given("fsspec+demanding://x", instance="one")["instance"] == "one"


def test_secrets_are_hidden_under_the_prefix_as_well():
    """What names a secret names it under its prefix too, and is not shown."""
    assert is_secret_name("opt.key")
    assert is_secret_name("opt.sas_token")
    assert "hunter2" not in str(StoreURL.parse("fsspec+fake://x?opt.key=hunter2"))


def test_the_authority_of_a_host_becomes_arguments():
    """Host, port, user and password are taken from the URL as holdall reads it, with its percent-encoding."""
    assert given("fsspec+hosted://me:p%40ss@[::1]:99/x") == {
        "host": "::1",
        "port": 99,
        "username": "me",
        "password": "p@ss",
    }


def test_what_a_protocol_cannot_promise_is_not_declared():
    """Capabilities follow the protocol: memory dies with the process, nothing local waits for the disk."""
    memory = holdall.open_store("fsspec+memory://caps").capabilities
    unknown = holdall.open_store("fsspec+fake://caps").capabilities

    assert memory & (Capability.SHARED | Capability.PERSISTENT | Capability.DURABLE) == Capability(0)
    assert Capability.EXCLUSIVE_REMOVE in memory
    assert unknown == Capability.RANGED_READS | Capability.PORTABLE_LAYOUT


def test_durable_is_declared_for_the_providers_own_servers_only(bucket, monkeypatch):
    """What stands behind an endpoint of one's own, given in the URL or the environment, promises nothing."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AZURE_STORAGE_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)
    for name in ("s3", "az"):
        monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, name, bucket)

    def durable(url):
        return Capability.DURABLE in holdall.open_store(url).capabilities

    assert durable("fsspec+s3://b/p")
    assert not durable("fsspec+s3://b/p?opt.endpoint_url=http://127.0.0.1:9")
    assert not durable('fsspec+s3://b/p?opt.client_kwargs={"endpoint_url":"http://127.0.0.1:9"}')
    assert durable("fsspec+az://b/p")
    assert not durable("fsspec+az://b/p?opt.account_host=127.0.0.1:9")
    assert not durable("fsspec+az://b/p?opt.connection_string=BlobEndpoint=http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert not durable("fsspec+s3://b/p")
    assert durable("fsspec+az://b/p")


def test_local_files_are_kept_and_shared_but_not_durable(tmp_path):
    """What fsspec writes is never synced."""
    found = holdall.open_store(f"fsspec+file://{tmp_path}").capabilities

    assert Capability.SHARED | Capability.PERSISTENT | Capability.PORTABLE_LAYOUT | Capability.EXCLUSIVE_REMOVE in found
    assert Capability.DURABLE not in found


def test_a_directory_that_holdall_made_is_one_to_fsspec_and_back(tmp_path):
    """The layout is the same: `file://` opens what `fsspec+file://` has written, and the other way round."""
    with (
        holdall.open_store(f"file://{tmp_path}?fsync=false") as core,
        holdall.open_store(f"fsspec+file://{tmp_path}") as own,
    ):
        one = core.create("a", b"from the core", purpose="batch")
        two = own.create("b", b"from fsspec", purpose="batch")

        assert own.get_content(one.id) == b"from the core"
        assert core.get_content(two.id) == b"from fsspec"
        assert [f.id for f in core] == [f.id for f in own] == [one.id, two.id]


def test_a_location_that_was_removed_is_no_missing_file(tmp_path):
    """A caller must not take the loss of everything for the absence of one file."""
    root = tmp_path / "root"
    with holdall.open_store(f"fsspec+file://{root}") as store:
        root.rmdir()
        for call in (lambda: store.get("file-x"), lambda: store.delete("file-x"), store.list):
            with pytest.raises(StorageError, match="does not exist; create it, or correct the URL"):
                call()


def test_a_path_that_the_client_would_cut_is_refused(bucket, monkeypatch):
    """A prefix with a "?" would be another place to adlfs, which reads paths as URLs: it is an error."""
    strip = bucket._strip_protocol
    monkeypatch.setattr(bucket, "_strip_protocol", classmethod(lambda cls, path: strip(path.partition("?")[0])))
    holdall.open_store("fsspec+bucket://b").close()
    with pytest.raises(InvalidStoreURL, match=r"leave out \? and #"):
        holdall.open_store("fsspec+bucket://b/p%3Fq")
