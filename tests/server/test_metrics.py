"""What is counted for Prometheus: requests, the storage below them, sweeps; and what never becomes a label."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time

import anyio
import anyio.lowlevel
import httpx
import prometheus_client
import pytest
from fastapi.responses import Response
from prometheus_client.parser import text_string_to_metric_families
from starlette.middleware import Middleware
from tests.server._serving import KEY, begin_upload, serving, until

import holdall
from holdall import FileStore, errors
from holdall.backends.memory import MemoryBackend
from holdall.server import Keys, Metrics, create_app
from holdall.server._exchange import Exchange, Watch
from holdall.server._measured import Measured, kind_of
from holdall.server._metrics import exposed
from holdall.server._sweeper import Swept
from holdall.upkeep import SweepReport

LABELS = ("method", "route", "status", "store", "operation", "error", "outcome", "kind")
REQUESTS = "holdall_http_requests_total"
OPERATIONS = "holdall_store_operation_seconds_count"


def _samples(metrics):
    """Every number that is there but of buckets, by its name and the values of its labels."""
    text = prometheus_client.generate_latest(metrics.registry).decode()
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples if "le" not in sample.labels]
    return {(s.name, *[s.labels[name] for name in LABELS if name in s.labels]): s.value for s in samples}


def test_requests_are_counted_by_method_route_and_status():
    """With the bytes of both bodies and the time; ids become the route's template, and what is no route is one."""
    metrics = Metrics()
    with serving(create_app("memory://", metrics=metrics)) as running, httpx.Client(base_url=running.url) as client:
        data = os.urandom(600_000)
        file = client.post("/v1/files", files={"file": ("a", data)}, data={"purpose": "batch"}).json()
        for path in (f"/v1/files/{file['id']}/content", f"/v1/files/{file['id']}/content", "/v1/files/no", "/x", "/y"):
            client.get(path)
        client.get("/v1/files/a/b")
        client.put("/v1/files")
        client.request("PROPFIND", "/v1/files")
    found = _samples(metrics)
    content = ("GET", "/v1/files/{file_id}/content")
    assert found["holdall_http_received_bytes_total", "POST", "/v1/files"] == pytest.approx(600_000, abs=2000)
    assert found["holdall_http_sent_bytes_total", *content] == 1_200_000
    assert found["holdall_http_request_seconds_count", *content] == 2
    assert found["holdall_http_requests_in_progress",] == 0
    assert {key[1:]: value for key, value in found.items() if key[0] == REQUESTS} == {
        ("POST", "/v1/files", "200"): 1,
        (*content, "200"): 2,
        ("GET", "/v1/files/{file_id}", "404"): 2,
        ("GET", "other", "404"): 2,
        ("PUT", "/v1/files", "405"): 1,
        ("other", "/v1/files", "405"): 1,
    }


def test_no_label_is_of_a_tenants_a_files_or_a_clients_making():
    """Whoever asks for whatever: the labels are the same few."""
    metrics, keys = Metrics(), Keys(f"ann:{KEY},ben:sk-of-ben")
    with serving(create_app("memory://", keys=keys, metrics=metrics)) as running:
        for key in (KEY, "sk-of-ben", "sk-of-nobody"):
            with httpx.Client(base_url=f"{running.url}/v1", headers={"Authorization": f"Bearer {key}"}) as client:
                file = client.post("/files", files={"file": ("secret.txt", b"x")}, data={"purpose": "batch"}).json()
                for path in ("/files", f"/files/{file.get('id')}", "/files?after=secret", "/secret"):
                    client.get(path)
    text = prometheus_client.generate_latest(metrics.registry).decode()
    assert [word for word in ("ann", "ben", "secret", "file-", "sk-", "127.0.0.1") if word in text] == []
    assert 'status="401"' in text


