"""Clients of parts and of downloads that are slow, lie or go away, on a raw socket."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading

import httpx
import pytest
from tests.server._serving import serving, until
from tests.server._stores import Watched

from holdall import FileStore
from holdall.server import _multipart, create_app

MEMBERS = {"message", "type", "param", "code"}
HEAD = b'--edge\r\nContent-Disposition: form-data; name="data"; filename="p"\r\n\r\n'
TAIL = b"\r\n--edge--\r\n"
CHUNKED = "Transfer-Encoding: chunked"


def _chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


class Client:
    """An upload that was begun, and parts for it that are sent badly."""

    def __init__(self, running, root):
        self.running, self.root, self.url = running, root, f"{running.url}/v1/uploads"
        new = {"bytes": 5, "filename": "a", "mime_type": "a/b", "purpose": "batch"}
        self.upload = httpx.post(self.url, json=new).raise_for_status().json()["id"]

    def send(self, connection, *headers, body):
        lines = [
            f"POST /v1/uploads/{self.upload}/parts HTTP/1.1",
            "Host: 127.0.0.1",
            "Content-Type: multipart/form-data; boundary=edge",
        ]
        connection.sendall("\r\n".join([*lines, *headers, "", ""]).encode() + body)

    def staged(self):
        """The parts that are on their way into the storage."""
        return list((self.root / ".uploads" / ".staging").glob("*/data.bin"))

    def ends_well(self):
        """Nothing is left of what came before, and the upload goes on."""
        until(lambda: not self.staged())
        entries = [entry for entry in os.listdir(self.root / ".uploads") if entry.startswith("file-")]
        assert entries == [f"file-{self.upload.removeprefix('upload_')}"]
        part = httpx.post(f"{self.url}/{self.upload}/parts", files={"data": b"hello"}).raise_for_status().json()["id"]
        done = httpx.post(f"{self.url}/{self.upload}/complete", json={"part_ids": [part]}).raise_for_status().json()
        file_id = done["file"]["id"]
        assert httpx.get(f"{self.running.url}/v1/files/{file_id}/content").content == b"hello"


def _answer(connection):
    """Status and error of one answer."""
    with connection.makefile("rb") as stream:
        status = int(stream.readline().split()[1])
        length = 0
        while (line := stream.readline().strip().lower()) != b"":
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        error = json.loads(stream.read(length))["error"]
        assert set(error) == MEMBERS
        return status, error["param"]


@pytest.fixture
def client(tmp_path):
    """One such, before a server of a local store."""
    with serving(create_app(f"file://{tmp_path}/files?fsync=false")) as running:
        yield Client(running, tmp_path / "files")


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Content-Length: 2000000"], HEAD + b"x" * 600_000),
        ([CHUNKED], _chunk(HEAD + b"x" * 600_000)),
        # All of the form, but not all of the body that was announced.
        (["Content-Length: 2000000"], HEAD + b"x" * 600_000 + TAIL),
    ],
    ids=["with a length", "without", "with more than there is"],
)
def test_a_client_that_goes_half_way_leaves_no_part(client, headers, body):
    """What had come of the part is discarded at once."""
    with client.running.connect() as connection:
        client.send(connection, *headers, body=body)
        until(client.staged)
    client.ends_well()


def test_a_client_that_stops_sending_is_given_up(client, monkeypatch):
    """After a while 408, which the SDK repeats."""
    monkeypatch.setattr(_multipart, "IDLE_SECONDS", 0.05)
    for path, body in (
        (f"/{client.upload}/parts", HEAD + b"x" * 600_000),
        ("", b"{"),
        (f"/{client.upload}/complete", b"{"),
    ):
        with client.running.connect() as connection:
            head = f"POST /v1/uploads{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 700000\r\n"
            connection.sendall(head.encode() + b"Content-Type: multipart/form-data; boundary=edge\r\n\r\n" + body)
            assert _answer(connection) == (408, None)
    monkeypatch.undo()
    client.ends_well()


def test_a_part_without_length_is_stopped_at_the_limit(client, monkeypatch):
    """413 while the client still sends; with a length over the limit before it sends anything."""
    monkeypatch.setattr("holdall.server._assembly.MAX_PART_BYTES", 1_000_000)
    with client.running.connect() as connection:
        client.send(connection, CHUNKED, body=_chunk(HEAD))
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                connection.sendall(_chunk(b"x" * 100_000))
        assert _answer(connection) == (413, "data")
    with client.running.connect() as connection:
        client.send(connection, "Content-Length: 99999999999", "Expect: 100-continue", body=b"")
        assert _answer(connection) == (413, "data")
    client.ends_well()


def test_a_length_that_is_too_small_ends_the_part_there(client):
    """The form is cut off: 400, and no part."""
    with client.running.connect() as connection:
        client.send(connection, f"Content-Length: {len(HEAD) + 2}", body=HEAD + b"hello" + TAIL)
        assert connection.recv(1000).split()[1] == b"400"
    client.ends_well()


@pytest.fixture
def download():
    """A connection on which a large file has been asked for and not been read, its backend and its server."""
    backend = Watched()
    file = FileStore(backend).create("a", b"x" * 40_000_000, purpose="batch")
    with serving(create_app(FileStore(backend))) as running, socket.socket() as connection:
        # Little of it fits into buffers of the system's.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", running.port))
        connection.sendall(f"GET /v1/files/{file.id}/content HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 200"
        yield connection, backend, running


def test_a_client_that_leaves_a_download_ends_the_reading(download):
    """What the storage holds open for it is closed, though nobody reads on."""
    connection, backend, _ = download
    assert not all(stream.closed for stream in backend.streams)
    connection.close()
    until(lambda: all(stream.closed for stream in backend.streams))


def test_a_slow_reader_holds_up_nobody_and_gets_all(download):
    """While it does not read, others are served; then it reads the rest, and the memory of a file is never held."""
    connection, backend, running = download
    for _ in range(20):
        assert len(httpx.get(f"{running.url}/v1/files").json()["data"]) == 1
    assert not all(stream.closed for stream in backend.streams)
    rest = bytearray()
    reader = threading.Thread(
        target=lambda: [rest.extend(data) for data in iter(lambda: connection.recv(1_000_000), b"")]
    )
    reader.start()
    reader.join(60)
    assert rest.partition(b"\r\n\r\n")[2] == b"x" * 40_000_000
