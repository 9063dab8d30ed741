"""`holdall serve --workers`: several processes behind one socket, whichever of them dies, and however it is stopped."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import anyio
import httpx
import pytest
from tests.server._serving import answer_to, begin_upload, until

from holdall import FileStore
from holdall.cli._service import Service
from holdall.cli._worker import READY
from holdall.cli._workers import Workers

TWO = ("--workers", "2")


def _children(process):
    """The processes that this one has started, and that have not ended."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            if fields["PPid"] == str(process.pid) and not fields["State"].startswith("Z"):
                found.append(int(fields["Pid"]))
    return found


def _is_ready(pid):
    """Whether a worker serves: from then on its output is where its errors are, for nobody reads it."""
    try:
        return len({os.readlink(f"/proc/{pid}/fd/{fd}") for fd in (1, 2)}) == 1
    except OSError:
        return False


def _both(process):
    """The two workers, when both serve."""
    until(lambda: [_is_ready(pid) for pid in _children(process)] == [True, True])
    return _children(process)


def _has_ended(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _connect(address):
    return socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), timeout=60)


def _is_closed(address):
    try:
        _connect(address).close()
    except OSError:
        return True
    return False


def test_while_a_worker_is_killed_others_serve_and_another_takes_its_place(serve, store):
    """Every request that comes is answered, and what was acknowledged is there."""
    process, address, _ = serve(*TWO)
    before = _both(process)
    stored = []
    for n in range(10):
        if n == 3:
            os.kill(before[0], signal.SIGKILL)
            until(lambda: _has_ended(before[0]))
        answer = httpx.post(
            f"{address}/v1/files", timeout=60, files={"file": (f"{n}", b"x")}, data={"purpose": "batch"}
        )
        stored.append(answer.raise_for_status().json()["id"])
    after = _both(process)
    assert before[0] not in after
    assert before[1] in after
    assert sorted(file.id for file in store) == sorted(stored)
    process.terminate()
    assert f"worker {before[0]} ended (killed by SIGKILL); another takes its place" in process.stderr.read()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_told_to_stop_it_ends_when_transfers_have_ended(serve, store, workers, number, code):
    """A slow upload goes on to its end and is acknowledged, while nobody can connect any more; connections that rest
    are not waited for. Ctrl-C in a terminal is for all processes of the group, and no second signal to a worker.
    """
    process, address, _ = serve("--workers", workers, "--grace", "600")
    data = os.urandom(2_000_000)
    with httpx.Client(timeout=60) as resting, _connect(address) as connection:
        resting.get(f"{address}/healthz")
        rest = begin_upload(connection, data, sent=1_000_000)
        until(lambda: list(Path(store.url.path).glob(".staging/*/data.bin")))
        os.killpg(process.pid, number)
        until(lambda: _is_closed(address))
        connection.sendall(rest)
        status, body = answer_to(connection)
    assert status == 200
    assert process.wait(60) == code
    assert store.get_content(json.loads(body)["id"]) == data


def test_told_to_stop_it_sends_a_download_to_its_end(serve, store):
    """A client that reads slowly gets the whole file."""
    data = os.urandom(30_000_000)
    file = store.create("a", data, purpose="batch")
    process, address, _ = serve(*TWO, "--grace", "600")
    with httpx.stream("GET", f"{address}/v1/files/{file.id}/content", timeout=60) as answer:
        parts = answer.iter_bytes(100_000)
        received = next(parts)
        process.terminate()
        until(lambda: _is_closed(address))
        received += b"".join(parts)
    assert received == data
    assert process.wait(60) == -signal.SIGTERM


