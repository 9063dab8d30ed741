"""Broken connections, failing servers and lost answers before both S3 drivers: never half a file, never two.

What is held of a `create` whose connection breaks: it returns, and the file is there, once and whole; or it raises, and
no file is there. The only exception is told by `test_lost_answer_and_nobody_to_ask`.
"""

from __future__ import annotations

import contextlib
import uuid

import pytest
from s3_raw import S3Raw
from tests.storage.conftest import url_of
from tests.storage.fault_proxy import Fault, FaultProxy

import holdall
from holdall import AccessDenied, StorageError, StorageUnavailable, StoreURL

MIB = 1024 * 1024
SMALL = bytes(range(256)) * 256
LARGE = bytes(range(256)) * (11 * 4096)
PARTS = ["POST uploads", "PUT partNumber", "POST uploadId"]


class Place:
    """A store whose requests go through the proxy, and a way past both."""

    def __init__(self, server, scheme, **options):
        self.proxy = FaultProxy(int(server.endpoint.rpartition(":")[2]))
        self.server, self.scheme = server, scheme
        self.prefix = f"faults/{uuid.uuid4().hex}"
        self.raw = S3Raw(server, self.prefix)
        self.stores = contextlib.ExitStack()

    def open(self, **options):
        """A store through the proxy; it gives up after a second try."""
        through = {"endpoint_url": f"http://127.0.0.1:{self.proxy.port}", "part_size": "5MiB", "retries": 1, **options}
        return self.stores.enter_context(holdall.open_store(url_of(self.server, self.scheme, self.prefix, **through)))

    def beside(self):
        """A store that goes past the proxy, by the driver that sees unfinished uploads too."""
        return self.stores.enter_context(holdall.open_store(url_of(self.server, "s3", self.prefix)))

    def close(self):
        """Remove everything."""
        self.stores.close()
        self.proxy.stop()
        self.raw.clear()


@pytest.fixture
def place(seaweedfs_server, scheme):
    """A place on SeaweedFS, for each driver."""
    made = Place(seaweedfs_server, scheme)
    yield made
    made.close()


def _create(place, store, data):
    """The file that was created; None if that failed, and then there is none, nor is after a sweep anything left."""
    try:
        file = store.create("a", data, purpose="batch")
    except StorageUnavailable:
        file = None
    place.proxy.plan = lambda request: None
    beside = place.beside()
    files = list(beside)
    assert files == ([file] if file else [])
    assert beside.verify(older_than=0).ok or file is None
    beside.sweep(older_than=0)
    assert len(place.raw.keys()) == 2 * len(files)
    assert place.raw.uploads() == []
    if file:
        assert beside.get_content(file.id) == data
    return file


@pytest.mark.parametrize("at", [0, 1, 40_000, 65_535])
@pytest.mark.parametrize("request_", ["PUT data.bin", "PUT meta.json"])
def test_small_upload_cut_at_a_byte(place, request_, at):
    """Cut once, on its way up: it is sent again, and is there once."""
    store = place.open()
    pending = place.proxy.once(request_, Fault(up=min(at, 100) if "meta" in request_ else at))

    assert _create(place, store, SMALL)
    assert pending == []


@pytest.mark.parametrize("at", [0, 1, 3 * MIB])
@pytest.mark.parametrize("request_", PARTS)
def test_large_upload_cut_at_a_byte(place, request_, at):
    """The same for each request of a multipart upload: at worst an error, and nothing is left after a sweep."""
    store = place.open()
    pending = place.proxy.once(request_, Fault(up=min(at, 50) if "POST" in request_ else at))
    _create(place, store, LARGE)

    assert pending == []


@pytest.mark.parametrize("at", [0, 1, 100])
@pytest.mark.parametrize("request_", ["PUT data.bin", "PUT meta.json", *PARTS])
def test_answer_cut_at_a_byte(place, request_, at):
    """The server has done it, and its answer breaks off: stored once; no duplicate, and no failure of what is there."""
    store = place.open()
    pending = place.proxy.once(request_, Fault(down=at))
    file = _create(place, store, SMALL if "." in request_ else LARGE)

    assert pending == []
    if "." in request_:
        assert file is not None


@pytest.mark.parametrize("request_", ["PUT data.bin", "PUT meta.json"])
def test_every_answer_to_a_put_is_lost(place, request_):
    """The commit is read back: a file whose metadata is there is stored. A lost answer to its data may be an error."""
    store = place.open()
    place.proxy.always(request_, Fault(down=0))
    file = _create(place, store, SMALL)

    if request_ == "PUT meta.json":
        assert file is not None


def test_lost_answer_and_nobody_to_ask(place):
    """Once the commit is sent the server is out of reach: an error, and the file is there, whole, or not at all.

    This is as far as the protocol goes: nobody can know.
    """
    store, reached = place.open(), []

    def plan(request):
        if request == "PUT meta.json" and not reached:
            reached.append(request)
            return Fault(down=0)
        return Fault(gone=True) if reached else None

    place.proxy.plan = plan
    with pytest.raises(StorageUnavailable):
        store.create("a", SMALL, purpose="batch")
    beside = place.beside()

    assert [beside.get_content(file.id) for file in beside] in ([], [SMALL])
    assert beside.verify(older_than=0).ok


