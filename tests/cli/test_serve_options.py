"""The options of `holdall serve` from the environment, its limits, and the example of a unit for systemd."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests._markdown import ROOT

from holdall.cli._workers import _STUCK_SECONDS

UNIT = ROOT / "examples" / "holdall.service"


@pytest.fixture
def options(run):
    """The long options that the help of `serve` has, and the variables that it names."""
    text = run("serve", "--help").text
    return set(re.findall(r"^ .*?(--[a-z-]+)", text, re.MULTILINE)), set(re.findall(r"HOLDALL_SERVE_[A-Z_]+", text))


def _of_the_unit(name):
    return [line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith(f"{name}=")]


def test_each_option_may_come_from_a_variable_of_its_name(options):
    """`--metrics-port` from HOLDALL_SERVE_METRICS_PORT, and so on; the help says so."""
    names, variables = options
    own = names - {"--store", "--debug", "--help"}
    assert {"--port", "--workers", "--max-bytes"} < own
    assert {f"HOLDALL_SERVE_{name[2:].replace('-', '_').upper()}" for name in own} == variables


def test_a_variable_is_as_good_as_the_option_which_wins_over_it(serve):
    """With both, what is written on the command line holds."""
    _, _, line = serve("--workers", "1", HOLDALL_SERVE_LOG_FORMAT="json", HOLDALL_SERVE_WORKERS="2")
    assert "workers" not in json.loads(line)["message"]


@pytest.mark.parametrize(("variable", "value"), [("HOLDALL_SERVE_PORT", "many"), ("HOLDALL_SERVE_SWEEP_EVERY", "soon")])
def test_a_variable_that_is_wrong_is_wrong_usage(program, variable, value):
    """The message names the option, and the variable or what it says."""
    done = program("serve", "memory://", environment={variable: value})
    (line,) = done.errors.splitlines()
    assert (done.code, variable in line or value in line) == (2, True)
    assert re.search("--port|--sweep-every", line)


@pytest.mark.parametrize("size", ["0", "much", "-1", ""])
def test_a_size_that_is_none_is_wrong_usage(program, size):
    """Nothing is served then."""
    done = program("serve", "memory://", f"--max-bytes={size}")
    assert (done.code, "--max-bytes" in done.errors) == (2, True)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_largest_file_is_so_at_once_and_in_parts(serve, workers):
    """What is larger is refused, whichever way it comes and whichever process it meets."""
    _, address, _ = serve("--max-bytes", "2KiB", "--workers", workers)
    for size, status in ((2048, 200), (2049, 413)):
        answer = httpx.post(
            f"{address}/v1/files", timeout=60, files={"file": ("a", b"x" * size)}, data={"purpose": "batch"}
        )
        assert answer.status_code == status
        wanted = {"bytes": size, "filename": "a", "mime_type": "a/b", "purpose": "batch"}
        answer = httpx.post(f"{address}/v1/uploads", timeout=60, json=wanted)
        assert (answer.status_code == 200) == (status == 200)


def test_the_unit_for_systemd_is_valid(tmp_path):
    """Systemd itself finds nothing wrong with it; where the program is, is the only thing that differs here."""
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("there is no systemd-analyze here")
    program = Path(sys.executable).with_name("holdall")
    unit = tmp_path / "holdall.service"
    unit.write_text(UNIT.read_text().replace("/usr/local/bin/holdall", str(program)))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_asks_for_what_there_is(options):
    """Its command and its variables are those of the program, and systemd waits longer than the slowest end takes."""
    _, variables = options
    given = dict(line.split("=", 1) for line in _of_the_unit("Environment"))
    assert _of_the_unit("ExecStart") == ["/usr/local/bin/holdall serve"]
    assert set(given) - {"HOLDALL_STORE", "HOLDALL_API_KEYS_FILE"} <= variables
    assert int(_of_the_unit("TimeoutStopSec")[0]) > int(given["HOLDALL_SERVE_GRACE"]) + _STUCK_SECONDS


def test_what_the_unit_says_is_what_serves(serve, run, tmp_path):
    """With its variables, but for where files lie and which ports are free, the service comes up and lets in its tenant."""
    keys = tmp_path / "keys"
    key = run("key", "alice", "--file", keys).text.strip()
    given = dict(line.split("=", 1) for line in _of_the_unit("Environment"))
    here = {
        "HOLDALL_STORE": str(tmp_path / "files"),
        "HOLDALL_API_KEYS_FILE": str(keys),
        "HOLDALL_SERVE_METRICS_PORT": "0",
    }
    _, address, line = serve(**given | here)
    told = json.loads(line)["message"]
    assert "with 2 workers; metrics at http://127.0.0.1:" in told
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx.get(f"{address}/v1/files", timeout=60, headers=headers).status_code == 200


def test_without_keys_the_names_of_other_sites_are_refused(serve):
    """The program tells the server its names: a site that lets its own stand for this machine gets nothing."""
    _, address, _ = serve()
    for host, status in (("evil.example", 403), ("localhost:1", 200), ("127.0.0.1:1", 200), ("[::1]:1", 200)):
        assert httpx.get(f"{address}/v1/files", headers={"Host": host}).status_code == status, host


def test_workers_together_sweep_as_often_as_one(run, url, monkeypatch):
    """Each of three waits three times as long; the limit of sizes holds for each."""
    from holdall.cli import _serving

    given = []
    monkeypatch.setattr(_serving, "serve_together", lambda service, *_: given.append(service))
    monkeypatch.setattr("holdall.cli._logs.log_everything", lambda **_: None)
    run("serve", url, "--port", "0", "--workers", "3", "--sweep-every", "10m", "--max-bytes", "5MiB")
    (service,) = given
    assert (service.sweep_seconds, service.max_upload_bytes) == (3 * 600, 5 * 2**20)
    assert service.url.endswith("max_bytes=5242880")
