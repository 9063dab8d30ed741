"""The Uploads API with the official SDK, on each kind of storage, over a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random

import openai
import pytest

CONTENT = os.urandom(2_300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


def test_the_whole_life_of_an_upload(client):
    """Create, add parts in any order, complete: each answers what the SDK's models promise, and no field more."""
    upload = client.uploads.create(bytes=11, filename='t"ä.bin', mime_type="text/plain", purpose="user_data")
    assert upload.model_dump() == {
        "id": upload.id,
        "object": "upload",
        "bytes": 11,
        "created_at": upload.created_at,
        "expires_at": upload.created_at + 3600,
        "filename": 't"ä.bin',
        "purpose": "user_data",
        "status": "pending",
        "file": None,
    }
    last = client.uploads.parts.create(upload.id, data=b" world")
    first = client.uploads.parts.create(upload.id, data=b"hello")
    assert last.model_dump() == {
        "id": last.id, "object": "upload.part", "created_at": last.created_at, "upload_id": upload.id,
    }  # fmt: skip
    assert list(client.files.list()) == []

    md5 = hashlib.md5(b"hello world").hexdigest()
    done = client.uploads.complete(upload.id, part_ids=[first.id, last.id], md5=md5)

    file = client.files.retrieve(done.file.id)
    assert done.model_dump() == upload.model_dump() | {"status": "completed", "file": file.model_dump()}
    assert (file.filename, file.bytes, file.status) == ('t"ä.bin', 11, "processed")
    content = client.files.content(file.id)
    assert content.read() == b"hello world"
    assert content.response.headers["content-type"] == "text/plain"
    assert list(client.files.list()) == [file]
    assert client.uploads.complete(upload.id, part_ids=[first.id, last.id], md5=md5) == done


def test_the_sdk_uploads_in_chunks_from_bytes_and_from_a_path(client, tmp_path):
    """`upload_file_chunked` works as it is, with and without a checksum, and the file is ready at once."""
    path = tmp_path / "b.bin"
    path.write_bytes(CONTENT)
    for file, more in (
        (CONTENT, {"filename": "b.bin", "bytes": len(CONTENT)}),
        (path, {"part_size": 1_000_000}),
        (path, {"md5": MD5, "part_size": 999_999}),
    ):
        done = client.uploads.upload_file_chunked(file=file, mime_type="image/png", purpose="vision", **more)
        assert client.files.content(done.file.id).read() == CONTENT
        assert done.file.filename == "b.bin"
        assert client.files.wait_for_processing(done.file.id, max_wait_seconds=5).status == "processed"
    with pytest.raises(openai.BadRequestError) as refused:
        client.uploads.upload_file_chunked(file=path, mime_type="a/b", purpose="vision", md5="0" * 32)
    assert refused.value.param == "md5"
    assert len(list(client.files.list())) == 3


def test_the_asynchronous_client_sends_parts_side_by_side(url):
    """Parts that come at once, in any order, of several uploads at once: each file is whole; and in chunks."""

    async def upload(client, seed):
        order = list(range(8))
        pieces = [CONTENT[n * 9_000 + seed :][: 9_000 * (n + 1)] for n in order]
        upload = await client.uploads.create(
            bytes=sum(map(len, pieces)), filename=f"{seed}", mime_type="a/b", purpose="user_data"
        )
        random.Random(seed).shuffle(order)
        sent = await asyncio.gather(*(client.uploads.parts.create(upload.id, data=pieces[n]) for n in order))
        ids = [part.id for _, part in sorted(zip(order, sent, strict=True), key=lambda pair: pair[0])]
        done = await client.uploads.complete(upload.id, part_ids=ids)
        assert (await client.files.content(done.file.id)).content == b"".join(pieces)

    async def run():
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
            await asyncio.gather(*(upload(client, seed) for seed in range(4)))
            done = await client.uploads.upload_file_chunked(
                file=CONTENT, filename="c", bytes=len(CONTENT), mime_type="a/b", purpose="batch", md5=MD5
            )
            assert (await client.files.wait_for_processing(done.file.id, max_wait_seconds=5)).bytes == len(CONTENT)

    asyncio.run(run())


def test_what_does_not_fit_stores_nothing(client):
    """A wrong size, a wrong md5 and a part of another upload are 400, and the upload can still be completed."""
    upload, other = (
        client.uploads.create(bytes=5, filename="a", mime_type="text/plain", purpose="user_data") for _ in range(2)
    )
    part, foreign = (client.uploads.parts.create(u.id, data=b"hello").id for u in (upload, other))
    for wrong in ({"part_ids": []}, {"part_ids": [part], "md5": "0" * 32}, {"part_ids": [foreign]}):
        with pytest.raises(openai.BadRequestError):
            client.uploads.complete(upload.id, **wrong)

    assert list(client.files.list()) == []
    assert client.uploads.complete(upload.id, part_ids=[part]).status == "completed"
    assert client.uploads.cancel(other.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.uploads.complete(other.id, part_ids=[foreign])


@pytest.mark.parametrize(
    ("wrong", "param", "code"),
    [
        ({"mime_type": openai.omit}, "mime_type", "missing_required_parameter"),
        ({"purpose": openai.omit}, "purpose", "missing_required_parameter"),
        ({"bytes": -1}, "bytes", "invalid_value"),
        ({"expires_after": {"anchor": "created_at"}}, "expires_after.seconds", "missing_required_parameter"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds", "invalid_value"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor", "invalid_value"),
    ],
)
def test_a_field_that_is_missing_or_wrong_is_named(served, wrong, param, code):
    """With its place in the body, and with the code that a form gives for the same mistake."""
    right = {"bytes": 5, "filename": "a", "mime_type": "text/plain", "purpose": "user_data"}
    with (
        openai.OpenAI(base_url=f"{served.url}/v1", api_key="any", max_retries=0) as client,
        pytest.raises(openai.BadRequestError) as refused,
    ):
        client.uploads.create(**(right | wrong))

    assert (refused.value.param, refused.value.code) == (param, code)
    assert f"'{param}'" in refused.value.message
