"""Listing: pages cover every file once, in the order that was said, at a cost that does not grow with the store."""

from __future__ import annotations

import itertools
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import fakes, strategies

from holdall import Capability, FileObject, FileStore, InvalidRequest, ids
from holdall.model import encode_meta

NOW = strategies.NOW_MS / 1000
PURPOSES = ["batch", "fine-tune", "mine"]

ordered = pytest.mark.parametrize("without", [Capability(0), Capability.ORDERED_LISTING], ids=["ordered", "unordered"])


def filled(files, without=Capability(0)):  # noqa: B008 - immutable
    """A store with these files, whatever their ids."""
    backend = fakes.Recording(without=without)
    for file in files:
        backend.put(file.id, encode_meta(file))
    return FileStore(backend, clock=fakes.Clock(NOW))


def make(file_id, purpose="batch", created_at=None, **fields):
    ms = ids.minted_at_ms(file_id, strategies.NOW_MS)
    created_at = ms // 1000 if created_at is None else created_at
    return FileObject(id=file_id, filename="a", purpose=purpose, bytes=0, created_at=created_at, **fields)


# Many at the same second, and far apart.
_ms = st.one_of(
    st.integers(strategies.NOW_MS - 2000, strategies.NOW_MS),
    st.integers(strategies.NOW_MS - 300 * 86_400_000, strategies.NOW_MS + 60_000),
)
minted = st.builds(make, strategies.minted_ids(ms=_ms), st.sampled_from(PURPOSES))
# Outside of the times that holdall can have minted in: so two looks tell that they are there.
_first, _last = ids.plausible_range(strategies.NOW_MS)
foreign = st.builds(
    make,
    strategies.foreign_ids.filter(lambda i: not _first <= i <= _last),
    st.sampled_from(PURPOSES),
    # Before, among and after those of holdall's own.
    created_at=st.integers(int(NOW) - 5, int(NOW))
    | st.sampled_from([0, int(NOW) - 200 * 86_400, int(NOW) + 3600, 1 << 40]),
)
stores = st.lists(st.one_of(minted, foreign), max_size=12, unique_by=lambda f: f.id) | st.lists(
    minted, max_size=12, unique_by=lambda f: f.id
)


def pages(store, **options):
    """All pages, each asked for with the last id of the one before."""
    after = None
    while True:
        page = store.list(after=after, **options)
        yield page
        if not page.has_more:
            return
        after = page.last_id


@ordered
@given(
    files=stores,
    limit=st.none() | st.integers(1, 5),
    order=st.sampled_from(["asc", "desc"]),
    purpose=st.sampled_from([None, *PURPOSES]),
)
def test_pages_cover_every_file_once_in_order(without, files, limit, order, purpose):
    """Any mixture of ids, any page size, either direction, with or without a purpose: each file once, in its place."""
    store = filled(files, without)
    expected = sorted(files, key=lambda f: (f.created_at, f.id), reverse=order == "desc")
    expected = [f for f in expected if purpose in {None, str(f.purpose)}]
    got = list(pages(store, limit=limit, order=order, purpose=purpose))

    assert list(itertools.chain.from_iterable(got)) == expected
    for page in got:
        assert len(page) == limit or page is got[-1]
        assert (page.first_id, page.last_id) == ((page.data[0].id, page.data[-1].id) if page.data else (None, None))
        assert page.data or not expected
    if purpose is None and order == "asc":
        assert list(store) == expected


@ordered
@given(gone=minted, files=stores)
def test_a_cursor_outlives_its_file(without, gone, files):
    """The place of a minted id is known after its file was deleted, from both ends, in stores of any ids."""
    files = [f for f in files if f.id != gone.id]
    store = filled([*files, gone], without)
    store.backend.remove(gone.id)
    files.sort(key=lambda f: (f.created_at, f.id))
    place = gone.created_at, gone.id

    assert list(store.list(after=gone.id)) == [f for f in files if (f.created_at, f.id) > place]
    assert list(store.list(after=gone.id, order="desc")) == [f for f in files[::-1] if (f.created_at, f.id) < place]


@ordered
def test_a_foreign_cursor_needs_its_file(without):
    """The place of an id that was minted elsewhere is that of its file; without it there is none."""
    one, two = make("file-one", created_at=1), make("file-two", created_at=2)
    store = filled([one, two, make(ids.lower_bound(strategies.NOW_MS) + "70008000000000000001")], without)

    assert [f.id for f in store.list(after="file-one", limit=1)] == ["file-two"]
    with pytest.raises(InvalidRequest, match="cannot list after file-three: there is no such file"):
        store.list(after="file-three")
    store.backend.remove("file-one")
    with pytest.raises(InvalidRequest, match="cannot list after file-one: there is no such file"):
        store.list(after="file-one")


