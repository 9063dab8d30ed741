"""Standard output as a target."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

BYTES = bytes(range(256)) * 1000 + b"\r\n\x00\x1a"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory to be in."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@pytest.mark.parametrize("options", [[], ["--json"], ["--force"]])
def test_get_to_standard_output_is_the_bytes_alone(program, url, store, here, options):
    """- is standard output, and nothing that is said of the download stands among its bytes."""
    file = store.create("a", BYTES, purpose="batch")
    done = program("-s", url, "get", file.id, "-o", "-", *options)

    assert (done.code, done.errors) == (0, "")
    assert done.output == BYTES
    assert os.listdir(here) == []


def test_get_into_a_device_or_pipe(program, url, store, here):
    """What is no regular file is written to, never replaced by one."""
    file = store.create("a", BYTES, purpose="batch")
    os.symlink("/dev/stdout", "out")
    done = program("-s", url, "get", file.id, "--force", "-o", "out")

    assert done.code == 0
    assert done.output == BYTES
    assert os.path.islink("out")


def test_get_to_standard_output_by_its_name(url, store, here):
    """A link that leads to our output stays a link, also where that output is a regular file that others write to."""
    file = store.create("a", BYTES, purpose="batch")
    os.symlink("/proc/self/fd/1", "stdout")
    with open("got", "ab") as got:
        got.write(b"before ")
        got.flush()
        command = [sys.executable, "-m", "holdall.cli", "-s", url, "get", file.id, "--force", "-o", "stdout"]
        subprocess.run(command, stdout=got, timeout=60, check=True)

    assert (here / "got").read_bytes() == b"before " + BYTES
    assert os.path.islink("stdout")
