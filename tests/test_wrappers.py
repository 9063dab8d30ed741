"""What each wrapper changes, and that it changes nothing else."""

from __future__ import annotations

import doctest
import errno
import inspect
import threading

import pytest

import holdall.wrappers
from holdall import FileStore, StoreURL
from holdall.backend import Backend, Capability, Debris, Limits, StagedFile
from holdall.backends.local import LocalBackend
from holdall.backends.memory import MemoryBackend
from holdall.errors import (
    AccessDenied,
    FileNotFound,
    InvalidRequest,
    InvalidStoreURL,
    NotSupported,
    StorageError,
)
from holdall.wrappers import Fault, Faulty, Intercepting, Latency, Prefixed, ReadOnly, Wrapper

WRAPPERS = {
    "Wrapper": Wrapper,
    "Intercepting": Intercepting,
    "ReadOnly": ReadOnly,
    "Prefixed": lambda inner: Prefixed(inner, "tenant"),
    "Latency": lambda inner: Latency(inner, 0, sleep=lambda _: None),
    "Faulty": Faulty,
}
UUID = "0" * 32


def put(store, filename="a.txt", data=b"some bytes"):
    return store.create(filename, data, purpose="user_data")


def names(backend):
    with FileStore(backend) as store:
        return [file.filename for file in store]


class Call(tuple):
    """A call's name and arguments, in the place of whatever it returns; a stream is closed."""

    __slots__ = ()

    def close(self):
        pass


class Recorder(Backend):
    """Answers every call with its name and arguments, so that a call that is not passed on shows."""

    capabilities = Capability.SIGNED_URLS | Capability.PORTABLE_LAYOUT | Capability.EXCLUSIVE_REMOVE
    limits = Limits(max_file_bytes=77, settle_seconds=1.5)

    def __init__(self):
        self.asked = []

    from_url = None

    def _asked(self, *call):
        self.asked.append(Call(call))
        return self.asked[-1]

    def stage(self, file_id):
        return self._asked("stage", file_id)

    def read_meta(self, file_id):
        return self._asked("read_meta", file_id)

    def open_data(self, file_id, start=0, stop=None):
        return self._asked("open_data", file_id, start, stop)

    def list_ids(self, after=None, before=None):
        return iter([self._asked("list_ids", after, before)])

    def remove(self, file_id):
        self._asked("remove", file_id)

    def read_metas(self, file_ids):
        return iter([self._asked("read_metas", tuple(file_ids))])

    def listing_version(self):
        return self._asked("listing_version")

    def debris(self):
        return iter([self._asked("debris")])

    def discard_debris(self, debris):
        self._asked("discard_debris", debris)

    def signed_url(self, file_id, expires_in):
        return self._asked("signed_url", file_id, expires_in)

    def local_path(self, file_id):
        return self._asked("local_path", file_id)

    def close(self):
        self._asked("close")


CALLS = {
    "stage": ("file-1",),
    "read_meta": ("file-1",),
    "open_data": ("file-1", 3, 9),
    "list_ids": ("a", "b"),
    "remove": ("file-1",),
    "read_metas": (("file-1", "file-2"),),
    "listing_version": (),
    "debris": (),
    "discard_debris": (Debris("x", "unfinished write", "file-1", 1, 2.0),),
    "signed_url": ("file-1", 60),
    "local_path": ("file-1",),
    "close": (),
}


def test_every_method_of_a_backend_is_tried_below():
    """A method added to the interface must be passed on too."""
    methods = {name for name, _ in inspect.getmembers(Backend, inspect.isfunction) if not name.startswith("_")}

    assert set(CALLS) == methods


@pytest.mark.parametrize("verb", CALLS)
def test_a_wrapper_passes_every_call_on_as_it_is(verb):
    """Same method, same arguments, same answer."""
    inner = Recorder()

    answer = getattr(Wrapper(inner), verb)(*CALLS[verb])
    answer = list(answer) if hasattr(answer, "__next__") else answer

    assert inner.asked == [(verb, *CALLS[verb])]
    assert answer in (None, inner.asked[0], inner.asked)


@pytest.mark.parametrize("verb", CALLS)
def test_intercepting_sends_every_call_through_around_once_and_passes_it_on(verb):
    """No call slips past, none is made twice, and around knows which it is and which entry it is about."""
    inner, seen = Recorder(), []

    class Seeing(Intercepting):
        def around(self, verb, file_id, call):
            seen.append((verb, file_id))
            return call()

    getattr(Seeing(inner), verb)(*CALLS[verb])

    about = None if verb in {"list_ids", "listing_version", "read_metas", "debris", "close"} else "file-1"
    assert seen == [(verb, about)]
    assert inner.asked == [(verb, *CALLS[verb])]


