"""Uploaders that are killed at any moment leave no file that is not whole, and nothing that a sweep does not find.

HOLDALL_KILLS says how often, for each driver; twelve times by default.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from s3_raw import S3Raw
from tests.storage.conftest import url_of

import holdall

KILLS = int(os.environ.get("HOLDALL_KILLS", "12"))
MIB = 1024 * 1024
SIZES = [12 * MIB, 1000, 6 * MIB]


@pytest.mark.timeout(100 + 10 * KILLS)
def test_killed_at_any_moment(seaweedfs_server, scheme):
    """What was reported as stored is there, whole; nothing else is seen; sweep leaves no object and no unfinished upload.

    obstore cannot list unfinished uploads: there, the sweep by holdall-s3 of the same bucket removes them.
    """
    prefix = f"kills/{uuid.uuid4().hex}"
    url = url_of(seaweedfs_server, scheme, prefix, part_size="5MiB")
    raw = S3Raw(seaweedfs_server, prefix)
    stored, seed = [], random.randrange(1 << 32)
    rng = random.Random(seed)
    for _ in range(KILLS):
        command = [sys.executable, str(Path(__file__).with_name("uploader.py")), url, *map(str, SIZES)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            # After some steps that it tells of, and some thousand turns of this loop after that.
            for _ in range(rng.randrange(1, 40)):
                stored += _told(child.stdout.readline())
            for _ in range(rng.randrange(200_000)):
                pass
            child.kill()
            stored += [i for line in child.stdout for i in _told(line)]
    with holdall.open_store(url) as store, holdall.open_store(url_of(seaweedfs_server, "s3", prefix)) as other:
        files = list(store)
        # One more than was told of, if the kill came between the commit and the word of it.
        assert {f.id for f in files} >= set(stored), seed
        assert len(files) <= len(stored) + KILLS, seed
        assert store.verify().problems == (), seed
        assert all(f.bytes in SIZES and f.sha256 for f in files), seed
        store.sweep(older_than=0)
        other.sweep(older_than=0)
        assert sorted(raw.keys()) == sorted(raw.key(f.id, n) for f in files for n in ("data.bin", "meta.json")), seed
        assert raw.uploads() == [], seed
        assert [f.id for f in store] == [f.id for f in files], seed
    raw.clear()


def _told(line):
    word, _, rest = line.strip().partition(" ")
    return [rest] if word == "stored" else []
