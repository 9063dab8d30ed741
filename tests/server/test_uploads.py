"""The Uploads API with the official SDK."""

from __future__ import annotations

import hashlib

import openai
import pytest
from tests.server._serving import serving

from holdall.server import create_app


@pytest.fixture
def client(store_url):
    """The SDK before a server of an empty store, on each kind of storage."""
    with (
        serving(create_app(store_url)) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="unused", max_retries=0) as opened,
    ):
        yield opened


def _begin(client, size):
    return client.uploads.create(bytes=size, filename="a.bin", mime_type="text/plain", purpose="user_data")


def test_parts_become_one_file_in_the_order_of_completion(client):
    """Parts come in any order; the file has them as `part_ids` says, checked by md5, and no part is a file."""
    upload = _begin(client, 11)
    last = client.uploads.parts.create(upload.id, data=b" world")
    first = client.uploads.parts.create(upload.id, data=b"hello")
    assert list(client.files.list()) == []

    md5 = hashlib.md5(b"hello world").hexdigest()
    done = client.uploads.complete(upload.id, part_ids=[first.id, last.id], md5=md5)

    assert done.status == "completed"
    assert client.files.content(done.file.id).read() == b"hello world"
    assert [file.id for file in client.files.list()] == [done.file.id]
    again = client.uploads.complete(upload.id, part_ids=[first.id, last.id], md5=md5)
    assert again == done
    with pytest.raises(openai.BadRequestError):
        client.uploads.cancel(upload.id)


def test_the_sdk_uploads_in_chunks(client):
    """`upload_file_chunked` works as it is."""
    content = bytes(range(256)) * 1000
    done = client.uploads.upload_file_chunked(
        file=content, filename="b.bin", bytes=len(content), mime_type="image/png", purpose="vision", part_size=100_000
    )

    assert client.files.content(done.file.id).read() == content


def test_what_does_not_fit_stores_nothing(client):
    """A wrong size, a wrong md5 and a part of another upload are 400, and the upload can still be completed."""
    upload, other = _begin(client, 5), _begin(client, 5)
    part = client.uploads.parts.create(upload.id, data=b"hello")
    foreign = client.uploads.parts.create(other.id, data=b"hello")
    for wrong in ({"part_ids": []}, {"part_ids": [part.id], "md5": "0" * 32}, {"part_ids": [foreign.id]}):
        with pytest.raises(openai.BadRequestError):
            client.uploads.complete(upload.id, **wrong)

    assert list(client.files.list()) == []
    assert client.uploads.complete(upload.id, part_ids=[part.id]).status == "completed"


def test_a_cancelled_upload_takes_nothing_more(client):
    """After `cancel` neither a part nor a completion is accepted; an id of nothing is 404."""
    upload = _begin(client, 5)
    part = client.uploads.parts.create(upload.id, data=b"hello")

    assert client.uploads.cancel(upload.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError):
        client.uploads.parts.create(upload.id, data=b"hello")
    with pytest.raises(openai.BadRequestError):
        client.uploads.complete(upload.id, part_ids=[part.id])
    with pytest.raises(openai.NotFoundError):
        client.uploads.cancel("upload_" + "0" * 32)
    assert list(client.files.list()) == []
