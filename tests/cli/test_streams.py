"""Standard input as a source, and standard output as a target."""

from __future__ import annotations

import os
import resource
import select
import subprocess
import sys
import types

import pytest

BYTES = bytes(range(256)) * 1000 + b"\r\n\x00\x1a"


def test_put_waits_for_standard_input_that_does_not_block(run, url, store, monkeypatch):
    """A pipe that whoever started the program made non-blocking is read to its end, however late its bytes come."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    pieces = [b"late", b"later"]

    def wait(*_):
        # Asked for when there is nothing to read.
        if pieces:
            os.write(writing, pieces.pop(0))
        else:
            os.close(writing)

    monkeypatch.setattr(select, "select", wait)
    with open(reading, "rb") as data:
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=data))
        done = run("-s", url, "put", "-")

    assert (done.code, done.errors) == (0, "")
    assert store.get_content(done.text.strip()) == b"latelater"


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["cat", "{id}"], ["cat", "{id}", "--range", "1:"], ["ls"], ["ls", "--json"]])
def test_output_for_which_there_is_no_room_is_an_error(program, url, store, here, arguments, unbuffered):
    """What could be written only in part exits with 1, also where Python was told not to buffer it."""
    file = store.create("n" * 4096, BYTES, purpose="batch")
    with open("got", "wb") as got:
        done = program(
            *("-s", url, *(argument.format(id=file.id) for argument in arguments)),
            stdout=got,
            environment={"PYTHONUNBUFFERED": unbuffered},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        )

    assert (done.code, done.errors) == (1, "holdall: File too large\n")
    assert os.path.getsize("got") == 1000


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