@ordered
def test_paging_goes_on_behind_a_foreign_id_that_looks_like_ours(without):
    """An id from elsewhere that happens to lie among ours is a cursor like any other; a wrong one is refused cheaply."""
    stray = make(ids.lower_bound(strategies.NOW_MS - 5000) + "zz", created_at=int(NOW) - 5)
    mine = [make(ids.lower_bound(strategies.NOW_MS - 60_000 * n) + "70008000000000000001") for n in range(1, 9)]
    store = filled([stray, *mine], without)
    newest = store.list(limit=1, order="desc")

    assert newest.data == [stray]
    assert list(store.list(after=newest.last_id, order="desc")) == mine
    store = filled(mine, without)
    with pytest.raises(InvalidRequest):
        store.list(after="file-nonsense")
    assert store.backend.calls["read_meta"] == 0


@ordered
def test_a_page_is_not_empty_while_more_match(without):
    """Expired and corrupt files, and other purposes, are passed over until the page is full."""
    files = []
    for n in range(200):
        file_id = ids.lower_bound(strategies.NOW_MS - 100_000 + n) + "70008000000000000001"
        files.append(make(file_id, "mine" if n in {5, 199} else "batch", expires_at=int(NOW) if n % 3 == 0 else None))
    store = filled(files, without)
    page = store.list(purpose="mine", limit=1)

    assert ([f.id for f in page], page.has_more) == ([files[5].id], True)
    page = store.list(purpose="mine", limit=1, after=page.last_id)
    assert ([f.id for f in page], page.has_more) == ([files[199].id], False)
    assert len(store.list()) == sum(1 for n in range(200) if n % 3)


@ordered
def test_a_corrupt_entry_is_left_out_and_logged_once(without, caplog):
    """It blocks no listing; the log names it at the first listing only."""
    good = make(ids.lower_bound(strategies.NOW_MS) + "70008000000000000001")
    store = filled([good], without)
    bad = ids.lower_bound(strategies.NOW_MS - 1) + "70008000000000000001"
    store.backend.put(bad, b"{")

    with caplog.at_level(logging.WARNING, "holdall"):
        for _ in range(3):
            assert list(store) == [good]
            assert list(store.list(limit=1, order="desc")) == [good]

    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.WARNING
    assert bad in caplog.messages[0]


@ordered
def test_iterating_is_lazy_and_sees_what_comes(without):
    """A file that is deleted long before the walk reaches it is left out, not an error; the walk ends."""
    files = [make(ids.lower_bound(strategies.NOW_MS - 2000 + n) + "70008000000000000001") for n in range(1500)]
    store = filled(files, without)
    walk = iter(store)
    assert next(walk) == files[0]
    store.backend.remove(files[1400].id)

    assert [f.id for f in walk] == [f.id for f in files[1:] if f is not files[1400]]


def test_an_empty_store_has_an_empty_page():
    """No first, no last, nothing more."""
    page = filled([]).list(limit=20, order="desc")

    assert (page.data, page.has_more, page.first_id, page.last_id) == ([], False, None, None)