@pytest.mark.parametrize("how", ["--grace 1", "twice"])
def test_transfers_that_take_too_long_are_dropped(serve, store, how):
    """When the time is over, or at a second signal: nothing of them is stored, and all processes have ended. When the
    time is over, nothing is left behind either, and the log says of the request what became of it.
    """
    process, address, _ = serve(*TWO, "--grace", "1" if how == "--grace 1" else "600")
    workers = _both(process)
    with _connect(address) as connection:
        begin_upload(connection, b"x" * 2_000_000, sent=1_000_000)
        until(lambda: list(Path(store.url.path).glob(".staging/*/data.bin")))
        process.terminate()
        if how == "twice":
            until(lambda: _is_closed(address))
            process.terminate()
        assert process.wait(60) == -signal.SIGTERM
    assert all(_has_ended(pid) for pid in workers)
    assert list(store) == []
    if how == "--grace 1":
        assert re.search(r"POST /v1/files .* aborted\n", process.stderr.read())
        assert list(Path(store.url.path, ".staging").iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_a_server_without_workers_at_once(serve, store, number):
    """Whichever signal it is, an upload that would go on for minutes is dropped, and nothing of it is stored."""
    process, address, _ = serve("--grace", "600")
    with _connect(address) as connection:
        begin_upload(connection, b"x" * 2_000_000, sent=1_000_000)
        until(lambda: list(Path(store.url.path).glob(".staging/*/data.bin")))
        process.send_signal(number)
        until(lambda: _is_closed(address))
        process.send_signal(number)
        assert process.wait(60) in {130, -number}
    assert list(store) == []
    assert list(Path(store.url.path, ".staging").iterdir()) == []


def test_a_worker_that_is_stuck_is_killed(serve):
    """One that does not even give up its transfers holds nobody up for ever: a while after the grace time it is killed."""
    process, _, _ = serve(*TWO, "--grace", "1")
    workers = _both(process)
    os.kill(workers[0], signal.SIGSTOP)
    process.terminate()
    assert process.wait(60) == -signal.SIGTERM
    assert all(_has_ended(pid) for pid in workers)
    assert "1 of the workers did not end; they are killed" in process.stderr.read()


def test_workers_end_when_who_watches_them_is_killed(serve):
    """They are nobody's then, and would hold the port for ever."""
    process, address, _ = serve(*TWO)
    workers = _both(process)
    process.kill()
    process.wait()
    until(lambda: all(_has_ended(pid) for pid in workers))
    assert _is_closed(address)


def test_nothing_of_the_store_stands_in_what_others_can_see(serve, store):
    """The command line of a worker has neither its URL nor a key."""
    process, _, _ = serve(*TWO, HOLDALL_API_KEYS="ann:sk-secret")
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes().decode() for pid in _both(process)]
    assert ["holdall.cli._worker" in line for line in lines] == [True, True]
    assert [text for text in (store.url.path, "sk-secret") if text in "".join(lines)] == []


def test_workers_sweep(serve, store):
    """One of them is the first, and the other one finds nothing."""
    past = FileStore(store.backend, clock=lambda: time.time() - 100)
    gone = [Path(store.url.path) / past.create("a", b"", purpose="batch", expires_after=50).id for _ in range(20)]
    kept = store.create("a", b"x", purpose="batch")
    process, _, _ = serve(*TWO, "--sweep-every", "1s")
    until(lambda: not any(entry.exists() for entry in gone))
    assert store.get(kept.id) == kept
    process.terminate()
    assert "cannot sweep" not in process.stderr.read()


def test_metrics_are_of_all_workers_also_of_those_that_have_died(serve, tmp_path):
    """Counts do not go back when a worker is killed; what they are kept in is removed at the end."""
    process, address, line = serve(*TWO, "--metrics-port", "0")
    metrics = re.search(r"metrics at (\S+)$", line.strip())[1]
    killed, _ = _both(process)

    def count():
        found = re.search(
            r'http_requests_total{method="GET",route="/v1/files",status="200"} (\S+)',
            httpx.get(metrics, timeout=60).text,
        )
        return float(found[1]) if found else 0

    for _ in range(8):
        assert httpx.get(f"{address}/v1/files", timeout=60).status_code == 200
    until(lambda: count() == 8)
    os.kill(killed, signal.SIGKILL)
    until(lambda: _has_ended(killed))
    httpx.get(f"{address}/v1/files", timeout=60)
    until(lambda: count() == 9)
    assert len(list(tmp_path.glob("holdall-metrics-*"))) == 1
    process.terminate()
    process.wait(60)
    assert list(tmp_path.glob("holdall-metrics-*")) == []


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        ("memory://", 2, "with 2 workers: each would have files of its own"),
        ("nosuch://x", 2, "nosuch"),
        ("file:///proc/self/nowhere", 1, "/proc/self/nowhere"),
    ],
)
def test_a_store_that_cannot_be_served_is_told_once(program, url, code, told):
    """One line, whatever the number of workers, and no process is left."""
    done = program("serve", url, "--port", "0", *TWO, environment={"HOLDALL_API_KEYS": ""})
    (line,) = done.errors.splitlines()
    assert (done.code, told in line) == (code, True)