def test_a_request_is_in_progress_until_it_ends_and_one_whose_client_goes_is_counted(served_with):
    """An upload half-way is in progress; when its client goes, it is over, and told as aborted."""
    metrics = Metrics()
    with served_with(metrics=metrics) as running:
        connection = running.connect()
        begin_upload(connection, b"x" * 2_000_000, sent=1_000_000)
        until(lambda: _samples(metrics)["holdall_http_requests_in_progress",] == 1)
        connection.close()
        until(lambda: _samples(metrics)["holdall_http_requests_in_progress",] == 0)
    assert _samples(metrics)["holdall_http_aborted_total", "POST", "/v1/files"] == 1


def test_a_download_that_is_cut_off_is_told_as_aborted(served_with):
    """What was sent before is counted, and that the rest was not."""
    metrics = Metrics()
    with served_with(metrics=metrics) as running:
        form = {"files": {"file": ("a", b"x" * 30_000_000)}, "data": {"purpose": "batch"}}
        file = httpx.post(f"{running.url}/v1/files", **form).json()
        route = ("GET", "/v1/files/{file_id}/content")
        with httpx.stream("GET", f"{running.url}/v1/files/{file['id']}/content") as answer:
            next(answer.iter_raw(1000))
        until(lambda: ("holdall_http_aborted_total", *route) in _samples(metrics))
    assert 0 < _samples(metrics)["holdall_http_sent_bytes_total", *route] < 30_000_000


def test_calls_on_the_storage_are_counted_and_their_errors_by_kind(monkeypatch):
    """Of files and of uploads apart; an error of the storage's client is told as what holdall makes of it."""
    metrics = Metrics()

    def full(self, file_id):
        raise OSError(errno.ENOSPC, "full")

    with serving(create_app("memory://", metrics=metrics)) as running, httpx.Client(base_url=running.url) as client:
        form = {"files": {"file": ("a", b"x")}, "data": {"purpose": "batch"}}
        file = client.post("/v1/files", **form).json()
        client.get(f"/v1/files/{file['id']}/content")
        client.get("/v1/files")
        client.get("/v1/files/file-none")
        client.post("/v1/uploads", json={"bytes": 1, "filename": "a", "mime_type": "a/b", "purpose": "batch"})
        monkeypatch.setattr(MemoryBackend, "stage", full)
        assert client.post("/v1/files", **form).status_code == 507
    found = _samples(metrics)
    assert {key[1:]: value for key, value in found.items() if key[0] == "holdall_store_errors_total"} == {
        ("files", "read_meta", "FileNotFound"): 1,
        ("files", "stage", "StorageFull"): 1,
    }
    counts = {key[1:]: value for key, value in found.items() if key[0] == OPERATIONS}
    assert counts["files", "stage"] == 2
    assert counts["files", "publish"] == counts["uploads", "publish"] == 1
    assert counts["files", "open_data"] == 1
    assert counts["files", "list_ids"] >= 1


@pytest.mark.parametrize("metrics", [None, Metrics()], ids=["without", "with"])
def test_measuring_moves_nothing(tmp_path, metrics):
    """Files and uploads lie where they lie without it."""
    keys = Keys(f"ann:{KEY}")
    client = httpx.Client(headers={"Authorization": f"Bearer {KEY}"})
    with serving(create_app(str(tmp_path), keys=keys, metrics=metrics)) as running, client:
        file = client.post(f"{running.url}/v1/files", files={"file": ("a", b"x")}, data={"purpose": "batch"}).json()
        wanted = {"bytes": 1, "filename": "a", "mime_type": "a/b", "purpose": "batch"}
        upload = client.post(f"{running.url}/v1/uploads", json=wanted).json()
    assert (tmp_path / "ann" / file["id"]).is_dir()
    assert (tmp_path / "ann" / ".uploads" / f"file-{upload['id'].removeprefix('upload_')}").is_dir()


def test_sweeps_are_counted():
    """How many were done and failed, what they removed, and when the last one was done."""
    metrics, now = Metrics(), time.time()
    debris = holdall.backend.Debris("a", "b", None, 5, 0)
    metrics.swept(Swept("files", SweepReport(("file-1", "file-2"), (debris,), dry_run=False)))
    metrics.swept(Swept("files", None))
    found = _samples(metrics)
    assert found["holdall_sweeps_total", "files", "done"] == found["holdall_sweeps_total", "files", "failed"] == 1
    assert found["holdall_sweep_removed_total", "files", "expired"] == 2
    assert found["holdall_sweep_removed_total", "files", "leftover"] == 1
    assert found["holdall_sweep_last_success_timestamp_seconds", "files"] >= now


