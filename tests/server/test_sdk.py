"""The official SDK, unchanged but for its `base_url`, over a real socket."""

from __future__ import annotations

import asyncio
import io
import os
import time

import openai
import pytest

BIG = os.urandom(700_000)


def test_the_whole_life_of_a_file(client):
    """Create, retrieve, list, content, delete: each answers what the SDK's models promise, and no field more."""
    before = int(time.time())
    file = client.files.create(file=('täst "1".bin', BIG, "image/png"), purpose="vision")

    assert file.model_dump() == {
        "id": file.id,
        "object": "file",
        "bytes": len(BIG),
        "created_at": file.created_at,
        "expires_at": None,
        "filename": 'täst "1".bin',
        "purpose": "vision",
        "status": "processed",
        "status_details": None,
    }
    assert before <= file.created_at <= time.time()
    assert client.files.retrieve(file.id) == file
    assert client.files.list().data == [file]
    content = client.files.content(file.id)
    assert content.read() == BIG
    assert content.response.headers["content-type"] == "image/png"
    with client.files.with_streaming_response.content(file.id) as streamed:
        assert b"".join(streamed.iter_bytes(100_000)) == BIG
    assert client.files.wait_for_processing(file.id, max_wait_seconds=5).status == "processed"

    gone = client.files.delete(file.id)
    assert gone.model_dump() == {"id": file.id, "object": "file", "deleted": True}
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError, match=f"No such File object: {file.id}"):
            call(file.id)
    assert client.files.list().data == []


def test_the_asynchronous_client_does_the_same(url):
    """Create several at once, list them page by page, read and delete them."""

    async def run():
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            made = await asyncio.gather(
                *(client.files.create(file=io.BytesIO(b"%d" % n), purpose="user_data") for n in range(7))
            )
            listed = [file async for file in client.files.list(limit=2)]
            assert sorted(f.id for f in made) == sorted(f.id for f in listed)
            contents = [(await client.files.content(file.id)).content for file in made]
            assert contents == [b"%d" % n for n in range(7)]
            for file in made:
                assert (await client.files.delete(file.id)).deleted
            assert [file async for file in client.files.list()] == []

    asyncio.run(run())


@pytest.mark.parametrize("purpose", ["assistants", "batch", "fine-tune", "vision", "user_data", "evals"])
def test_every_purpose_of_the_api_is_taken(client, purpose):
    """Each comes back in OpenAI's spelling, finds its files, and only `batch` expires without being told to."""
    file = client.files.create(file=("a.jsonl", b"{}\n"), purpose=purpose)

    assert file.purpose == purpose
    assert file.expires_at == (file.created_at + 30 * 24 * 3600 if purpose == "batch" else None)
    assert client.files.list(purpose=purpose).data == [file]
    assert client.files.list(purpose="nothing").data == []
    client.files.delete(file.id)


def test_expiry_is_what_the_client_asked_for(client):
    """In seconds from the creation, for batch files too; a time outside of the API's bounds is refused."""
    for purpose in ("batch", "assistants"):
        expires = {"anchor": "created_at", "seconds": 3600}
        file = client.files.create(file=("a", b"x"), purpose=purpose, expires_after=expires)
        assert file.expires_at == file.created_at + 3600
    for wrong in ({"anchor": "created_at", "seconds": 3599}, {"anchor": "last_active_at", "seconds": 3600}):
        with pytest.raises(openai.BadRequestError) as refused:
            client.files.create(file=("a", b"x"), purpose="batch", expires_after=wrong)
        assert refused.value.param == "expires_after"


def test_an_empty_file_is_a_file(client):
    """It has no bytes, and can be read."""
    file = client.files.create(file=("empty", b""), purpose="user_data")

    assert file.bytes == 0
    assert client.files.content(file.id).read() == b""
