"""`/healthz` and `/readyz`: what they say while the storage is away."""

from __future__ import annotations

import errno
import threading

import httpx
from tests.fakes import Failing
from tests.server._serving import serving, until

from holdall import FileStore
from holdall.server import create_app

SECRET = "a secret of the storage"
MEMBERS = {"message", "type", "param", "code"}


def test_ready_means_that_the_storage_answers():
    """`/readyz` is 503 while it does not, `/healthz` is not: a restart would not help. HEAD tells the same."""
    backend = Failing(read_meta=OSError(errno.ECONNREFUSED, SECRET))
    with serving(create_app(FileStore(backend))) as running:
        answer = httpx.get(f"{running.url}/readyz")
        assert (answer.status_code, set(answer.json()["error"])) == (503, MEMBERS)
        assert SECRET not in answer.text
        assert [ask(f"{running.url}/healthz").status_code for ask in (httpx.get, httpx.head)] == [200, 200]
        assert httpx.head(f"{running.url}/readyz").status_code == 503
        backend.failures.clear()
        assert [ask(f"{running.url}/readyz").status_code for ask in (httpx.get, httpx.head)] == [200, 200]


def test_a_storage_that_says_nothing_is_not_ready(monkeypatch):
    """`/readyz` is 503 when it has waited long enough, not when the storage gives up; however often it is asked, the
    storage has one question to answer.
    """
    monkeypatch.setattr("holdall.server._app._READY_SECONDS", 0.05)
    answers, asked = threading.Event(), []

    class Silent(Failing):
        def read_meta(self, file_id):
            asked.append(file_id)
            answers.wait()
            return super().read_meta(file_id)

    with serving(create_app(FileStore(Silent()))) as running:
        try:
            statuses = [httpx.get(f"{running.url}/readyz", timeout=60).status_code for _ in range(3)]
        finally:
            answers.set()
        assert (statuses, len(asked)) == ([503, 503, 503], 1)
        until(lambda: httpx.get(f"{running.url}/readyz", timeout=60).status_code == 200)
