"""The SHA-256 beside the writing: the same digest as without help, and memory that is given back in time."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import threading

import pytest

from holdall import StorageError, _hashing
from holdall._hashing import Sha256

LARGE = 256 * 1024


@pytest.fixture(params=[0, 1, 3], ids="{} helpers".format)
def helpers(request, monkeypatch):
    """As on a machine with so many processors more."""
    monkeypatch.setattr(os, "cpu_count", lambda: request.param + 1)
    found = _hashing._Helpers()
    monkeypatch.setattr(_hashing, "_helpers", found)
    yield found
    found.pool.shutdown()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_the_digest_is_that_of_all_chunks_in_order(helpers, kind):
    """Whatever their sizes and types, and whether somebody helps or not; each is written once, in order."""
    sizes = [LARGE, 1, LARGE, LARGE, 0, 40_000, 3 * LARGE, 7] * 5
    data = [os.urandom(size) for size in sizes]
    written = []
    digest = Sha256()

    for chunk in data:
        digest.update(kind(chunk), lambda c: written.append(bytes(c)))

    assert written == data
    assert digest.hexdigest() == hashlib.sha256(b"".join(data)).hexdigest()


def test_memory_that_can_change_is_free_when_update_returns(helpers):
    """A buffer is filled anew for every chunk, as a reader with `readinto` does."""
    buffer, expected, digest = bytearray(LARGE), hashlib.sha256(), Sha256()
    for n in range(20):
        buffer[:] = bytes([n]) * LARGE
        expected.update(buffer)
        with memoryview(buffer) as view:
            digest.update(view, lambda _: None)
        buffer.append(0)  # BufferError if anybody still looks at it
        buffer.pop()

    assert digest.hexdigest() == expected.hexdigest()


def test_a_view_of_bytes_may_be_released_when_update_returns(helpers):
    """The digest holds the bytes by itself."""
    data, digest = os.urandom(20 * LARGE), Sha256()
    for start in range(0, len(data), LARGE):
        with memoryview(data)[start : start + LARGE] as view:
            digest.update(view, lambda _: None)

    assert digest.hexdigest() == hashlib.sha256(data).hexdigest()


def test_hashing_goes_on_while_the_chunk_is_written(monkeypatch):
    """The write of a chunk returns only once it has been hashed, which takes a second thread."""
    monkeypatch.setattr(_hashing, "_helpers", _hashing._Helpers.__new__(_hashing._Helpers))
    _hashing._helpers.idle = threading.Semaphore(1)
    _hashing._helpers.pool = _hashing.ThreadPoolExecutor(1)
    digest, hashed = Sha256(), threading.Event()

    class Noting:
        def update(self, chunk):
            hashed.set()

    digest._digest = Noting()
    digest.update(b"x" * LARGE, lambda _: hashed.wait())

    digest._wait_for(0)
    _hashing._helpers.pool.shutdown()
    assert hashed.is_set()


def test_hashing_is_at_most_a_few_chunks_behind(monkeypatch):
    """What is not hashed yet is memory: the writer waits for a helper that is far behind."""
    helpers = _hashing._Helpers.__new__(_hashing._Helpers)
    helpers.idle, helpers.pool = threading.Semaphore(1), _hashing.ThreadPoolExecutor(1)
    monkeypatch.setattr(_hashing, "_helpers", helpers)
    digest, go_on, full = Sha256(), threading.Event(), threading.Event()
    written = []

    class Held:
        def update(self, chunk):
            go_on.wait()

    def write(chunk):
        written.append(len(chunk))
        if len(written) == _hashing._MOST_WAITING + 1:
            full.set()

    def work():
        for _ in range(30):
            digest.update(b"x" * LARGE, write)

    digest._digest = Held()
    writer = threading.Thread(target=work)
    writer.start()
    full.wait()
    before = len(written)
    go_on.set()
    writer.join()
    digest._wait_for(0)
    helpers.pool.shutdown()

    assert before == _hashing._MOST_WAITING + 1
    assert len(written) == 30


def test_a_failing_write_leaves_a_digest_that_can_be_dropped(helpers):
    """Its error comes through, no helper stays taken, and no chunk stays in memory."""
    digest = Sha256()

    def fail(chunk):
        raise OSError("full")

    for _ in range(5):
        with pytest.raises(OSError, match="full"):
            digest.update(b"x" * LARGE, fail)
    digest.hexdigest()
    helpers.pool.shutdown()

    assert helpers.idle._value == os.cpu_count() - 1
    assert not digest._waiting


def test_a_helper_that_could_not_be_started_does_not_hash_twice(monkeypatch):
    """The writer hashes in its place; another thread of the pool that becomes free meanwhile leaves the chunk alone."""
    helpers = _hashing._Helpers.__new__(_hashing._Helpers)
    helpers.idle, helpers.pool = threading.Semaphore(2), _hashing.ThreadPoolExecutor(2)
    monkeypatch.setattr(_hashing, "_helpers", helpers)
    other, digest = Sha256(), Sha256()
    begun, go_on, idle, hashed = threading.Event(), threading.Event(), threading.Event(), []

    class Held:
        def update(self, chunk):
            begun.set()
            go_on.wait()

    class Noting:
        def update(self, chunk):
            hashed.append(bytes(chunk))
            if len(hashed) == 1:
                # The pool's only thread does everything that it was given before.
                go_on.set()
                with contextlib.suppress(RuntimeError):
                    helpers.pool.submit(idle.set)
                idle.wait()

    other._digest, digest._digest = Held(), Noting()
    other.update(b"o" * LARGE, lambda _: None)
    begun.wait()
    with monkeypatch.context() as patch:
        patch.setattr(helpers.pool, "_adjust_thread_count", _no_thread)
        digest.update(b"1" * LARGE, lambda _: None)
    digest.update(b"2" * LARGE, lambda _: None)
    digest._wait_for(0)
    helpers.pool.shutdown()

    assert hashed == [b"1" * LARGE, b"2" * LARGE]
    assert helpers.idle._value == 2


def test_a_chunk_that_comes_when_the_helper_has_nothing_left_is_hashed_too(monkeypatch):
    """The helper that finds nothing waiting is gone for the next chunk, not only soon after it."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    helpers = _hashing._Helpers()
    monkeypatch.setattr(_hashing, "_helpers", helpers)
    found_nothing, handed_over = threading.Event(), threading.Event()

    class Watched(_hashing.deque):
        def __bool__(self):
            found = len(self)
            if not found:
                found_nothing.set()
                # The next chunk has to wait until the helper has said that it is gone.
                handed_over.wait(0.2)
            return bool(found)

    monkeypatch.setattr(_hashing, "deque", Watched)
    digest = Sha256()
    digest.update(b"1" * LARGE, lambda _: None)
    found_nothing.wait()
    digest.update(b"2" * LARGE, lambda _: None)
    handed_over.set()
    helpers.pool.shutdown()

    assert not len(digest._waiting)
    assert digest.hexdigest() == hashlib.sha256(b"1" * LARGE + b"2" * LARGE).hexdigest()


