"""Quotas: what is over one is refused while it arrives, and the count is right whatever happens at once."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
from tests.fakes import Clock
from tests.server._serving import serving

import holdall
from holdall import FileStore, InvalidRequest
from holdall.backends.memory import MemoryBackend
from holdall.server import Keys, Quota, create_app
from holdall.server._quota import Ledger, Metered, QuotaExceeded, covering


def _store(quota, backend=None, clock=None):
    ledger = Ledger(clock) if clock else Ledger()
    return FileStore(Metered(backend or MemoryBackend(), ledger, quota))


def _put(store, size, name="a"):
    return store.create(name, b"x" * size, purpose="batch")


def test_over_http_a_full_tenant_is_told_so_and_others_are_not(tmp_path):
    """507 in the envelope, not to be repeated; nothing is left of what was refused; deleting makes room."""
    keys = Keys("alice:a,bob:b")
    with serving(create_app(str(tmp_path), keys=keys, quota=Quota(max_bytes=1_000_000))) as running:
        sdk = {key: openai.OpenAI(base_url=f"{running.url}/v1", api_key=key) for key in "ab"}
        kept = sdk["a"].files.create(file=("a", b"x" * 600_000), purpose="batch")
        with pytest.raises(openai.InternalServerError) as refused:
            sdk["a"].files.create(file=("b", b"x" * 600_000), purpose="batch")
        assert (refused.value.status_code, refused.value.code) == (507, "quota_exceeded")
        assert refused.value.response.headers["x-should-retry"] == "false"
        assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"

        assert [f.id for f in sdk["a"].files.list()] == [kept.id]
        assert list((tmp_path / "alice" / ".staging").iterdir()) == []
        sdk["b"].files.create(file=("b", b"x" * 600_000), purpose="batch")
        sdk["a"].files.delete(kept.id)
        sdk["a"].files.create(file=("b", b"x" * 600_000), purpose="batch")


def test_each_tenant_may_have_a_quota_of_its_own(tmp_path):
    """A function says it of each; None is no bound."""
    quotas = {"alice": Quota(max_files=1), "bob": None}
    with serving(create_app(str(tmp_path), keys=Keys("alice:a,bob:b"), quota=quotas.__getitem__)) as running:

        def put(key):
            form = {"files": {"file": ("a", b"x")}, "data": {"purpose": "batch"}}
            return httpx.post(f"{running.url}/v1/files", headers={"Authorization": f"Bearer {key}"}, **form).status_code

        assert [put(key) for key in "aabb"] == [200, 507, 200, 200]


def test_bytes_and_files_are_both_bounded():
    """To the last byte and the last file, and no further."""
    store = _store(Quota(max_bytes=10, max_files=3))
    _put(store, 10)
    _put(store, 0)
    with pytest.raises(QuotaExceeded):
        _put(store, 1)
    _put(store, 0)
    with pytest.raises(QuotaExceeded):
        _put(store, 0)

    assert [file.bytes for file in store] == [10, 0, 0]


def test_a_file_on_its_way_counts_as_one():
    """The last file that there is room for may be begun once."""
    store = _store(Quota(max_files=1))
    with store.begin("a", purpose="batch") as first:
        with pytest.raises(QuotaExceeded):
            store.begin("b", purpose="batch")
        first.finish()


def test_what_was_there_before_counts():
    """The files of an earlier process are counted when the first new one comes."""
    backend = MemoryBackend()
    _put(FileStore(backend), 8)
    store = _store(Quota(max_bytes=10), backend)

    with pytest.raises(QuotaExceeded):
        _put(store, 3)
    _put(store, 2)


def test_what_comes_during_the_first_count_waits_for_it():
    """Before anything is known of what is stored, nobody is let in as if it were nothing."""
    backend = _Slow()
    _put(FileStore(backend), 8)
    store = _store(Quota(max_bytes=10), backend)
    backend.slow = True
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(_put, store, 1)
        assert backend.stopped.wait(60)
        second = pool.submit(_put, store, 5)
        try:
            with pytest.raises(TimeoutError):
                second.result(0.2)
        finally:
            backend.go_on.set()
        first.result(60)
        with pytest.raises(QuotaExceeded):
            second.result(60)


def test_uploads_at_once_share_what_is_left():
    """Of twenty uploads with room for five, five are stored, and the room of those that were refused is given back."""
    store = _store(Quota(max_bytes=500, max_files=19))
    together = threading.Barrier(20)

    def upload(_):
        with store.begin("a", purpose="batch") as upload:
            together.wait(60)
            try:
                for _ in range(10):
                    upload.write(b"x" * 10)
                return upload.finish().bytes
            except QuotaExceeded:
                return 0

    def begin_and_count(n):
        try:
            return upload(n)
        except QuotaExceeded:  # the twentieth file, before its first byte
            together.wait(60)
            return 0

    with ThreadPoolExecutor(20) as pool:
        stored = sum(pool.map(begin_and_count, range(20)))

    assert stored == sum(file.bytes for file in store) == 500
    with pytest.raises(QuotaExceeded):
        _put(store, 1)


def test_of_two_that_do_not_both_fit_one_does():
    """Each has half of the quota when it asks for more: the first is refused, and what it had is the second's at once.
    The first cannot go on, as if nothing had been.
    """
    store = _store(Quota(max_bytes=100))
    with store.begin("a", purpose="batch") as first, store.begin("b", purpose="batch") as second:
        first.write(b"x" * 50)
        second.write(b"x" * 50)
        with pytest.raises(QuotaExceeded):
            first.write(b"x" * 10)
        second.write(b"x" * 50)
        second.finish()
        with pytest.raises(InvalidRequest, match="begin another"):
            first.write(b"x")
        with pytest.raises(InvalidRequest, match="begin another"):
            first.finish()

    assert [file.bytes for file in store] == [100]


def _files_and_uploads(quota, backend=None, clock=None):
    """A meter, its store of files and that of parts."""
    ledger = Ledger(clock) if clock else Ledger()
    meter = Metered(backend or MemoryBackend(), ledger, quota, uploads=MemoryBackend())
    return meter, FileStore(meter), FileStore(meter.uploads)


def _room(files):
    """How many bytes can be written."""
    taken = 0
    with files.begin("other", purpose="batch") as probe, contextlib.suppress(QuotaExceeded):
        while True:
            probe.write(b"x")
            taken += 1
    return taken


def test_a_file_counts_as_soon_as_its_parts_do_not():
    """Made of parts, it takes their place one by one: there is no moment when others are let in beyond the quota, and
    none when what is left is refused. A file that is taken back leaves the parts.
    """
    meter, files, uploads = _files_and_uploads(Quota(max_bytes=10))
    parts = [_put(uploads, size) for size in (4, 2)]

    for taken_back in (True, False):
        with files.begin("a", purpose="batch") as made, covering(meter, made.file_id, [part.id for part in parts]):
            made.write(b"x" * 6)
            assert _room(files) == 4
            file = made.finish()
            assert _room(files) == 4
            for part in [] if taken_back else parts:
                uploads.delete(part.id)
                assert _room(files) == 4
            if taken_back:
                files.delete(file.id)
                assert _room(files) == 4
        assert _room(files) == 4


def test_a_file_of_parts_is_made_though_others_have_filled_the_quota_since():
    """It takes no room that its parts did not have."""
    clock, backend = Clock(), MemoryBackend()
    meter, files, uploads = _files_and_uploads(Quota(max_bytes=10), backend, clock)
    part = _put(uploads, 4)
    with files.begin("a", purpose="batch") as made, covering(meter, made.file_id, [part.id]):
        _put(FileStore(backend), 10)
        clock.now += 100
        with pytest.raises(QuotaExceeded):
            _put(files, 1)
        made.write(b"x" * 4)
        made.finish()


def test_parts_that_stay_count_beside_their_file():
    """Once it is made, and they could not be removed: both are stored."""
    meter, files, uploads = _files_and_uploads(Quota(max_bytes=10))
    part = _put(uploads, 4)
    with files.begin("a", purpose="batch") as made, covering(meter, made.file_id, [part.id]):
        made.write(b"x" * 4)
        made.finish()
        assert _room(files) == 6
    assert _room(files) == 2


def test_of_two_that_are_made_of_the_same_parts_the_second_takes_no_room():
    """The first takes the place of the parts, and the second is about to be given up."""
    meter, files, uploads = _files_and_uploads(Quota(max_bytes=10))
    part = _put(uploads, 4)
    with files.begin("a", purpose="batch") as first, covering(meter, first.file_id, [part.id]):
        first.write(b"x" * 4)
        with files.begin("a", purpose="batch") as second, covering(meter, second.file_id, [part.id]):
            second.write(b"x" * 4)
            first.finish()
            uploads.delete(part.id)
            assert _room(files) == 6
        assert _room(files) == 6


def test_room_made_by_others_is_seen():
    """Refused, it counts anew, though not at every refusal; and what others stored is seen in time."""
    clock, backend = Clock(), MemoryBackend()
    store, other = _store(Quota(max_bytes=10), backend, clock), FileStore(backend)
    file = _put(store, 10)
    other.delete(file.id)
    clock.now += 5
    theirs = _put(store, 4), _put(other, 6)
    clock.now += 61
    with pytest.raises(QuotaExceeded):
        _put(store, 1)
    for file in theirs:
        store.delete(file.id)
    _put(store, 10)


@pytest.mark.parametrize("quota", [Quota(max_bytes=10), Quota(max_files=1)])
def test_what_another_process_stored_and_this_one_deletes_makes_no_room_beyond_the_quota(quota):
    """It was not counted here, so there is nothing to take off."""
    clock, backend = Clock(), MemoryBackend()
    store, other = _store(quota, backend, clock), FileStore(backend)
    store.delete(_put(store, 1).id)
    store.delete(_put(other, 10).id)
    _put(store, 10)
    with pytest.raises(QuotaExceeded):
        _put(store, 1)


def test_a_corrupt_file_can_be_deleted_and_the_count_is_right_after():
    """Its size is unknown: the others are counted anew."""
    backend = MemoryBackend()
    staged = backend.stage("file-broken")
    staged.write(b"x" * 9)
    staged.publish(b"{}")
    store = _store(Quota(max_bytes=10, max_files=1), backend)
    with pytest.raises(QuotaExceeded):
        _put(store, 1)
    store.delete("file-broken")
    _put(store, 10)
    with pytest.raises(holdall.FileNotFound):
        store.delete("file-broken")


def test_counting_takes_a_hundredth_of_the_time():
    """A store for which it takes three seconds is counted anew after five minutes, and not after one."""
    clock = Clock()

    class Large(MemoryBackend):
        counted = 0

        def list_ids(self, after=None, before=None):
            self.counted += 1
            clock.now += 3
            return super().list_ids(after, before)

    backend = Large()
    store = _store(Quota(max_bytes=10), backend, clock)
    counts = []
    for passed in (0, 100, 190, 20):
        clock.now += passed
        _put(store, 1)
        counts.append(backend.counted)
    assert counts == [1, 1, 1, 2]


def test_a_count_that_failed_is_made_again():
    """Nothing is let in before one has succeeded, and it counts what is there then."""
    backend = _Slow()
    store = _store(Quota(max_bytes=10), backend)
    _put(FileStore(backend), 8)
    real, backend.list_ids = backend.list_ids, lambda *_: 1 / 0
    with pytest.raises(holdall.StorageError, match="ZeroDivisionError"):
        _put(store, 1)
    backend.list_ids = real
    with pytest.raises(QuotaExceeded):
        _put(store, 3)
    _put(store, 2)


def test_a_file_that_became_corrupt_gives_back_its_room():
    """What it had is not known any more when it is deleted: the others are counted anew."""
    clock, backend = Clock(), MemoryBackend()
    store = _store(Quota(max_bytes=10), backend, clock)
    file = _put(store, 9)
    backend.remove(file.id)
    backend.stage(file.id).publish(b"{}")
    store.delete(file.id)
    _put(store, 10)


class _Slow(MemoryBackend):
    """Listing stops after the first entry, or after the last one, until it is let go on."""

    def __init__(self, *, at_end=False):
        super().__init__()
        self.stopped, self.go_on = threading.Event(), threading.Event()
        self.slow, self.at_end = False, at_end

    def read_metas(self, file_ids):
        for found in super().read_metas(file_ids):
            yield found
            if self.slow and not self.at_end:
                self._stop()
        if self.slow:
            self._stop()

    def _stop(self):
        self.stopped.set()
        assert self.go_on.wait(60)


@pytest.mark.parametrize("at_end", [False, True])
def test_what_comes_and_goes_while_files_are_counted_is_counted_once(at_end):
    """A file stored, one deleted and one on its way, behind the counter's back and before its eyes."""
    clock, backend = Clock(), _Slow(at_end=at_end)
    store = _store(Quota(max_bytes=100), backend, clock)
    first, second = _put(store, 1), _put(store, 2)
    with ThreadPoolExecutor(1) as pool, store.begin("u", purpose="batch") as open_upload:
        clock.now += 100
        backend.slow = True
        counting = pool.submit(_put, store, 4)
        assert backend.stopped.wait(60)
        backend.slow = False
        open_upload.write(b"x" * 8)
        store.delete(first.id)
        _put(store, 16)
        open_upload.finish()
        backend.go_on.set()
        counting.result(60)

    assert sorted(f.bytes for f in store) == [2, 4, 8, 16]
    assert second.bytes == 2
    _put(store, 70)
    with pytest.raises(QuotaExceeded):
        _put(store, 1)
