"""What a server needs of memory, measured in its process, at its peak: a bound, however large the files are."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from tests.server._serving import Process

pytestmark = pytest.mark.skipif(
    not os.path.exists("/proc/self/clear_refs"), reason="only Linux tells the peak of a process"
)

MIB = 1024 * 1024


@pytest.fixture(params=["local", "s3"])
def url(request, tmp_path):
    """The URL of an empty store of each kind that holds no bytes in memory itself."""
    return (
        f"file://{tmp_path}/files?fsync=false" if request.param == "local" else request.getfixturevalue("s3").url("m")
    )


@pytest.fixture
def size(url):
    """How large the files are; a server of S3 on this machine is slower."""
    return 320 * MIB if url.startswith("file") else 160 * MIB


def test_a_file_goes_in_and_out_in_bounded_memory(url, size, tmp_path):
    """The server needs less than 150 MiB more than when it has nothing to do."""
    with (tmp_path / "large").open("w+b") as large, Process(url) as server, httpx.Client(timeout=300) as client:
        large.truncate(size)
        files, form = f"{server.url}/v1/files", {"data": {"purpose": "vision"}}
        client.post(files, files={"file": ("small", b"x")}, **form).raise_for_status()
        idle = server.memory(peak=False)
        file = client.post(files, files={"file": ("large", large)}, **form).raise_for_status().json()
        receiving = server.memory(peak=True) - idle
        with client.stream("GET", f"{files}/{file['id']}/content") as answer:
            assert sum(map(len, answer.iter_raw(MIB))) == size
        sending = server.memory(peak=True) - idle
    assert max(receiving, sending) < 150 * MIB, f"{receiving // MIB} and {sending // MIB} MiB"


def test_parts_and_their_completion_take_bounded_memory(url, size):
    """However large the file, and with several parts coming in at once, the server needs less than 150 MiB more than
    when it has nothing to do.
    """
    part_size, whole = 32 * MIB, hashlib.md5()
    with Process(url) as server, httpx.Client(timeout=300) as client:

        def post(path, **body):
            return client.post(f"{server.url}/v1/uploads{path}", **body).raise_for_status().json()

        def new(size):
            return post("", json={"bytes": size, "filename": "a", "mime_type": "a/b", "purpose": "vision"})["id"]

        warm = new(0)
        post(f"/{warm}/parts", files={"data": b""})
        post(f"/{warm}/complete", json={"part_ids": []})
        idle = server.memory(peak=False)
        upload, piece = new(size), os.urandom(part_size)
        with ThreadPoolExecutor(3) as pool:
            sent = pool.map(lambda _: post(f"/{upload}/parts", files={"data": piece}), range(size // part_size))
            ids = [part["id"] for part in sent]
        for _ in ids:
            whole.update(piece)
        receiving = server.memory(peak=True) - idle
        done = post(f"/{upload}/complete", json={"part_ids": ids, "md5": whole.hexdigest()})
        completing = server.memory(peak=True) - idle
    assert done["file"]["bytes"] == size
    assert max(receiving, completing) < 150 * MIB, f"{receiving // MIB} and {completing // MIB} MiB"
