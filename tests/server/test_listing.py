"""Listings over HTTP: order, cursors, pages, and the honest end of them."""

from __future__ import annotations

import asyncio

import httpx
import openai
import pytest
from tests.fakes import Clock
from tests.server._serving import serving

from holdall import FileStore
from holdall.backends.memory import MemoryBackend
from holdall.server import create_app

COUNT = 3_000


@pytest.fixture(scope="module")
def many():
    """A server of thousands of files, three of them in each second, and their ids, oldest first."""
    clock = Clock()
    store = FileStore(MemoryBackend(), clock=clock)
    ids = []
    for n in range(COUNT):
        clock.now += n % 3 == 0
        ids.append(store.create(f"{n}", b"", purpose="vision" if n % 1000 == 7 else "batch").id)
    with serving(create_app(store)) as running:
        yield running, ids


@pytest.fixture
def client(many):
    """The SDK, on that server."""
    return openai.OpenAI(base_url=f"{many[0].url}/v1", api_key="x", max_retries=0)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_the_sdk_pages_over_thousands_and_sees_each_once(client, many, order):
    """In order, with any size of page, the last one whether full or not."""
    expected = many[1] if order == "asc" else many[1][::-1]
    for limit in (COUNT, COUNT // 2, 701):
        assert [file.id for file in client.files.list(limit=limit, order=order)] == expected


def test_the_asynchronous_client_pages_over_thousands_as_well(many):
    """By its own paging, each once, the newest first."""

    async def listed():
        async with openai.AsyncOpenAI(base_url=f"{many[0].url}/v1", api_key="x", max_retries=0) as client:
            return [file.id async for file in client.files.list(limit=499)]

    assert asyncio.run(listed()) == many[1][::-1]


def test_by_default_a_page_is_the_newest_ten_thousand_first(client, many):
    """As the API says; here that is all."""
    page = client.files.list()

    assert [file.id for file in page.data] == many[1][::-1]
    assert page.has_more is False
    answer = httpx.get(f"{many[0].url}/v1/files").json()
    assert set(answer) == {"object", "data", "first_id", "last_id", "has_more"}
    assert (answer["object"], answer["first_id"], answer["last_id"]) == ("list", many[1][-1], many[1][0])


def test_a_filtered_listing_pages_over_what_fits(client, many):
    """Pages are full of what fits, and `has_more` is true only if more does."""
    found = [many[1][n] for n in range(7, COUNT, 1000)]
    page = client.files.list(purpose="vision", limit=2, order="asc")
    assert ([file.id for file in page.data], page.has_more) == (found[:2], True)
    rest = page.get_next_page()
    assert ([file.id for file in rest.data], rest.has_more) == (found[2:], False)


def test_the_last_page_says_so(many):
    """Nothing after the last file, before the first one, or in an empty selection is more."""
    url, ids = f"{many[0].url}/v1/files", many[1]
    for query, data, more in (
        (f"order=asc&after={ids[-1]}", [], False),
        (f"after={ids[0]}", [], False),
        (f"order=asc&limit=1&after={ids[-2]}", [ids[-1]], False),
        (f"order=asc&limit=1&after={ids[-3]}", [ids[-2]], True),
        ("purpose=assistants&limit=1", [], False),
    ):
        page = httpx.get(f"{url}?{query}").json()
        assert ([f["id"] for f in page["data"]], page["has_more"]) == (data, more), query
        assert (page["first_id"], page["last_id"]) == (data[0] if data else None, data[-1] if data else None)


def test_a_cursor_whose_file_was_deleted_still_has_its_place(served):
    """Deleting while paging neither repeats nor skips a file."""
    client = openai.OpenAI(base_url=f"{served.url}/v1", api_key="x", max_retries=0)
    ids = [client.files.create(file=(str(n), b""), purpose="batch").id for n in range(6)]
    seen = []
    for file in client.files.list(limit=2):
        seen.append(file.id)
        client.files.delete(file.id)

    assert seen == ids[::-1]
