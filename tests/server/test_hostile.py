"""Clients that are slow, lie, go away or inject, on a raw socket: nothing of theirs stays, and others are served."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading

import httpx
import pytest
from tests.server._serving import assert_nothing_is_left, serving

import holdall
from holdall.backends.local import LocalBackend
from holdall.server import _multipart, create_app

EDGE = "edge"
HEAD = (
    f'--{EDGE}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    f'--{EDGE}\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
).encode()
TAIL = f"\r\n--{EDGE}--\r\n".encode()


def _request(line, *headers, body=b""):
    kind = f"Content-Type: multipart/form-data; boundary={EDGE}"
    return "\r\n".join([f"{line} HTTP/1.1", "Host: 127.0.0.1", kind, *headers, "", ""]).encode() + body


def _chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def _answer(connection):
    """Status, headers and body of one answer."""
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        headers = {}
        while (line := stream.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, stream.read(int(headers["content-length"]))


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """A server of a small local store, which says when an upload was begun and when one was discarded."""
    begun, discarded = threading.Semaphore(0), threading.Semaphore(0)
    stage = LocalBackend.stage

    def watching(self, file_id):
        staged = stage(self, file_id)
        discard = type(staged).discard

        def discard_and_say():
            discard(staged)
            discarded.release()

        staged.discard = discard_and_say
        begun.release()
        return staged

    monkeypatch.setattr(LocalBackend, "stage", watching)
    with serving(create_app(f"file://{tmp_path}/files?max_bytes=2MiB&fsync=false")) as running:
        running.root, running.begun, running.discarded = tmp_path / "files", begun, discarded
        yield running


def test_a_client_that_goes_half_way_leaves_nothing(watched):
    """With a length or without: what was stored so far is discarded at once, leftovers included."""
    starts = [
        _request("POST /v1/files", "Content-Length: 2000000", body=HEAD + b"x" * 600_000),
        _request("POST /v1/files", "Transfer-Encoding: chunked", body=_chunk(HEAD + b"x" * 600_000)),
        # All of the form, but not all of the body that was announced.
        _request("POST /v1/files", "Content-Length: 2000000", body=HEAD + b"x" * 600_000 + TAIL),
    ]
    for start in starts:
        with watched.connect() as connection:
            connection.sendall(start)
            assert watched.begun.acquire(timeout=60)
        assert watched.discarded.acquire(timeout=60)
        assert_nothing_is_left(watched)


def test_a_slow_client_holds_up_nobody(watched):
    """While one sends byte by byte, others are served; and at the end its file is whole."""
    body = HEAD + b"slow" + TAIL
    with watched.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sendall(_request("POST /v1/files", f"Content-Length: {len(body)}"))
        for n, byte in enumerate(body):
            connection.sendall(bytes([byte]))
            if n % 50 == 0:
                assert httpx.get(f"{watched.url}/v1/files").json()["data"] == []
        status, _, answer = _answer(connection)

    assert (status, json.loads(answer)["bytes"]) == (200, 4)


def test_a_client_that_stops_sending_is_given_up(watched, monkeypatch):
    """After a while 408, and what was stored so far is discarded; the SDK repeats a request that ends so."""
    monkeypatch.setattr(_multipart, "IDLE_SECONDS", 0.01)
    with watched.connect() as connection:
        connection.sendall(_request("POST /v1/files", "Content-Length: 2000000", body=HEAD + b"x" * 600_000))
        status, _, body = _answer(connection)

    assert (status, set(json.loads(body)["error"])) == (408, {"message", "type", "param", "code"})
    assert_nothing_is_left(watched)


def test_a_body_without_length_is_stopped_at_the_limit(watched):
    """413 in the envelope while the client still sends; nothing is left."""
    with watched.connect() as connection:
        connection.sendall(_request("POST /v1/files", "Transfer-Encoding: chunked", body=_chunk(HEAD)))
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                connection.sendall(_chunk(b"x" * 100_000))
        status, _, body = _answer(connection)

    assert status == 413
    assert json.loads(body)["error"]["code"] == "file_too_large"
    assert watched.discarded.acquire(timeout=60)
    assert_nothing_is_left(watched)


def test_a_length_over_the_limit_is_refused_before_the_body(watched):
    """A client that waits for leave to send, as curl does, gets 413 and keeps its bytes."""
    with watched.connect() as connection:
        connection.sendall(_request("POST /v1/files", "Content-Length: 99999999999", "Expect: 100-continue"))
        status, _, body = _answer(connection)

    assert (status, set(json.loads(body)["error"])) == (413, {"message", "type", "param", "code"})
    assert not watched.begun.acquire(blocking=False)


def test_a_file_of_exactly_the_limit_is_stored(watched):
    """The limit is on the file, not on the form around it; one byte more is too much."""
    for size, status in ((2 * 1024**2, 200), (2 * 1024**2 + 1, 413)):
        form = {"files": {"file": ("a", b"x" * size)}, "data": {"purpose": "batch"}}
        assert httpx.post(f"{watched.url}/v1/files", **form).status_code == status


def test_a_length_that_is_too_small_ends_the_body_there(watched):
    """The form is cut off, and what follows is no part of it: 400, nothing is stored, the server goes on."""
    with watched.connect() as connection:
        connection.sendall(_request("POST /v1/files", f"Content-Length: {len(HEAD) + 2}", body=HEAD + b"hello" + TAIL))
        # The rest is no request either: whichever is seen first, the form or it, is what is answered.
        assert connection.recv(1000).split()[1] == b"400"

    assert_nothing_is_left(watched)


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "5, 6", "999999999999999999999999"])
def test_a_length_that_is_no_number_is_refused(watched, length):
    """4xx by the server or by us, and it goes on serving."""
    with watched.connect() as connection:
        connection.sendall(_request("POST /v1/files", f"Content-Length: {length}", body=HEAD + b"x" + TAIL))
        assert connection.recv(1000).split()[1].startswith(b"4")
    assert_nothing_is_left(watched)


def test_a_name_cannot_inject_a_header(served):
    """Line ends in a name stay in the name, in the metadata and in the header."""
    name = 'a"\r\nX-Evil: 1\r\n\r\n<script>.txt'
    form = {"files": {"file": (name, b"x")}, "data": {"purpose": "batch"}}
    file = httpx.post(f"{served.url}/v1/files", **form).raise_for_status().json()
    assert file["filename"] == name

    with served.connect() as connection:
        connection.sendall(_request(f"GET /v1/files/{file['id']}/content"))
        status, headers, body = _answer(connection)
    assert (status, body) == (200, b"x")
    assert "x-evil" not in headers
    assert "X-Evil" in headers["content-disposition"]


@pytest.mark.parametrize(
    "file_id",
    ["..%2Fx", "%2e%2e%2fx", "..%2F..%2F..%2Fetc%2Fpasswd", "%2Fetc%2Fpasswd", "..", "%2e%2e", ".", ".staging", "a%00b", "%ff",
     "file-", "file-%0d%0aX-Evil:%201", "file-" + "a" * 129, "file-" + "a" * 3000, "FILE-1", "file-%C3%A4", "%F0%9F%98%80"],
)  # fmt: skip
def test_what_is_no_id_reaches_nothing(served, file_id):
    """404 in the envelope for every verb, whatever it decodes to; the storage is as it was."""
    victim = served.root.parent / "x"
    victim.mkdir()
    (victim / "meta.json").write_text("{}")
    with holdall.open_store(served.root) as store:
        store.create("a", b"x", purpose="batch")
    for verb, end in (("GET", ""), ("DELETE", ""), ("GET", "/content")):
        with served.connect() as connection:
            connection.sendall(_request(f"{verb} /v1/files/{file_id}{end}".encode().decode("latin-1")))
            status, headers, body = _answer(connection)
        assert (status, set(json.loads(body)["error"])) == (404, {"message", "type", "param", "code"})
        assert "x-evil" not in headers
    assert (victim / "meta.json").exists()
    assert len(httpx.get(f"{served.url}/v1/files").json()["data"]) == 1


def test_two_hundred_uploads_at_once_are_all_stored(served):
    """Each is there, whole and once; small ones and such as are stored while they come."""

    def content(n):
        return b"%06d" % n * (60_000 if n % 20 == 0 else 10)

    async def upload_all():
        limits = httpx.Limits(max_connections=200)
        async with httpx.AsyncClient(base_url=f"{served.url}/v1", timeout=120, limits=limits) as client:

            async def upload(n):
                form = {"files": {"file": (f"{n}.bin", content(n))}, "data": {"purpose": "batch"}}
                return (await client.post("/files", **form)).raise_for_status().json()["id"]

            return await asyncio.gather(*(upload(n) for n in range(200)))

    made = asyncio.run(upload_all())
    assert len(set(made)) == 200
    listed = httpx.get(f"{served.url}/v1/files").json()["data"]
    assert sorted(f["id"] for f in listed) == sorted(made)
    for n in range(0, 200, 10):
        assert httpx.get(f"{served.url}/v1/files/{made[n]}/content").content == content(n)
    assert list((served.root / ".staging").iterdir()) == []