def test_workers_that_cannot_start_are_told_once(program, url, tmp_path):
    """What keeps the first from starting would keep all: they are not tried again and again."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\n'holdall.cli._worker' in sys.orig_argv and os._exit(3)\n"
    )
    environment = {"HOLDALL_API_KEYS": "", "PYTHONPATH": str(tmp_path)}
    done = program("serve", url, "--port", "0", *TWO, environment=environment)
    (line,) = done.errors.splitlines()
    assert (done.code, line) == (1, "holdall: cannot serve: a worker ended while it started (exit code 3)")


def test_a_worker_that_cannot_start_later_is_tried_until_it_can(serve, tmp_path):
    """While others serve, nothing ends: a worker that dies when the program is broken has a successor when it is not."""
    (tmp_path / "site").mkdir()
    broken = tmp_path / "site" / "sitecustomize.py"
    process, address, _ = serve(*TWO, PYTHONPATH=str(tmp_path / "site"))
    killed, _ = _both(process)
    broken.write_text("import os, sys\n'holdall.cli._worker' in sys.orig_argv and os._exit(3)\n")
    os.kill(killed, signal.SIGKILL)
    for line in process.stderr:
        if "exit code 3" in line:
            break
    assert httpx.get(f"{address}/v1/files", timeout=60).status_code == 200
    broken.unlink()
    _both(process)
    assert httpx.get(f"{address}/v1/files", timeout=60).status_code == 200


class _Killed:
    """A worker that writes this to its output, and is killed."""

    pid, stdin = 4711, None

    def __init__(self, *output):
        self.stdout = self
        self._output = list(output)

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def receive(self):
        if not self._output:
            raise anyio.EndOfStream
        return self._output.pop(0)

    async def wait(self):
        return -signal.SIGKILL


def _end_after(monkeypatch, *workers):
    """Serve with these workers, one after another, and then be told to end while no more can be started."""
    waiting = list(workers)

    async def start(*_, **__):
        if waiting:
            return waiting.pop(0)
        os.kill(os.getpid(), signal.SIGTERM)
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(anyio, "open_process", start)
    service = Service(
        url="", hosts=None, grace_seconds=0, sweep_seconds=0, max_upload_bytes=None, metrics_host="", metrics_port=None,
        as_json=False, debug=False,
    )  # fmt: skip
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert anyio.run(Workers(service, listener, 1).run, lambda: None) == signal.SIGTERM
    assert not waiting


def test_a_worker_for_which_there_is_no_room_is_tried_again(monkeypatch, caplog):
    """What the system refuses for a moment, such as one more process, is logged, and does not end the service."""
    _end_after(monkeypatch, _Killed(READY))

    assert "worker 4711 ended (killed by SIGKILL); another takes its place" in caplog.text


@pytest.mark.parametrize("output", [(b"hello\n", READY), (b"hello\n" + READY[:2], READY[2:]), (READY + b"hello\n",)])
def test_a_worker_may_print_something_before_it_is_ready(monkeypatch, caplog, output):
    """A plugin that it imports, say: it is ready all the same, and no less than one that is killed later."""
    _end_after(monkeypatch, _Killed(*output))

    assert "worker 4711 ended (killed by SIGKILL); another takes its place" in caplog.text