def _times(kind, count):
    """When `count` files were stored, in milliseconds, ascending."""
    day = 86_400_000
    return {
        "every second": [strategies.NOW_MS - 1000 * n for n in range(count)],
        "all just now": [strategies.NOW_MS - n // 100 for n in range(count)],
        "in an hour 200 days ago": [strategies.NOW_MS - 200 * day - 360 * n for n in range(count)],
        "two bursts with a gap": [strategies.NOW_MS - (n % 2) * 100 * day - day - n for n in range(count)],
    }[kind]


COUNT = 10_000


@pytest.fixture(
    scope="module", params=["every second", "all just now", "in an hour 200 days ago", "two bursts with a gap"]
)
def large(request):
    """10 000 files, their ids ascending."""
    found = sorted(
        f"file-{ms:012x}7000{0x8000_0000_0000_0000 + n:016x}" for n, ms in enumerate(_times(request.param, COUNT))
    )
    backend = fakes.Recording()
    meta = encode_meta(make(found[0])).decode()
    backend._space.ids = found
    backend._space.entries = {i: (meta.replace(found[0], i).encode(), b"") for i in found}
    return FileStore(backend, clock=fakes.Clock(NOW), remember=0), found


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("place", [None, 0.5])
def test_a_page_of_a_large_store_costs_a_page(large, order, place):
    """20 of 10 000 files, newest or oldest or from the middle: 21 metadata are read, and few ids looked at."""
    store, found = large
    calls = store.backend.calls
    after = None if place is None else found[int(COUNT * place)]
    calls.clear()
    page = store.list(limit=20, order=order, after=after)

    at = found.index(after) if after else (-1 if order == "asc" else COUNT)
    assert [f.id for f in page] == (found[at + 1 : at + 21] if order == "asc" else found[at - 20 : at][::-1])
    assert calls["read_meta"] == 21
    if order == "asc":
        assert calls["list_ids"] <= 3
        assert calls["ids"] <= 21
    else:
        # Each call looks at 1024 ids at the most, which is one request to an object store.
        assert calls["list_ids"] <= 30
        assert calls["ids"] <= 1024 * calls["list_ids"]


@pytest.mark.parametrize("limit", [999, 1000, 1001, 2500])
def test_a_large_page_reads_one_more_than_it_has(large, limit):
    """However many are read at a time: whether more follow takes one more to know, not as many again."""
    store, found = large
    store.backend.calls.clear()
    page = store.list(limit=limit)

    assert [f.id for f in page] == found[:limit]
    assert page.has_more
    assert store.backend.calls["read_meta"] == limit + 1


def test_walking_a_large_store_backwards_reads_each_once(large):
    """Whatever the distribution over time, all files come once, newest first, at a bounded cost."""
    store, found = large
    store.backend.calls.clear()

    assert [f.id for f in store.list(order="desc")] == found[::-1]
    assert store.backend.calls["read_meta"] == COUNT
    assert store.backend.calls["list_ids"] < 200
    assert store.backend.calls["ids"] < 8 * COUNT


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_ids_from_elsewhere_are_read_once(large, order):
    """Thirty among 10 000: read at the first page, which is right; from then on a page costs a page again."""
    store, found = large
    backend, mine = store.backend, [make(file_id) for file_id in found]
    strangers = [make(f"file-{name}{n}", created_at=int(NOW) - 1000 * n) for n in range(10) for name in ("0", "F", "z")]
    for file in strangers:
        backend.put(file.id, encode_meta(file))
    fresh = FileStore(backend, clock=fakes.Clock(NOW))
    expected = sorted((f.created_at, f.id) for f in [*mine, *strangers])[:: 1 if order == "asc" else -1]
    after, got = None, []
    for number in range(4):
        backend.calls.clear()
        page = fresh.list(limit=20, order=order, after=after)
        got += page
        after = page.last_id
        assert backend.calls["read_meta"] <= 21 + (len(strangers) if number == 0 else 0)
        assert backend.calls["list_ids"] <= (3 if order == "asc" else 30)
        assert backend.calls["ids"] <= 2 * len(strangers) + 1024 * backend.calls["list_ids"]
    for file in strangers:
        backend.remove(file.id)

    assert [f.id for f in got] == [file_id for _, file_id in expected[:80]]


@ordered
def test_a_place_is_remembered_a_file_is_not(without):
    """What is deleted or expires after its place became known is not listed again."""
    one, two = make("file-one", created_at=1), make("file-two", created_at=2, expires_at=int(NOW) + 10)
    store = filled([one, two], without)
    assert list(store) == [one, two]
    store.backend.remove("file-one")
    assert list(store) == [two]
    store._clock.now += 10
    assert list(store) == []


@ordered
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_an_id_that_is_given_to_another_file_gets_its_place(without, order):
    """An id from elsewhere may be used again once its file was deleted: the new file is listed where it belongs."""
    clock = fakes.Clock(NOW)
    store = FileStore(fakes.Recording(without=without), clock=clock)

    def put(name):
        clock.now += 10
        with store.begin(name, purpose="batch", file_id=name) as upload:
            upload.finish()

    def listed():
        whole = [f.id for f in store.list(order=order)]
        assert [f.id for page in pages(store, limit=1, order=order) for f in page] == whole
        return whole[:: 1 if order == "asc" else -1]

    for name in ("file-a", "file-b"):
        put(name)
    assert listed() == ["file-a", "file-b"]
    store.delete("file-a")
    put("file-a")
    assert listed() == ["file-b", "file-a"]


class Joined(fakes.Recording):
    """A backend to which somebody adds files at the beginning of the `nth` listing of its ids."""

    def __init__(self, files, nth):
        super().__init__()
        self.files, self.nth = files, nth

    def list_ids(self, after=None, before=None):
        if self.calls["list_ids"] + 1 == self.nth:
            for file in self.files:
                self.put(file.id, encode_meta(file))
        return super().list_ids(after, before)


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("nth", range(1, 8))
@pytest.mark.parametrize("created_at", [0, int(NOW)])
def test_ids_from_elsewhere_that_come_during_a_listing_are_in_their_place_or_absent(nth, order, created_at):
    """They are not taken for ids of holdall's own, whose place is that of their text; no page repeats a file."""
    own = [make(f"file-{strategies.NOW_MS - 86_400_000 * n:012x}7000{0x8000_0000_0000_0000:016x}") for n in range(6)]
    new = [make(f"file-{name}", created_at=created_at) for name in ("0", "A", "_", "z")]
    for limit in (None, 1, 4):
        backend = Joined(new, nth)
        first = make("file-b", created_at=1)
        for file in [first, *own]:
            backend.put(file.id, encode_meta(file))
        store = FileStore(backend, clock=fakes.Clock(NOW))
        got = [file for page in itertools.islice(pages(store, limit=limit, order=order), 20) for file in page]
        places = [(file.created_at, file.id) for file in got]
        assert places == sorted(set(places), reverse=order == "desc")
        assert {*own, first} <= {*got}


def test_many_files_of_one_millisecond_are_walked_backwards():
    """A window cannot be halved any further: they are taken together."""
    found = [f"file-{strategies.NOW_MS - 10**9:012x}7000{0x8000_0000_0000_0000 + n:016x}" for n in range(3000)]
    store = filled([make(i) for i in found])

    assert [f.id for f in store.list(order="desc")] == found[::-1]
    assert [f.id for f in store.list(order="desc", limit=2, after=found[1500])] == [found[1499], found[1498]]