def test_intercepting_sees_staged_files_and_streams():
    """Writing, publishing, discarding and reading go through around too."""
    seen = []

    class Seeing(Intercepting):
        def around(self, verb, file_id, call):
            seen.append(verb)
            return call()

    backend = Seeing(MemoryBackend())
    with backend.stage("file-1") as staged:
        staged.write(b"some bytes")
        staged.publish(b"{}")
    with backend.open_data("file-1", 5) as stream:
        assert (stream.read(2), stream.read(), stream.tell()) == (b"by", b"tes", 5)
        assert stream.seek(0) == 0
        assert stream.readinto(bytearray(3)) == 3

    assert seen == ["stage", "write", "publish", "discard", "open_data", "read", "read", "read"]


@pytest.mark.parametrize("name", WRAPPERS)
def test_capabilities_and_limits_are_those_of_the_wrapped(name):
    """Nothing is promised that the wrapped does not, and only what no longer holds is left out."""
    dropped = {"ReadOnly": Capability.EXCLUSIVE_REMOVE, "Prefixed": Capability.PORTABLE_LAYOUT}
    inner = Recorder()

    inner.quick = True

    wrapper = WRAPPERS[name](inner)

    assert wrapper.quick is (name != "Latency")
    assert wrapper.capabilities == inner.capabilities & ~dropped.get(name, Capability(0))
    assert wrapper.limits == inner.limits
    assert wrapper.inner is inner


@pytest.mark.parametrize("name", WRAPPERS)
def test_what_the_wrapped_cannot_do_the_wrapper_refuses_and_what_it_can_works(name, tmp_path):
    """Signed URLs are NotSupported over a directory; the path of a file is the one it has there."""
    inner = LocalBackend(tmp_path, fsync=False)
    writable = Prefixed(inner, "tenant") if name == "Prefixed" else inner
    with FileStore(WRAPPERS[name](inner)) as store:
        file = put(FileStore(writable), data=b"here")

        with pytest.raises(NotSupported):
            store.backend.signed_url(file.id, 60)
        with open(store.backend.local_path(file.id), "rb") as opened:
            assert opened.read() == b"here"


@pytest.mark.parametrize("kind", [Wrapper, Intercepting, ReadOnly, Prefixed, Latency, Faulty])
def test_a_wrapper_has_no_url(kind):
    """A class that is registered for a scheme by mistake says what is wrong."""
    with pytest.raises(InvalidStoreURL, match=kind.__name__):
        kind.from_url(StoreURL.parse("memory://x"), kind.Options())


def test_the_example_in_the_documentation_is_true():
    """What `help(holdall.wrappers)` shows is what happens."""
    assert doctest.testmod(holdall.wrappers).failed == 0


def test_read_only_refuses_to_create_before_anything_is_read():
    """AccessDenied with EROFS, as on a read-only file system; the source is not touched."""
    inner = MemoryBackend()

    class Untouched:
        def read(self, size):
            raise AssertionError("the source was read")

    with pytest.raises(AccessDenied, match="read-only") as caught:
        put(FileStore(ReadOnly(inner)), data=Untouched())

    assert (caught.value.errno, caught.value.operation) == (errno.EROFS, "create")
    assert list(inner.list_ids()) == []


def test_read_only_refuses_to_delete_and_to_sweep_but_shows_what_a_sweep_would_take(tmp_path):
    """Entries and leftovers stay; a dry run tells of them."""
    inner = LocalBackend(tmp_path, fsync=False)
    file = put(FileStore(inner))
    (tmp_path / f"file-{UUID}").mkdir()
    store = FileStore(ReadOnly(inner))

    with pytest.raises(AccessDenied, match=file.id):
        store.delete(file.id)
    with pytest.raises(FileNotFound):
        store.delete(f"file-{UUID}")
    with pytest.raises(AccessDenied, match="sweep"):
        store.sweep(older_than=0)

    assert [d.file_id for d in store.sweep(older_than=0, dry_run=True).leftovers] == [f"file-{UUID}"]
    assert store.get_content(file.id) == b"some bytes"


def test_latency_waits_once_for_each_call_before_it_is_made():
    """The calls of a create and of a read can be counted, and none of them really waits."""
    waits = []
    store = FileStore(Latency(MemoryBackend(), 0.25, sleep=waits.append))

    file = put(store)
    assert waits == [0.25] * 3  # stage, write, publish
    waits.clear()
    assert store.get_content(file.id) == b"some bytes"
    assert waits == [0.25] * 3  # metadata, open, read


