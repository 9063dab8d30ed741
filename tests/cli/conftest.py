"""Fixtures to run the program, within this process or as a separate one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys

import pytest

import holdall
from holdall.cli import main


@dataclasses.dataclass(frozen=True)
class Done:
    """The result of a run of the program."""

    code: int
    output: bytes
    errors: str

    @property
    def text(self):
        return self.output.decode()

    @property
    def json(self):
        return json.loads(self.output)


@pytest.fixture
def url(tmp_path, monkeypatch):
    """The URL of an empty store; no other store is configured."""
    monkeypatch.delenv("HOLDALL_STORE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return (tmp_path / "store").as_uri()


@pytest.fixture
def store(url):
    """The store at `url`, to prepare and inspect it."""
    with holdall.open_store(url) as opened:
        yield opened


@pytest.fixture
def run(capfdbinary, url):
    """Run the program in this process: `run("ls", "--json")`."""

    def call(*arguments):
        capfdbinary.readouterr()
        code = main([str(argument) for argument in arguments])
        output, errors = capfdbinary.readouterr()
        return Done(code, output, errors.decode())

    return call


@pytest.fixture
def program(url):
    """Run the program in a separate process: `program("cat", file_id, stdin=b"...")`."""

    def call(*arguments, stdin=b"", stdout=subprocess.PIPE, environment=None, **options):
        done = subprocess.run(
            [sys.executable, "-m", "holdall.cli", *map(str, arguments)],
            input=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            timeout=60,
            check=False,
            **options,
        )
        return Done(done.returncode, done.stdout or b"", done.stderr.decode())

    return call


@pytest.fixture
def serve(url, tmp_path):
    """Starts `holdall serve` on a free port; returns the process, its address, and its first line of output."""
    with contextlib.ExitStack() as stack:

        def start(*options, **variables):
            command = [sys.executable, "-m", "holdall.cli", "serve", url, "--port", "0", *options]
            # It is killed at the end, and cannot remove its temporary files itself.
            ours = {"HOLDALL_API_KEYS": "", "HOLDALL_API_KEYS_FILE": "", "TMPDIR": str(tmp_path)}
            environment = os.environ | ours | variables
            # In a process group of its own, as a shell starts it: `os.killpg` is Ctrl-C.
            process = stack.enter_context(
                subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, process_group=0)
            )
            stack.callback(process.kill)
            line = process.stderr.readline()
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
            assert address, line + process.stderr.read()
            return process, address[0], line

        yield start


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty directory as the current one."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory
