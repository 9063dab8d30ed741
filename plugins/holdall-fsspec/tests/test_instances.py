"""Instances of a filesystem: whose they are, what they keep, and what becomes of what they raise."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import threading
import types
import weakref
from concurrent.futures import ThreadPoolExecutor

import fsspec.asyn
import pytest
from holdall_fsspec._pool import Pool

import holdall
from holdall import AccessDenied, FileNotFound, InvalidRequest, StorageError, StorageFull, StorageUnavailable


class HttpError(Exception):
    """What client libraries raise: a class of their own, with a status."""

    def __init__(self, status):
        super().__init__(f"status {status} for https://me:hunter2@host/x")
        self.status_code = status


class ConnectTimeout(Exception):
    """Known by its name only."""


class Instance:
    """A filesystem with one connection, which says when it is closed."""

    def __init__(self):
        self.dircache = types.SimpleNamespace()
        self.closed = 0
        self.client = self

    def close(self):
        self.closed += 1


def _exit_code_of_a_child(work):
    """Run this in a forked process that is killed if it waits forever."""
    child = os.fork()
    if child == 0:
        try:
            signal.alarm(30)
            os._exit(0 if work() else 1)
        finally:
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


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
        (HttpError(407), AccessDenied),
        (HttpError(408), StorageUnavailable),
        (HttpError(423), StorageUnavailable),
        (HttpError(429), StorageUnavailable),
        (HttpError(500), StorageUnavailable),
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
        (RuntimeError("530 is no reply of an FTP server here"), StorageError),
        (RuntimeError("a page of HTML " * 100), StorageError),
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
    assert len(str(caught.value)) < 400


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


def test_an_instance_that_found_nothing_is_used_again():
    """An absent file is an answer: its connection is as good as before."""
    pool = Pool(Instance, shared=False)
    with pytest.raises(FileNotFoundError), pool.use() as first:
        raise FileNotFoundError
    with pool.use() as second:
        assert (second, first.closed) == (first, 0)


def test_no_more_than_eight_connections_wait_for_their_next_use():
    """After many threads at once the others are closed, and all of them once the store is."""
    pool = Pool(Instance, shared=False)
    taken = [pool.take() for _ in range(10)]
    for fs in taken:
        pool.give_back(fs)
    assert [fs.closed for fs in taken] == [0] * 8 + [1] * 2
    pool.close()
    assert [fs.closed for fs in taken] == [1] * 10


def test_an_instance_in_use_is_closed_when_it_comes_back_to_a_closed_pool():
    """Not under its user; and nobody gets another."""
    pool = Pool(Instance, shared=False)
    with pool.use() as fs:
        pool.close()
        assert fs.closed == 0
        with pytest.raises(InvalidRequest, match="closed"):
            pool.take()
    assert fs.closed == 1


def test_a_connection_that_cannot_be_closed_does_not_keep_the_others_open():
    """Whatever a client raises when it hangs up, on a connection that is gone: nobody waits for it."""

    class Broken(Instance):
        def close(self):
            super().close()
            raise ConnectionResetError

    pool = Pool(Broken, shared=False)
    taken = [pool.take(), pool.take()]
    for fs in taken:
        pool.give_back(fs)
    pool.close()
    assert [fs.closed for fs in taken] == [1, 1]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_leaves_the_connections_of_its_parent_alone():
    """It neither closes nor frees them, which would end what the parent is doing with them."""
    for shared in (False, True):
        pool = Pool(Instance, shared=shared)
        fs = pool.take()
        pool.give_back(fs)
        inherited = weakref.ref(fs)
        del fs

        def work(pool=pool, inherited=inherited):
            with pool.use() as own:
                gc.collect()
                kept = inherited() is not None and own is not inherited()
            pool.close()
            return kept and own.closed == 1 and inherited().closed == 0

        assert _exit_code_of_a_child(work) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_was_forked_during_a_call_closes_what_it_opens():
    """What the parent had in use is not counted in the child, neither before nor after it is given back there."""
    pool = Pool(Instance, shared=True)
    with pool.use() as parents:

        def work():
            pool.give_back(parents)
            with pool.use() as own:
                pool.close()
                in_use = own.closed
            return (in_use, own.closed, parents.closed) == (0, 1, 0)

        assert _exit_code_of_a_child(work) == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_does_not_wait_for_a_lock_that_its_parent_held():
    """Fsspec starts its event loop under a lock, which a thread of the parent may hold, and nobody in the child."""

    class Asynchronous(Instance):
        def __init__(self):
            super().__init__()
            self.loop = fsspec.asyn.get_loop()

    pool = Pool(Asynchronous, shared=True)
    with pool.use():
        pass

    def work():
        with pool.use() as own:
            return own.loop is not None

    with fsspec.asyn.get_lock():
        assert _exit_code_of_a_child(work) == 0


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

    class Asynchronous:
        def __init__(self):
            self.loop = fsspec.asyn.get_loop()
            self.service_client = Service()
            self.dircache = types.SimpleNamespace()

    pool = Pool(Asynchronous, shared=True)
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