def test_the_application_counts_its_own_sweeps():
    """A sweep in the background is one of those counted, for each kind of store."""
    metrics = Metrics()
    with serving(create_app("memory://", metrics=metrics, sweep_seconds=0.01)):
        until(lambda: ("holdall_sweeps_total", "uploads", "done") in _samples(metrics))
    assert _samples(metrics)["holdall_sweeps_total", "files", "done"] >= 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (errors.InvalidFileId("x"), "InvalidFileId"),
        (errors.StorageUnavailable("x"), "StorageUnavailable"),
        (PermissionError(errno.EACCES, "x"), "AccessDenied"),
        (OSError("x"), "StorageError"),
        (ZeroDivisionError(), "StorageError"),
        (type("OfAPlugin", (errors.AccessDenied,), {})("x"), "AccessDenied"),
    ],
    ids=str,
)
def test_errors_are_of_few_kinds(error, kind):
    """Whatever a storage's client raises counts as one of holdall's own."""
    assert kind_of(error) == kind


def test_a_listing_is_one_call_without_the_time_of_its_reader():
    """From the first step to the last, or to where the reader stops, or it fails."""
    now, noted = [0.0], []

    class Slow(MemoryBackend):
        def list_ids(self, after=None, before=None):
            for file_id in super().list_ids(after, before):
                now[0] += 1
                yield file_id
            raise ConnectionError

    backend = Measured(Slow(), lambda *note: noted.append(note), clock=lambda: now[0])
    with FileStore(backend.inner) as store:
        for _ in range(3):
            store.create("a", b"", purpose="batch")
    listing = backend.list_ids()
    for _ in range(2):
        next(listing)
        now[0] += 100
    listing.close()
    with pytest.raises(ConnectionError):
        list(backend.list_ids())
    assert [(*note[:3], type(note[3])) for note in noted] == [
        ("files", "list_ids", 2, type(None)),
        ("files", "list_ids", 3, ConnectionError),
    ]


def test_the_numbers_can_be_mounted():
    """`app()` is an ASGI application; what it answers is that of the application it is given to."""
    metrics = Metrics()
    app = create_app("memory://", metrics=metrics)
    app.mount("/metrics", metrics.app())
    with serving(app) as running:
        httpx.get(f"{running.url}/v1/files")
        counted = f'{REQUESTS}{{method="GET",route="/v1/files",status="200"}} 1.0'
        until(lambda: counted in httpx.get(f"{running.url}/metrics", follow_redirects=True).text)
        answer = httpx.get(f"{running.url}/metrics/")
    assert answer.headers["content-type"].startswith("text/plain")


def test_processes_with_a_directory_in_common_answer_with_the_sum(tmp_path):
    """Set before prometheus-client is imported, its own variable makes each of several answer for all."""
    program = """
import sys, anyio, httpx
from holdall.server import Metrics, create_app
metrics = Metrics()
app = create_app("memory://", metrics=metrics)
app.mount("/metrics", metrics.app())

async def ask():
    async with app.router.lifespan_context(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as client:
            await client.get("/v1/files")
            print((await client.get("/metrics/")).text)

anyio.run(ask)
"""
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    answers = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(2)]
    line = f'{REQUESTS}{{method="GET",route="/v1/files",status="200"}}'
    assert [f"{line} {count}.0" in answer.stdout for count, answer in zip((1, 2), answers, strict=True)] == [True] * 2


def test_a_listener_of_their_own_is_at_its_address_alone():
    """Whoever can reach another address of the machine cannot read the numbers."""
    with exposed(Metrics().registry, "127.0.0.1", 0) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://127.0.0.2:{port}/")