def test_a_call_can_be_held_under_way_by_an_event():
    """While one create is on its way, another call through the same store sees nothing of it and does not wait."""
    held, go_on = threading.Event(), threading.Event()
    uploading = threading.local()

    def hold(_):
        if getattr(uploading, "here", False):
            held.set()
            assert go_on.wait(30)

    store = FileStore(Latency(MemoryBackend(), 1, sleep=hold))

    def upload():
        uploading.here = True
        put(store)

    thread = threading.Thread(target=upload)
    thread.start()
    assert held.wait(30)
    assert list(store) == []
    go_on.set()
    thread.join(30)
    assert [f.filename for f in store] == ["a.txt"]


def test_without_a_script_nothing_fails_and_calls_are_counted():
    """How often each verb was called can be asked, so a test can guard the cost of something."""
    backend = Faulty(MemoryBackend())

    put(FileStore(backend))

    assert dict(backend.calls) == {"stage": 1, "write": 1, "publish": 1}
    assert backend.fired == []


@pytest.mark.parametrize("verb", ["stage", "write", "publish"])
def test_a_fault_of_a_write_is_raised_and_stores_nothing(verb):
    """The second time, and only then; the store turns it into its own error and is usable afterwards."""
    fault = Fault(verb, OSError(errno.EIO, "broken disk"), nth=2)
    inner = MemoryBackend()
    backend = Faulty(inner, [fault])
    store = FileStore(backend)
    first = put(store, "first")

    with pytest.raises(StorageError, match="broken disk") as caught:
        put(store, "second")
    third = put(store, "third")

    assert caught.value.__cause__ is fault.error
    assert backend.fired == [fault]
    assert list(inner.list_ids()) == [first.id, third.id]


@pytest.mark.parametrize("verb", ["read_meta", "open_data", "read"])
def test_a_fault_of_reading_is_raised_for_as_many_calls_as_it_says(verb):
    """Two in a row from the second on; before and after, reading works."""
    backend = Faulty(MemoryBackend(), [Fault(verb, ConnectionResetError("cut"), nth=2, times=2)])
    store = FileStore(backend)
    file = put(store)

    outcomes = []
    for _ in range(4):
        try:
            outcomes.append(store.get_content(file.id))
        except StorageError as error:
            outcomes.append(type(error.__cause__))

    assert outcomes == [b"some bytes", ConnectionResetError, ConnectionResetError, b"some bytes"]


def test_a_fault_for_ever_is_taken_back_by_emptying_the_script():
    """An outage lasts until the test ends it; listing and removing fail as well as the rest."""
    backend = Faulty(MemoryBackend())
    store = FileStore(backend)
    file = put(store)
    backend.faults = [Fault(verb, TimeoutError("down"), times=None) for verb in ("list_ids", "remove")]

    for _ in range(3):
        with pytest.raises(StorageError, match="down"):
            store.list()
        with pytest.raises(StorageError, match="down"):
            store.delete(file.id)
    backend.faults.clear()
    store.delete(file.id)

    assert list(store) == []


def test_a_fault_after_the_call_loses_the_answer_not_the_work():
    """As when the connection breaks while the answer is on its way: reported as failed, and done."""
    inner = MemoryBackend()
    store = FileStore(Faulty(inner, [Fault("publish", ConnectionResetError("cut"), when="after")]))

    with pytest.raises(StorageError, match="cut"):
        put(store)

    assert names(inner) == ["a.txt"]


def test_a_failing_discard_does_not_hide_the_first_error(caplog):
    """The source's own exception reaches the caller; that cleaning up failed is logged."""
    store = FileStore(Faulty(MemoryBackend(), [Fault("discard", OSError(errno.EIO, "broken disk"))]))

    def dying():
        yield b"half"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        put(store, data=dying())
    assert "could not clean up" in caplog.text


@pytest.mark.parametrize(
    "wrong", [{"verb": "sage"}, {"nth": 0}, {"times": 0}, {"when": "during"}], ids=lambda wrong: next(iter(wrong))
)
def test_a_script_that_could_never_run_is_refused(wrong):
    """A misspelt verb must not make a test pass because nothing failed."""
    with pytest.raises(InvalidRequest):
        Fault(**{"verb": "stage", "error": OSError(), **wrong})


def test_wrappers_wrap_each_other():
    """A stack of all of them is a backend like any other, and closing it closes the innermost once."""
    inner = Recorder()
    stack = ReadOnly(Latency(Faulty(Prefixed(Wrapper(inner), "t")), 0))

    stack.close()

    assert inner.asked == [("close",)]
    assert isinstance(Faulty(MemoryBackend()).stage("file-1"), StagedFile)
