"""`holdall serve`: the Files API from the command line."""

from __future__ import annotations

import re
import signal
import time

import httpx
import openai
import pytest
from tests.server._serving import until

from holdall import FileStore


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
def test_it_serves_the_sdk_until_it_is_told_to_stop(serve, store, number, code):
    """The SDK stores a file at the address that is printed with the store; the file is in the store when the server has ended."""
    process, address, line = serve()
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none") as client:
        file = client.files.create(file=("a.txt", b"hello"), purpose="user_data")
    process.send_signal(number)

    assert process.wait(60) == code
    assert store.get_content(file.id) == b"hello"
    assert f"from {store.url}, without API keys, to this machine only" in line


def test_with_keys_it_lets_in_those_who_have_one(serve):
    """With keys in the environment, who has none is refused, and who has one is served."""
    _, address, line = serve(HOLDALL_API_KEYS="ann:sk-secret")

    assert httpx.get(f"{address}/v1/files", timeout=60).status_code == 401
    answer = httpx.get(f"{address}/v1/files", timeout=60, headers={"Authorization": "Bearer sk-secret"})
    assert (answer.status_code, answer.json()["data"]) == (200, [])
    assert "API key" in line
    assert "sk-secret" not in line


def test_it_sweeps_as_often_as_it_is_told(serve, store, tmp_path):
    """A file that has expired is removed while nobody asks for anything."""
    past = FileStore(store.backend, clock=lambda: time.time() - 100)
    gone = tmp_path / "store" / past.create("a", b"", purpose="batch", expires_after=50).id
    assert gone.exists()
    serve("--sweep-every", "1s")
    until(lambda: not gone.exists())


def test_a_time_that_is_none_is_wrong_usage(run):
    """The message names the option."""
    done = run("serve", "memory://", "--sweep-every", "soon")
    assert (done.code, "--sweep-every" in done.errors) == (2, True)


def test_metrics_are_on_a_port_of_their_own(serve):
    """They count what the API's port does, which itself knows nothing of them; and are on loopback."""
    _, address, line = serve("--metrics-port", "0")
    metrics = re.search(r"metrics at (http://127\.0\.0\.1:\d+/metrics)", line)[1]
    httpx.get(f"{address}/v1/files", timeout=60)
    counted = 'holdall_http_requests_total{method="GET",route="/v1/files",status="200"} 1.0'
    until(lambda: counted in httpx.get(metrics, timeout=60).text)
    assert httpx.get(f"{address}/metrics", timeout=60).status_code == 404


def test_without_being_asked_for_there_are_no_metrics(serve):
    """No port is opened for them."""
    _, _, line = serve()
    assert "metrics" not in line


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "files.example"])
def test_without_keys_it_listens_on_this_machine_only(run, monkeypatch, host):
    """An address that others reach is refused as wrong usage, and the message says what to do."""
    for name in ("HOLDALL_API_KEYS", "HOLDALL_API_KEYS_FILE"):
        monkeypatch.delenv(name, raising=False)
    done = run("serve", "memory://", "--host", host)

    assert done.code == 2
    assert "holdall key" in done.errors


def test_a_port_in_use_is_told(program, monkeypatch):
    """The message names the port, and the exit code is that of a failure."""
    import socket

    monkeypatch.delenv("HOLDALL_API_KEYS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = program("serve", "memory://", "--port", str(port))

    assert done.code == 1
    assert f"port {port}" in done.errors
