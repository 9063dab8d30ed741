"""A disk whose flushes take time can be simulated, or it is said why not."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from benchmarks.cases import threads
from benchmarks.disks import Unavailable, slow_disk
from benchmarks.harness import Run

_FLUSH = 0.05


def test_a_sync_takes_at_least_as_long_as_the_flush(tmp_path):
    """What is synced on it waits for the disk, what is only written does not, and nothing stays mounted."""
    try:
        with slow_disk(tmp_path, flush=_FLUSH, size=2**26) as disk:
            start = time.perf_counter()
            with open(disk / "file", "wb") as file:
                file.write(b"x" * 1024)
                file.flush()
                written = time.perf_counter()
                os.fsync(file.fileno())
            synced = time.perf_counter()
            assert synced - written >= _FLUSH > written - start
            assert str(disk) in Path("/proc/mounts").read_text()
    except Unavailable as error:
        pytest.skip(f"comes with the bench group, libfuse and root: {error}")
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


@pytest.mark.parametrize("lacking", ["mkfs.ext4", "mfusepy"])
def test_what_a_slow_disk_lacks_is_named(tmp_path, monkeypatch, lacking):
    """A run without such a disk measures the rest, and says what there is to install."""
    if lacking == "mkfs.ext4":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, "", ""))
        (tmp_path / "mfusepy.py").write_text("raise ModuleNotFoundError(\"No module named 'mfusepy'\")")
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    run = Run(tmp_path, scale="quick", only=["threads.slow"])
    threads.measure(run)

    assert not run.tables
    assert lacking in run.missing["a disk with slow flushes"]
