"""A line for each request: what it says, of which requests, and what a client cannot do to it."""

from __future__ import annotations

import logging
import re

import httpx
import pytest
from tests.server._serving import KEY, begin_upload, serving, until

from holdall.server import Keys, create_app
from holdall.server._access_log import FIELDS, LOGGER, AccessLog
from holdall.server._exchange import Exchange

MADE = re.compile(r"req_[0-9a-f]{32}").fullmatch


@pytest.fixture
def lines(caplog):
    """The records of the access log, from DEBUG on."""
    caplog.set_level(logging.DEBUG, LOGGER)
    return lambda: [record for record in caplog.records if record.name == LOGGER]


def _fields(record):
    return {name: getattr(record, name) for name in FIELDS}


def test_a_request_is_one_line_with_all_that_is_to_be_known(tmp_path, lines):
    """Method, path without the query, status, bytes, time, id, tenant and client; as text, and as fields."""
    with serving(create_app(str(tmp_path), keys=Keys(f"ann:{KEY}"))) as running:
        headers = {"Authorization": f"Bearer {KEY}", "X-Request-Id": "mine-1"}
        answer = httpx.get(f"{running.url}/v1/files?order=asc&purpose=secret", headers=headers)
        until(lines)
    (record,) = lines()
    fields = _fields(record)
    milliseconds = fields.pop("duration_ms")
    assert fields == {
        "method": "GET", "path": "/v1/files", "status": 200, "bytes_in": 0, "bytes_out": len(answer.content),
        "request_id": "mine-1", "tenant": "ann", "client": "127.0.0.1", "aborted": False,
    }  # fmt: skip
    assert 0 < milliseconds < 60_000
    assert record.levelno == logging.INFO
    assert record.getMessage() == (
        f"GET /v1/files 200 in=0 out={len(answer.content)} ms={milliseconds} id=mine-1 tenant=ann client=127.0.0.1"
    )


def test_the_bytes_of_bodies_are_counted(served, lines):
    """Those of an upload, with its form; those of a range, and not of the file."""
    data = b"x" * 1_000_000
    file = httpx.post(f"{served.url}/v1/files", files={"file": ("a", data)}, data={"purpose": "batch"}).json()
    httpx.get(f"{served.url}/v1/files/{file['id']}/content", headers={"Range": "bytes=0-999"})
    httpx.head(f"{served.url}/v1/files/{file['id']}/content")
    until(lambda: len(lines()) == 3)
    post, get, head = (_fields(record) for record in lines())
    assert 1_000_000 < post["bytes_in"] < 1_002_000
    assert (get["status"], get["bytes_in"], get["bytes_out"]) == (206, 0, 1000)
    assert (head["status"], head["bytes_out"]) == (200, 0)


def test_a_request_without_a_tenant_has_none(tmp_path, lines):
    """Whoever has a wrong key is nobody, whatever the key."""
    with serving(create_app(str(tmp_path), keys=Keys(f"ann:{KEY}"))) as running:
        httpx.get(f"{running.url}/v1/files", headers={"Authorization": "Bearer sk-wrong"})
        until(lines)
    (record,) = lines()
    assert (record.status, record.tenant) == (401, None)
    assert "sk-wrong" not in record.getMessage()


@pytest.mark.parametrize(
    "given",
    ["", "a b", "a\tb", 'a"b', "ä".encode(), "x" * 129, "a;b", "a,b", "<a>", "\\n"],
    ids=lambda given: repr(given)[:12],
)
def test_an_id_that_is_not_sane_is_replaced(served, lines, given):
    """What could end a field, or is long, is no id: the request gets one as if it had none."""
    answer = httpx.get(f"{served.url}/v1/files", headers={"X-Request-Id": given})
    until(lines)
    assert MADE(answer.headers["x-request-id"])
    assert lines()[0].request_id == answer.headers["x-request-id"]


@pytest.mark.parametrize("given", ["a", "x" * 128, "Root=1-67891233-abcdef012345678912345678", "00-4bf9:2/3+4=@_."])
def test_an_id_of_the_clients_is_kept(served, lines, given):
    """Those that proxies and tracers make come back as they are."""
    answer = httpx.get(f"{served.url}/v1/files", headers={"X-Request-Id": given})
    until(lines)
    assert answer.headers.get_list("x-request-id") == [given]
    assert lines()[0].request_id == given


