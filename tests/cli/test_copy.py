"""`copy`: what the command says and how it ends; what it does is in tests/transfer."""

from __future__ import annotations

import filecmp
import signal
import subprocess
import sys

import pytest


@pytest.fixture
def files(store):
    """Three files."""
    return [store.create("x", b"x" * size, purpose="batch") for size in (1, 2048, 0)]


def test_copy_moves_all_and_skips_what_is_there(run, url, files, tmp_path):
    """The first run copies, the second skips; both directories then hold the same bytes."""
    target = tmp_path / "target"

    assert run("copy", url, target).text == "3 copied (2.0 KiB), 0 already there, 0 failed\n"
    assert run("copy", url, target).text == "0 copied (0 B), 3 already there, 0 failed\n"
    for file in files:
        same = filecmp.cmpfiles(
            tmp_path / "store" / file.id, target / file.id, ["data.bin", "meta.json"], shallow=False
        )
        assert same == (["data.bin", "meta.json"], [], [])


def test_copy_as_json(run, url, files, tmp_path):
    """--json gives one object with the counts."""
    done = run("copy", url, tmp_path / "target", "--json")

    assert done.json == {"ok": True, "copied": 3, "skipped": 0, "expired": 0, "bytes": 2049, "failures": []}


def test_copy_names_each_file_that_failed(run, url, files, tmp_path):
    """A file that could not be copied stands on standard error with the reason; the rest is copied: code 1."""
    (tmp_path / "store" / files[1].id / "data.bin").write_bytes(b"?")
    done = run("copy", url, tmp_path / "target")
    again = run("copy", url, tmp_path / "target", "--json")

    assert (done.code, done.text) == (1, "2 copied (1 B), 0 already there, 1 failed\n")
    assert done.errors.startswith(f"holdall: not copied: {files[1].id} is damaged in the source")
    assert again.code == 1
    assert [failure["file_id"] for failure in again.json["failures"]] == [files[1].id]


def test_copy_to_itself_is_wrong_usage(run, url, files):
    """The same URL twice is code 2."""
    done = run("copy", url, url + "/")

    assert (done.code, done.output) == (2, b"")
    assert "two different stores" in done.errors


STOPPING = """
import sys, threading
from holdall.backends.local._staging import LocalStagedFile
from holdall.cli import main

written = []
write = LocalStagedFile.write

def stop_at_the_third(self, chunk):
    write(self, chunk)
    written.append(chunk)
    if len(written) == 3:
        print("ready", flush=True)
        threading.Event().wait()

LocalStagedFile.write = stop_at_the_third
sys.exit(main(sys.argv[1:]))
"""


def test_an_interrupted_copy_resumes(url, store, run, tmp_path):
    """Ctrl-C in the middle of a file is quiet, leaves a sound target, and the next run does the rest."""
    for _ in range(5):
        store.create("x", b"x", purpose="batch")
    target = tmp_path / "target"
    with subprocess.Popen(
        [sys.executable, "-c", STOPPING, "copy", url, str(target)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)

    assert (process.returncode, output, errors) == (130, b"", b"")
    assert run("-s", target, "verify", "--older-than", "0").text == "2 files, 2 B read, no problem\n"
    assert run("copy", url, target).text == "3 copied (3 B), 2 already there, 0 failed\n"
