"""Uploads through several servers, and through such as are killed."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from tests.server._serving import Process

import holdall


@pytest.fixture(params=["local", "s3"])
def shared_url(request, tmp_path):
    """The URL of an empty store that several processes can open, of each kind."""
    return f"file://{tmp_path}/files" if request.param == "local" else request.getfixturevalue("s3").url("shared")


def _sdk(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0)


def _begun(client, *contents):
    size = sum(map(len, contents))
    upload = client.uploads.create(bytes=size, filename="a", mime_type="text/plain", purpose="user_data")
    return upload.id, [client.uploads.parts.create(upload.id, data=content).id for content in contents]


def test_servers_that_end_one_upload_at_once_make_one_file(shared_url):
    """Whoever completes it as the winner does gets the same file; another order is refused, and so is a cancellation,
    unless it wins: then there is none. Parts may come by one server, and be completed by another.
    """
    pieces = [b"one" * 50_000, b"two" * 50_000, b"three"]
    with Process(shared_url) as first, Process(shared_url) as second, ThreadPoolExecutor(6) as pool:
        clients = [_sdk(first), _sdk(second)]
        seen = set()
        for n in range(8 if shared_url.startswith("file") else 4):
            upload, ids = _begun(clients[n % 2], *pieces)
            orders = [ids, ids[::-1]]
            together = threading.Barrier(6)

            def end(k, upload=upload, orders=orders, together=together):
                together.wait(60)
                try:
                    if k == 5:
                        return "cancelled", clients[k % 2].uploads.cancel(upload).file
                    done = clients[k % 2].uploads.complete(upload, part_ids=orders[k == 4])
                    return ("another" if k == 4 else "same"), done.file.id
                except openai.BadRequestError:
                    return None

            results = set(pool.map(end, range(6))) - {None}
            assert len(results) == 1, results
            [(how, file_id)] = results
            stored = {file.id for file in clients[0].files.list()} - seen
            assert stored == ({file_id} if file_id else set())
            seen |= stored
            if file_id:
                content = clients[1].files.content(file_id).read()
                assert content == b"".join(pieces if how == "same" else pieces[::-1])


@pytest.mark.parametrize(("kind", "count", "seed"), [("local", 100, 0), ("local", 100, 1), ("s3", 30, 2)])
def test_a_kill_during_uploads_loses_nothing_acknowledged_and_what_was_begun_can_be_completed(
    kind, count, seed, tmp_path, request
):
    """Killed after a random number of answers: each acknowledged file is there, none is partial or there twice, and
    another server completes every upload whose parts were acknowledged.
    """
    chance, lock, answers = random.Random(seed), threading.Lock(), []
    kill_after = chance.randrange(20, 3 * count)
    url = f"file://{tmp_path}/files" if kind == "local" else request.getfixturevalue("s3").url("killed")
    uploads = {}

    def content(n):
        return [b"%d.%d " % (n, part) * (20_000 if n % 5 == 0 else 10) for part in range(1 + n % 4)]

    def told(answer):
        with lock:
            answers.append(answer)
            if len(answers) == kill_after:
                server.kill()
        return answer

    def upload(n):
        with contextlib.suppress(openai.APIConnectionError):
            pieces, client = content(n), _sdk(server)
            made = told(client.uploads.create(
                bytes=sum(map(len, pieces)), filename=f"{n}", mime_type="a/b", purpose="user_data"
            ))  # fmt: skip
            ids = [told(client.uploads.parts.create(made.id, data=piece)).id for piece in pieces]
            uploads[n] = made.id, ids, None
            uploads[n] = made.id, ids, told(client.uploads.complete(made.id, part_ids=ids)).file.id

    with Process(url) as server, ThreadPoolExecutor(8) as pool:
        list(pool.map(upload, range(count)))
    assert len(answers) >= kill_after

    acknowledged = {file_id for _, _, file_id in uploads.values() if file_id}
    with holdall.open_store(url) as store:
        stored = {file.id: file for file in store}
        assert acknowledged <= stored.keys()
        assert store.verify().ok
    with Process(url) as another, ThreadPoolExecutor(8) as pool:
        client = _sdk(another)
        files = dict(zip(
            uploads, pool.map(lambda u: client.uploads.complete(u[0], part_ids=u[1]).file, uploads.values()), strict=True
        ))  # fmt: skip
    with holdall.open_store(url) as store:
        for n, file in files.items():
            assert uploads[n][2] in {None, file.id}
            assert store.get(file.id).sha256 == hashlib.sha256(b"".join(content(n))).hexdigest()
        assert sorted(file.id for file in store) == sorted(file.id for file in files.values())
        store.sweep(older_than=0)
        assert list(store.backend.debris()) == []