def _no_thread():
    raise RuntimeError("can't start new thread")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_hashes_too():
    """Its parent's helpers are not there."""
    Sha256().update(b"x" * LARGE, lambda _: None)
    child = os.fork()
    if child == 0:
        try:
            digest = Sha256()
            for _ in range(20):
                digest.update(b"y" * LARGE, lambda _: None)
            right = digest.hexdigest() == hashlib.sha256(b"y" * LARGE * 20).hexdigest()
            os._exit(0 if right else 1)
        finally:
            os._exit(2)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_its_parents_helper(monkeypatch):
    """What is not hashed yet at the fork never will be there: an error at once. The parent is not affected."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    helpers = _hashing._Helpers()
    monkeypatch.setattr(_hashing, "_helpers", helpers)
    digest, go_on = Sha256(), threading.Event()

    class Held:
        def update(self, chunk):
            go_on.wait()

        def hexdigest(self):
            return "hashed"

    digest._digest = Held()
    digest.update(b"x" * LARGE, lambda _: None)
    for use in (digest.hexdigest, lambda: digest.update(b"x" * LARGE, lambda _: None)):
        child = os.fork()
        if child == 0:
            try:
                signal.alarm(10)
                use()
            except StorageError:
                os._exit(0)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go_on.set()
    assert digest.hexdigest() == "hashed"
    helpers.pool.shutdown()
