"""What `holdall serve` writes while it runs: every line in the one form that was asked for."""

from __future__ import annotations

import json
import logging
import re
import socket
import sys

import httpx
import pytest

from holdall.cli import _secrets
from holdall.cli._logs import _JsonLines, _TextLines, log_everything
from holdall.server._request_id import current_request_id


def _until_line(process, wanted):
    """The lines up to the one that has this, which is the last."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if wanted in line:
            return lines
    raise AssertionError(f"no {wanted!r} in {lines}")


def test_every_line_is_an_object_also_of_the_servers_own_errors(serve, store, tmp_path):
    """Requests, failures with their traceback and the id of their request, and what uvicorn has to say."""
    file = store.create("a", b"x", purpose="batch")
    process, address, line = serve("--log-format", "json")
    assert json.loads(line)["message"].startswith(f"serving {address}/v1")

    answer = httpx.get(f"{address}/v1/files/{file.id}", timeout=60, headers={"X-Request-Id": "mine"})
    assert answer.status_code == 200
    (tmp_path / "store" / file.id / "meta.json").write_text("{")
    httpx.get(f"{address}/v1/files/{file.id}", timeout=60, headers={"X-Request-Id": "fails"})
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as connection:
        connection.sendall(b"no HTTP\r\n\r\n")
        assert b" 400 " in connection.recv(1000)

    first, failed, second, rubbish = map(json.loads, _until_line(process, "uvicorn.error"))
    assert (first["logger"], first["request_id"], first["status"]) == ("holdall.access", "mine", 200)
    assert (first["message"], first["aborted"]) == (f"GET /v1/files/{file.id} 200", False)
    assert (failed["logger"], failed["level"], failed["request_id"]) == ("holdall.server", "ERROR", "fails")
    assert "CorruptMetadata" in failed["exception"]
    assert (second["status"], second["request_id"]) == (500, "fails")
    assert (rubbish["level"], "request_id" in rubbish) == ("WARNING", False)
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", one["time"]) for one in (first, failed, rubbish))


def test_as_text_a_request_is_a_line(serve):
    """With its time, level and logger before it."""
    process, address, _ = serve()
    httpx.get(f"{address}/v1/files", timeout=60, headers={"X-Request-Id": "mine"})
    (line,) = _until_line(process, "mine")
    assert re.fullmatch(
        r"\S+Z INFO holdall\.access: GET /v1/files 200 in=0 .* id=mine tenant=- client=127\.0\.0\.1\n", line
    )


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_keeps_it_from_starting_is_one_line(program, log_format):
    """In the form of the log, with the exit code of a failure."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = program("serve", "memory://", "--port", port, "--log-format", log_format)
    (line,) = done.errors.splitlines()
    assert (done.code, f"port {port}" in line) == (1, True)
    if log_format == "json":
        assert json.loads(line)["level"] == "CRITICAL"


@pytest.mark.parametrize("formatter", [_JsonLines(), _TextLines()], ids=["json", "text"])
def test_no_line_has_a_secret_or_what_a_terminal_would_obey(monkeypatch, formatter):
    """Neither in the message nor in the traceback, whoever logs it."""
    monkeypatch.setattr(_secrets, "_arguments", ["s3://key:hidden@bucket/files"])
    try:
        raise LookupError("cannot reach s3://key:hidden@bucket")
    except LookupError:
        failure = sys.exc_info()
    record = logging.LogRecord("other", logging.ERROR, "x", 1, "s3://key:hidden@bucket \x1b[2J\nfailed", (), failure)
    token = current_request_id.set("mine")
    text = formatter.format(record)
    current_request_id.reset(token)
    assert "hidden" not in text
    assert "LookupError" in text
    assert "mine" in text
    assert "\x1b" not in text
    lines = text.splitlines()
    assert len(lines) == 1 or all(line.startswith("    ") for line in lines[1:])


def test_clients_of_storages_never_log_what_they_sign(monkeypatch):
    """They do at DEBUG, so only holdall's own loggers go down to that."""
    root, ours = logging.getLogger(), logging.getLogger("holdall")
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(ours, "handlers", [])
    monkeypatch.setattr(ours, "propagate", ours.propagate)
    before = root.level, ours.level
    try:
        for debug, others, own in ((True, logging.INFO, logging.DEBUG), (False, logging.WARNING, logging.INFO)):
            log_everything(as_json=False, debug=debug)
            assert logging.getLogger("a.client").getEffectiveLevel() == others
            assert logging.getLogger("holdall.server").getEffectiveLevel() == own
    finally:
        root.setLevel(before[0])
        ours.setLevel(before[1])
        logging.captureWarnings(False)


def test_a_traceback_cannot_control_a_terminal():
    """What an error quotes may come from a client: each line of it is escaped, and indented."""
    try:
        raise ValueError("a\x1b[2Jb\r")
    except ValueError:
        record = logging.LogRecord("holdall.server", logging.ERROR, "", 0, "failed", (), sys.exc_info())
    lines = _TextLines().format(record).split("\n")
    assert lines[-1] == "    ValueError: a\\x1b[2Jb"
    assert all(line.isprintable() for line in lines)
