"""What dead writes leave is found and removed, what lives or is published is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid

import pytest
from obstore_servers import Server

from holdall import open_store


@pytest.fixture(params=["memory", "file", "s3"])
def store(request, tmp_path, weed_s3: Server, prefix):
    """A store of each kind."""
    kinds = {
        "memory": f"memory+obstore://{uuid.uuid4()}",
        "file": f"file+obstore://{tmp_path}/root",
        "s3": weed_s3.url(prefix),
    }
    with open_store(kinds[request.param]) as store:
        yield store


def test_bytes_without_metadata_are_swept_once_they_are_old(store):
    """Not before the time of grace; and what is whole stays."""
    kept = store.create("a.txt", b"kept", purpose="user_data")
    store.backend.store.put(store.backend.data_key("file-dead"), b"half a file")
    (found,) = store.backend.debris()
    assert (found.file_id, found.bytes) == ("file-dead", 11)
    assert abs(found.modified_at - time.time()) < 600
    assert store.sweep(older_than=3600).leftovers == ()
    assert store.sweep(older_than=-0).leftovers == (found,)
    assert list(store.backend.debris()) == []
    assert store.get_content(kept.id) == b"kept"


def test_a_write_of_this_process_that_lives_is_no_debris(store):
    """Between its bytes and its metadata, where another process would see bytes only."""
    staged = store.backend.stage("file-live")
    staged.write(b"x" * 10)
    staged._put_data()
    assert list(store.backend.debris()) == []
    staged.publish(b"{}")
    assert store.backend.read_meta("file-live") == b"{}"


def test_what_was_published_since_it_was_seen_stays(store):
    """Looked at again before it is removed."""
    backend = store.backend
    backend.store.put(backend.data_key("file-late"), b"bytes")
    (found,) = backend.debris()
    backend.store.put(backend.meta_key("file-late"), b"{}")
    backend.discard_debris(found)
    with backend.open_data("file-late") as stream:
        assert stream.read() == b"bytes"


def test_debris_that_is_gone_is_no_error(store):
    """Two sweeps at once."""
    store.backend.store.put(store.backend.data_key("file-dead"), b"half a file")
    (found,) = store.backend.debris()
    store.backend.discard_debris(found)
    store.backend.discard_debris(found)


def test_what_is_not_ours_is_left_alone(store):
    """Objects under other names are neither listed nor swept."""
    names = ["notes/data.bin", "file-x.y/data.bin", "file-abc/other.bin", "README"]
    for name in names:
        store.backend.store.put(f"{store.backend._prefix}{name}", b"not ours")
    assert list(store) == []
    assert store.sweep(older_than=0).leftovers == ()
    assert len(list(store.backend._objects())) == len(names)


def test_a_killed_upload_in_parts_leaves_what_sweep_removes(tmp_path):
    """file+obstore: the part that was being written is found beside the entries' files, and its directory too."""
    program = """
import os, signal, sys, holdall
def source():
    for _ in range(20):
        yield b"x" * 2**20
    os.kill(os.getpid(), signal.SIGKILL)
holdall.open_store(sys.argv[1]).create("a.bin", source(), purpose="user_data")
"""
    url = f"file+obstore://{tmp_path}"
    died = subprocess.run([sys.executable, "-c", program, url], timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL
    store = open_store(url)
    assert list(store) == []
    (folder,) = os.listdir(tmp_path)
    assert os.listdir(tmp_path / folder) == ["data.bin#1"]
    assert [d.kind for d in store.sweep(older_than=0).leftovers] == ["unfinished write"]
    assert os.listdir(tmp_path) == []
