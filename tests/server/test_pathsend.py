"""Downloads by a server that sends local files by itself: Granian, which has `http.response.pathsend`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import subprocess
import sys

import httpx
import openai
import pytest
from tests.server._serving import until

PROGRAM = """
import asyncio, sys
from granian.constants import Interfaces
from granian.server.embed import Server
from holdall.server import create_app

app = create_app(sys.argv[1])

async def telling(scope, receive, send):
    async def tell(message):
        if message["type"] == "http.response.pathsend":
            print("by path", flush=True)
        await send(message)

    await app(scope, receive, tell)

asyncio.run(Server(telling, interface=Interfaces.ASGI, port=int(sys.argv[2]), log_enabled=False).serve())
"""


@pytest.fixture
def granian(tmp_path):
    """The base URL of such a server before an empty local store, and the words it says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "files"), str(port)]
    said = tmp_path / "said"
    with said.open("wb") as output, subprocess.Popen(command, stdout=output) as process:
        try:
            until(lambda: _answers(port) or process.poll() is not None)
            yield f"http://127.0.0.1:{port}/v1", said
        finally:
            process.kill()


def _answers(port):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200


def test_whole_files_are_sent_by_the_server_and_the_rest_by_us(granian):
    """Every byte and header is the same: a whole file by its path, ranges and small files as everywhere; and the SDK
    uploads and downloads as with any other server.
    """
    url, said = granian
    big = os.urandom(3_000_000)
    with openai.OpenAI(base_url=url, api_key="x", max_retries=0) as client:
        file = client.files.create(file=('ä "1".bin', big, "image/png"), purpose="vision")
        small = client.files.create(file=("small", b"x"), purpose="vision")
        assert said.read_text() == ""

        whole = httpx.get(f"{url}/files/{file.id}/content")
        assert whole.content == big
        assert said.read_text() == "by path\n"
        assert {name: whole.headers[name] for name in ("content-length", "content-type", "etag", "accept-ranges")} == {
            "content-length": str(len(big)),
            "content-type": "image/png",
            "etag": f'"{hashlib.sha256(big).hexdigest()}"',
            "accept-ranges": "bytes",
        }
        assert "filename*=UTF-8''" in whole.headers["content-disposition"]

        part = httpx.get(f"{url}/files/{file.id}/content", headers={"Range": "bytes=1-2000000"})
        assert (part.status_code, part.content) == (206, big[1:2_000_001])
        assert httpx.get(f"{url}/files/{small.id}/content").content == b"x"
        assert httpx.head(f"{url}/files/{file.id}/content").headers["content-length"] == str(len(big))
        assert said.read_text() == "by path\n"

        done = client.uploads.upload_file_chunked(
            file=big, filename="a", bytes=len(big), mime_type="a/b", purpose="vision", part_size=1_000_000
        )
        assert client.files.content(done.file.id).read() == big
        assert said.read_text() == "by path\n" * 2
        client.files.delete(file.id)
        assert httpx.get(f"{url}/files/{file.id}/content").status_code == 404