@pytest.mark.parametrize(
    "path", ["/healthz", "/v1/files", "/v1/files/none", "/nowhere", "/openapi.json", "/v1/files?limit=0"]
)
def test_every_answer_has_an_id(served, path):
    """Also errors, and those of no route."""
    ids = {httpx.get(served.url + path).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_who_asks_whether_it_is_alive_is_not_in_the_log(served, lines, path):
    """These lines are for debugging."""
    httpx.get(served.url + path)
    until(lines)
    assert [record.levelno for record in lines()] == [logging.DEBUG]


def test_at_a_higher_level_nothing_is_written(served, caplog):
    """The logger's level turns it off."""
    caplog.set_level(logging.WARNING, LOGGER)
    assert httpx.get(f"{served.url}/v1/files").headers["x-request-id"]
    assert [record for record in caplog.records if record.name == LOGGER] == []


def test_a_client_that_goes_half_way_has_its_line(served, lines):
    """With what came until then."""
    with served.connect() as connection:
        begin_upload(connection, b"x" * 2_000_000, sent=1_000_000)
        until(lambda: list((served.root / ".staging").glob("*")))
    until(lines)
    (record,) = lines()
    assert (record.method, record.aborted) == ("POST", True)
    assert 0 < record.bytes_in < 2_000_000
    assert record.getMessage().endswith(" aborted")


def test_a_download_that_is_cut_off_has_its_line(served, lines):
    """It says that it was, beside the status that was sent."""
    form = {"files": {"file": ("a", b"x" * 30_000_000)}, "data": {"purpose": "batch"}}
    file = httpx.post(f"{served.url}/v1/files", **form).json()
    with httpx.stream("GET", f"{served.url}/v1/files/{file['id']}/content") as answer:
        next(answer.iter_raw(1000))
    until(lambda: len(lines()) == 2)
    record = lines()[1]
    assert (record.status, record.aborted) == (200, True)
    assert 0 < record.bytes_out < 30_000_000


@pytest.mark.parametrize("path", ["%0d%0aGET%20/fake%20200", "%1b[2J", "%e2%80%a8x", "%22x", "%ff", "a" * 2000])
def test_no_path_can_forge_a_line(served, lines, path):
    """Whatever it decodes to, it is one word of printable ASCII, and not a long one."""
    httpx.get(f"{served.url}/v1/files/{path}")
    until(lines)
    (record,) = lines()
    assert re.fullmatch(r"GET /v1/files/[!#-~]{1,1600} 404 in=0 .*", record.getMessage())
    assert len(record.path) < 600


@pytest.mark.parametrize(
    ("scope", "method", "path", "client"),
    [
        ({"method": "GET 200\n"}, "GET%20200%0A", "/a", "127.0.0.1"),
        ({"client": ("fe80::1%a b\n", 80)}, "GET", "/a", "fe80::1%25a%20b%0A"),
        ({"client": None}, "GET", "/a", None),
        ({"path": "/\ud800\n"}, "GET", "/%3F%0A", "127.0.0.1"),
        ({"path": "a" * 512}, "GET", "a" * 512, "127.0.0.1"),
        ({"path": "a" * 513}, "GET", "a" * 512 + "...", "127.0.0.1"),
    ],
    ids=lambda given: repr(given)[:24],
)
def test_whatever_a_server_hands_over_is_one_word(lines, scope, method, path, client):
    """Not every ASGI server checks methods, paths and addresses; one on a Unix socket knows no client at all."""
    exchange = Exchange({"method": "GET", "path": "/a", "client": ("127.0.0.1", 80), **scope}, 0.0, seconds=0.01234)
    AccessLog().ended(exchange)
    (record,) = lines()
    assert (record.method, record.path, record.client, record.duration_ms) == (method, path, client, 12.3)
    assert record.getMessage() == (f"{method} {path} - in=0 out=0 ms=12.3 id= tenant=- client={client or '-'}")


def test_each_of_many_requests_on_one_connection_has_its_own(served, lines):
    """Ids and bytes are those of the request, not of the connection."""
    with httpx.Client(base_url=served.url) as client:
        for n in range(3):
            client.get("/v1/files", headers={"X-Request-Id": f"n-{n}"})
    until(lambda: len(lines()) == 3)
    assert [(record.request_id, record.bytes_out) for record in lines()] == [
        (f"n-{n}", lines()[0].bytes_out) for n in range(3)
    ]
