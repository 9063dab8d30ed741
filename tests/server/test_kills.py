"""A server that is killed: what it acknowledged is there, and what is there is whole."""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.server._serving import Process

import holdall

COUNT = 500


@pytest.mark.parametrize("seed", range(3))
def test_a_kill_during_five_hundred_uploads_loses_nothing_acknowledged(tmp_path, seed):
    """Killed after a random number of answers, while others are under way: the store holds each acknowledged file
    with its bytes, and no file that is not whole; a sweep takes the leftovers.
    """
    chance = random.Random(seed)
    kill_after = chance.randrange(1, COUNT)
    acknowledged, lock = {}, threading.Lock()

    def upload(client, n):
        data = b"%d " % n * chance.choice([1, 1000, 100_000])
        with contextlib.suppress(httpx.HTTPError):
            answer = client.post(f"{server.url}/v1/files", files={"file": (f"{n}", data)}, data={"purpose": "batch"})
            with lock:
                acknowledged[answer.raise_for_status().json()["id"]] = hashlib.sha256(data).hexdigest()
                if len(acknowledged) == kill_after:
                    server.kill()

    with (
        Process(str(tmp_path / "files")) as server,
        httpx.Client(timeout=60) as client,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(upload, [client] * COUNT, range(COUNT)))

    assert len(acknowledged) >= kill_after
    with holdall.open_store(tmp_path / "files") as store:
        stored = {file.id: file.sha256 for file in store}
        assert acknowledged.items() <= stored.items()
        assert store.verify().ok
        store.sweep(older_than=0)
        assert list((tmp_path / "files" / ".staging").iterdir()) == []