def test_a_listener_of_their_own_ends_when_it_is_left():
    """It answers on the port it says, and the port is free afterwards; one in use is an error that names it."""
    metrics = Metrics()
    with exposed(metrics.registry, "127.0.0.1", 0) as port:
        assert "holdall_http_requests_in_progress 0.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text
        with (
            pytest.raises(errors.StorageError, match=f"port {port} for metrics"),
            exposed(metrics.registry, "127.0.0.1", port),
        ):
            pass
    with exposed(metrics.registry, "127.0.0.1", port) as again:
        assert again == port


class _Ended:
    def __init__(self):
        self.exchanges = []

    def begun(self, exchange):
        pass

    def ended(self, exchange):
        self.exchanges.append(exchange)


async def _ask(app, scope=None):
    """What an application sends, and the watch's last exchange."""
    sent, ended = [], _Ended()

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": [], "query_string": b"", "server": None} | (
        scope or {}
    )
    await Watch(app, [ended])(scope, receive, send)
    return sent, ended.exchanges


def test_whatever_fails_inside_is_answered_in_the_envelope_and_seen(caplog):
    """A middleware of the application's that raises is an error of the server, told without its words."""

    async def broken(scope, receive, send):
        raise LookupError("secret")

    def middleware(app):
        return lambda scope, *ends: (broken if scope["type"] == "http" else app)(scope, *ends)

    with serving(create_app("memory://", middleware=[Middleware(middleware)])) as running:
        answer = httpx.get(f"{running.url}/v1/files")
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "server_error")
    assert "secret" not in answer.text
    _, (exchange,) = anyio.run(_ask, broken)
    assert (exchange.status, exchange.complete, exchange.aborted) == (500, True, False)


def test_an_answer_that_fails_half_way_is_the_servers_to_end():
    """Nothing can be told any more: the error goes on to the server, and the exchange counts as aborted."""
    seen = []

    async def half(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise LookupError

    async def run():
        ended = _Ended()
        seen.append(ended)
        with pytest.raises(LookupError):
            await Watch(half, [ended])(
                {"type": "http", "headers": []}, None, lambda message: anyio.lowlevel.checkpoint()
            )

    anyio.run(run)
    (exchange,) = seen[0].exchanges
    assert (exchange.status, exchange.bytes_out, exchange.aborted) == (200, 4, True)


def test_a_file_that_the_server_sends_by_itself_counts_with_its_length():
    """Its bytes pass nobody here; the header says how many there are."""

    async def path(scope, receive, send):
        response = Response(headers={"content-length": "70000"})
        await send({"type": "http.response.start", "status": 200, "headers": response.raw_headers})
        await send({"type": "http.response.pathsend", "path": "/x"})

    _, (exchange,) = anyio.run(_ask, path)
    assert isinstance(exchange, Exchange)
    assert (exchange.bytes_out, exchange.aborted) == (70000, False)


@pytest.mark.parametrize("ends", [True, False])
def test_the_storage_is_closed_when_requests_have_ended(monkeypatch, ends):
    """One that was told to end may put away what it has begun; one that never ends is not waited for for ever."""
    monkeypatch.setattr("holdall.server._app._LAST_SECONDS", 60 if ends else 0)
    order = []

    class Closing(MemoryBackend):
        def close(self):
            order.append("closed")

    monkeypatch.setattr("holdall.server._tenants.open_store", lambda _: FileStore(Closing()))

    async def run():
        begun, end = anyio.Event(), anyio.Event()

        async def slow(scope, receive, send):
            begun.set()
            await end.wait()
            order.append("ended")

        app = create_app("memory://", middleware=[Middleware(lambda inner: slow)])
        scope = {"type": "http", "method": "GET", "path": "/", "headers": []}
        async with anyio.create_task_group() as tasks:
            async with app.router.lifespan_context(app):
                tasks.start_soon(app, scope, None, None)
                await begun.wait()
                if ends:
                    tasks.start_soon(end_soon, end)
            end.set()

    async def end_soon(end):
        # When the lifespan waits for nothing else, or has ended.
        await anyio.wait_all_tasks_blocked()
        end.set()

    anyio.run(run)
    assert order == (["ended", "closed"] if ends else ["closed", "ended"])
