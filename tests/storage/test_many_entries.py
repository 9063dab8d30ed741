"""A page costs a page: 100 000 entries in a bucket, every request counted by the server."""

from __future__ import annotations

import contextlib

import pytest
from tests import strategies
from tests.storage.key_space import KeySpace

import holdall
from holdall import FileStore

COUNT = 100_000
DAY_MS = 86_400_000
NOW_MS = strategies.NOW_MS
SCHEMES = ["s3", "s3+obstore"]
STRANGERS = 12


def _ids(age_ms):
    times = sorted(max(NOW_MS - int(age_ms(n)), 1_767_225_600_001) for n in range(COUNT))
    return [f"file-{ms:012x}7000{0x8000_0000_0000_0000 + n:016x}" for n, ms in enumerate(times)]


SPREADS = {
    "a year, evenly": lambda n: 300 * DAY_MS * n / COUNT,
    "ten a second, until now": lambda n: 100 * n,
    "all in the last hour": lambda n: 36 * n,
    "most of them in a burst ten days ago": lambda n: n * 60_000 if n < 1000 else 10 * DAY_MS + n,
}


@pytest.fixture(scope="module", params=SPREADS)
def minted(request):
    """The ids, oldest first, and a bucket of them."""
    ids = _ids(SPREADS[request.param])
    space = KeySpace(dict.fromkeys(ids))
    yield ids, space
    space.stop()


@pytest.fixture(scope="module")
def mixed():
    """The same with some ids from elsewhere, both in order."""
    ids = _ids(SPREADS["a year, evenly"])
    now = NOW_MS // 1000
    strangers = {f"file-{'0AZfz'[n % 5]}{n}-elsewhere": now - n * 86_400 for n in range(STRANGERS)}
    space = KeySpace({**dict.fromkeys(ids), **strangers})
    places = [*((int(i[5:17], 16) // 1000, i) for i in ids), *((at, i) for i, at in strangers.items())]
    yield [i for _, i in sorted(places)], space
    space.stop()


def _pages(space, scheme, order, count=2):
    """The ids of the first pages of 20, and the requests that each cost."""
    with (
        holdall.open_store(space.url(scheme)) as opened,
        contextlib.closing(
            # By a clock that stands: how long ago the last one came in counts.
            FileStore(opened.backend, clock=lambda: NOW_MS / 1000)
        ) as store,
    ):
        after, got, costs = None, [], []
        for _ in range(count):
            space.requests.clear()
            page = store.list(limit=20, order=order, after=after)
            after = page.last_id
            got += [f.id for f in page]
            costs.append(dict(space.requests))
        return got, costs


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_newest_and_oldest_page(minted, scheme, order):
    """At most 8 LISTs, a GET for each file, and one for the file that tells that more follow; so does the next page."""
    ids, space = minted
    got, costs = _pages(space, scheme, order)

    assert got == (ids[:40] if order == "asc" else ids[:-41:-1])
    for cost in costs:
        assert cost["list"] <= 8
        assert cost["get"] <= 21


@pytest.mark.parametrize("scheme", SCHEMES)
def test_newest_page_after_a_long_silence(scheme):
    """All stored within two minutes, three days ago: where they end takes some more LISTs to find, but no more GETs."""
    ids = _ids(lambda n: 3 * DAY_MS + n)
    space = KeySpace(dict.fromkeys(ids))
    try:
        got, costs = _pages(space, scheme, "desc")
    finally:
        space.stop()

    assert got == ids[:-41:-1]
    assert costs[0]["list"] <= 24
    assert costs[1]["list"] <= 8
    assert all(cost["get"] <= 21 for cost in costs)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_with_ids_from_elsewhere(mixed, scheme, order):
    """The same, and one GET for each of those ids, once: the next page does not read them again."""
    ids, space = mixed
    got, costs = _pages(space, scheme, order, count=3)

    assert got == (ids[:60] if order == "asc" else ids[:-61:-1])
    assert all(cost["list"] <= 8 for cost in costs)
    assert costs[0]["get"] <= 21 + STRANGERS
    assert all(cost["get"] <= 21 for cost in costs[1:])
