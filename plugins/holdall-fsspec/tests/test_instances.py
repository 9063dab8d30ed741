"""Instances of a filesystem: whose they are, what they keep, and what becomes of what they raise."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import types
from concurrent.futures import ThreadPoolExecutor

import fsspec.asyn
import pytest
from holdall_fsspec._pool import Pool

import holdall
from holdall import AccessDenied, FileNotFound, StorageError, StorageFull, StorageUnavailable


class HttpError(Exception):
    """What client libraries raise: a class of their own, with a status."""

    def __init__(self, status):
        super().__init__(f"status {status} for https://me:hunter2@host/x")
        self.status_code = status


class ConnectTimeout(Exception):
    """Known by its name only."""


def _named(name, base=Exception):
    return type(name, (base,), {})("x")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (PermissionError("denied"), AccessDenied),
        (OSError("Forbidden: b/p"), AccessDenied),
        (NotImplementedError("read-only"), StorageError),
        (HttpError(403), AccessDenied),
        (HttpError(401), AccessDenied),
        (HttpError(429), StorageUnavailable),
        (HttpError(503), StorageUnavailable),
        (HttpError(507), StorageFull),
        (HttpError(400), StorageError),
        (ConnectTimeout("x"), StorageUnavailable),
        (_named("ServiceRequestError"), StorageUnavailable),
        (_named("ServiceResponseError"), StorageUnavailable),
        (_named("ReadError", type(_named("NetworkError"))), StorageUnavailable),
        (_named("ClientPayloadError"), StorageUnavailable),
        (_named("ChunkedEncodingError", OSError), StorageUnavailable),
        (_named("IncompleteRead"), StorageUnavailable),
        (EOFError(), StorageUnavailable),
        (TimeoutError("x"), StorageUnavailable),
        (OSError(28, "No space left on device"), StorageFull),
        (RuntimeError("odd"), StorageError),
    ],
)
def test_what_a_client_raises_becomes_the_error_that_fits(store, bucket, error, kind):
    """By its number, its status or its name; no password of an address in it is shown; the cause is kept."""
    bucket.fail["get", "meta.json"] = error
    with pytest.raises(StorageError) as caught:
        store.get("file-x")

    assert type(caught.value) is kind
    assert caught.value.__cause__ is error
    assert "hunter2" not in str(caught.value)


def test_no_listing_is_kept(store):
    """Fsspec's caches are off, whatever its configuration says: what another client does is seen at once."""
    with store.backend._place.pool.use() as fs:
        assert not fs.dircache.use_listings_cache
    with holdall.open_store("fsspec+bucket://b/p") as other:
        assert store.list().data == []
        file = other.create("a", b"", purpose="batch")
        assert [f.id for f in store.list()] == [file.id]


@pytest.mark.parametrize("most", [0, 1])
def test_metadata_is_read_without_threads_where_none_can_be_started(store, monkeypatch, most):
    """While the interpreter exits, or at the limit of threads, a listing takes longer, and misses nothing."""
    expected = [store.create("a", b"", purpose="batch").id for _ in range(5)]
    real, begun = ThreadPoolExecutor.submit, []

    def submit(self, *arguments):
        if len(begun) == most:
            raise RuntimeError("can't start new thread")
        begun.append(arguments)
        return real(self, *arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    assert [file.id for file in store.list()] == expected
    assert len(begun) == most


def test_an_instance_serves_one_thread_at_a_time(store, bucket, monkeypatch):
    """A filesystem over one connection would mix up two answers."""
    users: dict[int, int] = {}
    worst = []
    lock = threading.Lock()
    inside = threading.Barrier(4, timeout=30)

    def busy(self, path, start=None, end=None, **kwargs):
        with lock:
            users[id(self)] = users.get(id(self), 0) + 1
            worst.append(users[id(self)])
        inside.wait()
        with lock:
            users[id(self)] -= 1
        raise FileNotFoundError(path)

    monkeypatch.setattr(bucket, "cat_file", busy)

    def look():
        with pytest.raises(FileNotFound):
            store.get("file-x")

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert max(worst) == 1
    assert len(worst) == 4


def test_an_instance_that_failed_is_not_used_again(store, bucket):
    """It may have lost its connection: the next call opens another."""
    with store.backend._place.pool.use() as first:
        pass
    with store.backend._place.pool.use() as second:
        assert second is first
    bucket.fail["get", "meta.json"] = ConnectionResetError("cut")
    with pytest.raises(StorageUnavailable):
        store.get("file-x")
    with store.backend._place.pool.use() as third:
        assert third is not first


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_process_opens_its_own_connections(tmp_path):
    """After a fork the store goes on working, in the child by instances of its own."""
    with holdall.open_store(f"fsspec+file://{tmp_path}") as store:
        file = store.create("a", b"abc", purpose="batch")
        with store.backend._place.pool.use() as fs:
            parents = id(fs)
        child = os.fork()
        if child == 0:
            try:
                with store.backend._place.pool.use() as fs:
                    own = id(fs) != parents
                os._exit(0 if own and store.get_content(file.id) == b"abc" else 1)
            finally:
                os._exit(2)
        _, status = os.waitpid(child, 0)

        assert os.waitstatus_to_exitcode(status) == 0
        assert store.get_content(file.id) == b"abc"


def test_connections_are_closed_and_not_left_to_the_garbage_collector(bucket, monkeypatch):
    """Closing the store closes what its instances keep open; so does giving up one that failed."""
    closed = []

    class Client:
        def close(self):
            closed.append(self)

    monkeypatch.setattr(
        bucket, "client", property(lambda self: self.__dict__.setdefault("_client", Client())), raising=False
    )
    with holdall.open_store("fsspec+bucket://b/p") as store:
        bucket.fail["get", "meta.json"] = ConnectionResetError("cut")
        with pytest.raises(StorageUnavailable):
            store.get("file-x")
        bucket.fail.clear()
        assert len(closed) == 1
        store.create("a", b"", purpose="batch")
        assert len(closed) == 1

    assert len(set(map(id, closed))) == len(closed) == 2


@pytest.mark.parametrize("failed", [False, True])
def test_an_instance_for_all_threads_is_closed_when_its_last_user_has_left(failed):
    """Closing the store closes what an asynchronous instance keeps open, on its own loop, and never under a call."""
    closed = []

    class Service:
        async def close(self):
            closed.append(asyncio.get_running_loop())

    class Instance:
        def __init__(self):
            self.loop = fsspec.asyn.get_loop()
            self.service_client = Service()
            self.dircache = types.SimpleNamespace()

    pool = Pool(Instance, shared=True)
    with contextlib.suppress(ConnectionResetError), pool.use() as one:
        with pool.use() as other:
            assert other is one
        pool.close()
        assert closed == []
        if failed:
            raise ConnectionResetError

    assert closed == [one.loop]
    pool.close()
    assert closed == [one.loop]