@pytest.mark.parametrize("at", [0, 1, 200, 70_000, 5 * MIB])
def test_download_cut_at_a_byte(place, at):
    """It goes on where it broke off: every byte once."""
    store = place.open(retries=3)
    file = store.create("a", LARGE, purpose="batch")
    pending = place.proxy.once("GET data.bin", Fault(down=at))

    assert store.get_content(file.id) == LARGE
    assert pending == []


def test_download_that_always_breaks(place):
    """StorageUnavailable after a bounded number of tries."""
    store = place.open()
    file = store.create("a", LARGE, purpose="batch")
    place.proxy.always("GET data.bin", Fault(down=0))
    with pytest.raises(StorageUnavailable):
        store.get_content(file.id)

    assert place.proxy.count("GET data.bin") <= 8


def _verbs(store, file):
    return {
        "create": lambda: store.create("b", SMALL, purpose="batch"),
        "get": lambda: store.get(file.id),
        "read": lambda: store.backend.open_data(file.id, 0, 5).read(),
        "list": store.list,
        "delete": lambda: store.delete(file.id),
        "sweep": store.sweep,
    }


@pytest.mark.parametrize("answer", [(500, "InternalError"), (503, "ServiceUnavailable"), (503, "SlowDown")])
def test_server_that_fails_for_ever(place, answer):
    """Every verb is StorageUnavailable after the tries that were asked for, and the file stays as it is."""
    store = place.open()
    file = store.create("a", SMALL, purpose="batch")
    place.proxy.always(None, Fault(answer=answer))
    for verb, call in _verbs(store, file).items():
        place.proxy.requests.clear()
        with pytest.raises(StorageUnavailable):
            call()
        # Each of the requests that it takes to fail and to clean up is repeated once.
        assert len(place.proxy.requests) <= 8, verb
    place.proxy.plan = lambda request: None

    assert [f.id for f in place.beside()] == [file.id]


def test_slow_down_for_a_moment(place):
    """Is not seen: the request is repeated."""
    store = place.open(retries=4)
    left = [Fault(answer=(503, "SlowDown"))] * 2
    place.proxy.plan = lambda request: left.pop() if left else None

    assert _create(place, store, SMALL)
    assert left == []


def test_server_that_keeps_silent(place):
    """StorageUnavailable once `timeout_seconds` are over; nothing hangs."""
    store = place.open(retries=0, timeout_seconds=0.5)
    file = store.create("a", SMALL, purpose="batch")
    place.proxy.always(None, Fault(silent=True))
    for call in _verbs(store, file).values():
        with pytest.raises(StorageUnavailable):
            call()


@pytest.mark.parametrize("size", [SMALL, LARGE * 2])
def test_server_that_takes_nothing(place, size):
    """StorageUnavailable once `timeout_seconds` are over, however much there is to send."""
    store = place.open(retries=0, timeout_seconds=0.5, part_size="64MiB")
    place.proxy.always("PUT data.bin", Fault(deaf=True))
    with pytest.raises(StorageUnavailable):
        store.create("a", size, purpose="batch")


def test_credentials_that_expire_meanwhile(place):
    """Half-way through an upload: AccessDenied that says so; no file, and after a sweep with new ones nothing is left."""
    store = place.open()
    upload = store.begin("a", purpose="batch")
    upload.write(LARGE[: 6 * MIB])
    place.proxy.always(None, Fault(answer=(400, "ExpiredToken")))
    with pytest.raises(AccessDenied, match="expired"):
        upload.write(LARGE[6 * MIB :])
        upload.finish()
    with contextlib.suppress(StorageError):
        upload.discard()
    for call in (store.list, lambda: store.create("b", SMALL, purpose="batch")):
        with pytest.raises(AccessDenied, match="expired"):
            call()
    place.proxy.plan = lambda request: None
    beside = place.beside()

    assert list(beside) == []
    beside.sweep(older_than=0)
    assert (place.raw.keys(), place.raw.uploads()) == ({}, [])


@pytest.mark.parametrize("name", ["moto", "seaweedfs"])
def test_bucket_that_is_deleted_meanwhile(request, scheme, name):
    """An upload, a listing and a read say that the bucket is not there; none says that a file is not."""
    server = request.getfixturevalue(f"{name}_server")
    bucket = f"b-{uuid.uuid4().hex[:12]}"
    server.client().call_s3("create_bucket", Bucket=bucket)
    url = (
        StoreURL.parse(url_of(server, scheme, "p", part_size="5MiB", retries=1)).reveal().replace(server.bucket, bucket)
    )
    with holdall.open_store(url) as store:
        file = store.create("a", SMALL, purpose="batch")
        upload = store.begin("b", purpose="batch")
        upload.write(SMALL)
        for key in ("data.bin", "meta.json"):
            server.client().call_s3("delete_object", Bucket=bucket, Key=f"p/{file.id}/{key}")
        server.client().call_s3("delete_bucket", Bucket=bucket)
        for call in (upload.finish, store.list, lambda: store.get(file.id), lambda: store.delete(file.id)):
            with pytest.raises(StorageError, match="bucket") as caught:
                call()
            assert "does not exist" in str(caught.value)
