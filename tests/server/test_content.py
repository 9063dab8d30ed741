"""Downloads: conditions, ranges, names, and who sends the bytes."""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from urllib.parse import unquote

import anyio
import httpx
import openai
import pytest
from starlette.datastructures import Headers
from tests.server._serving import serving
from tests.server._stores import Watched

import holdall
from holdall import FileObject, FileStore
from holdall.aio import AsyncFileReader
from holdall.backend import Capability
from holdall.backends.memory import MemoryBackend
from holdall.server import create_app
from holdall.server._content import disposition, plan

BIG = os.urandom(1_000_003)
FILE = FileObject(
    id="file-1",
    filename="a",
    purpose="batch",
    bytes=10,
    created_at=1_700_000_000,
    content_type="text/plain",
    sha256="ab" * 32,
)
TAG = f'"{"ab" * 32}"'
WEAK = f"W/{TAG}"
SAME, BEFORE, AFTER = (f"Tue, 14 Nov 2023 22:13:{second} GMT" for second in ("20", "19", "21"))


def _put(running, data, name="a.bin", kind="application/octet-stream"):
    form = {"files": {"file": (name, data, kind)}, "data": {"purpose": "user_data"}}
    return httpx.post(f"{running.url}/v1/files", **form).raise_for_status().json()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", (206, 0, 1)),
        ("bytes=2-5", (206, 2, 6)),
        ("bytes=9-9", (206, 9, 10)),
        ("bytes=5-", (206, 5, 10)),
        ("bytes=0-", (206, 0, 10)),
        ("bytes=5-999999999999999999999999999", (206, 5, 10)),
        ("bytes=-3", (206, 7, 10)),
        ("bytes=-10", (206, 0, 10)),
        ("bytes=-11", (206, 0, 10)),
        ("bytes=-" + "9" * 5000, (206, 0, 10)),
        ("bytes=-" + "0" * 30 + "3", (206, 7, 10)),
        ("BYTES = 2 - 5", (206, 2, 6)),
        ("bytes=10-", (416, 0, 0)),
        ("bytes=" + "9" * 5000 + "-", (416, 0, 0)),
        ("bytes=-0", (416, 0, 0)),
        ("bytes=5-2", (200, 0, 10)),
        ("bytes=-", (200, 0, 10)),
        ("bytes=", (200, 0, 10)),
        ("bytes=a-b", (200, 0, 10)),
        ("bytes=²-³", (200, 0, 10)),
        ("bytes=\xa02-3", (200, 0, 10)),
        ("bytes=0-1,3-4", (200, 0, 10)),
        ("lines=0-1", (200, 0, 10)),
        ("0-1", (200, 0, 10)),
    ],
)
def test_a_range_is_what_rfc_9110_says(text, expected):
    """One range of bytes is served or is outside of the file; everything else is as if it had not been asked for."""
    found = plan("GET", Headers({"Range": text}), FILE)

    assert (found.status, found.start, found.stop) == expected
    assert plan("HEAD", Headers({"Range": text}), FILE).status == 200


@pytest.mark.parametrize(
    ("text", "status"), [("bytes=0-", 416), ("bytes=0-0", 416), ("bytes=-1", 200), ("bytes=-0", 416)]
)
def test_an_empty_file_has_no_range(text, status):
    """Its first byte is outside of it; its last bytes are all that there is."""
    assert plan("GET", Headers({"Range": text}), FILE.model_copy(update={"bytes": 0})).status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": TAG}, 304),
        ({"If-None-Match": WEAK}, 304),
        ({"If-None-Match": f'"x", {TAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": "ab" * 32}, 200),
        ({"If-None-Match": '"x"', "If-Modified-Since": AFTER}, 200),
        ({"If-Modified-Since": SAME}, 304),
        ({"If-Modified-Since": BEFORE}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": TAG}, 200),
        ({"If-Match": "*"}, 200),
        ({"If-Match": WEAK}, 412),
        ({"If-Match": '"x"'}, 412),
        ({"If-Unmodified-Since": SAME}, 200),
        ({"If-Unmodified-Since": BEFORE}, 412),
        ({"If-Match": TAG, "If-Unmodified-Since": BEFORE}, 200),
        ({"If-Match": '"x"', "If-None-Match": TAG}, 412),
        ({"Range": "bytes=1-2", "If-Range": TAG}, 206),
        ({"Range": "bytes=1-2", "If-Range": WEAK}, 200),
        ({"Range": "bytes=1-2", "If-Range": '"x"'}, 200),
        ({"Range": "bytes=1-2", "If-Range": SAME}, 206),
        ({"Range": "bytes=1-2", "If-Range": AFTER}, 200),
        ({"Range": "bytes=99-", "If-Range": '"x"'}, 200),
        ({"Range": "bytes=1-2", "If-None-Match": TAG}, 304),
    ],
    ids=str,
)
def test_conditions_are_what_rfc_9110_says(headers, status):
    """In its order, strong where it says so, and for HEAD as for GET but for ranges."""
    assert plan("GET", Headers(headers), FILE).status == status
    assert plan("HEAD", Headers(headers), FILE).status == (200 if status == 206 else status)


@pytest.mark.parametrize("zone", ["UTC0", "WEST5", "EAST-5"])
def test_a_date_is_the_same_in_each_form_and_anywhere(monkeypatch, zone):
    """The two older forms of RFC 9110 are read as well; one of them names no zone, and is not that of the server."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        for date in (SAME, "Tuesday, 14-Nov-23 22:13:20 GMT", "Tue Nov 14 22:13:20 2023"):
            assert plan("GET", Headers({"If-Modified-Since": date}), FILE).status == 304
            assert plan("GET", Headers({"If-Unmodified-Since": date}), FILE).status == 200
            assert plan("GET", Headers({"Range": "bytes=1-2", "If-Range": date}), FILE).status == 206
    finally:
        monkeypatch.undo()
        time.tzset()


def test_over_http_ranges_and_conditions_have_their_headers(served):
    """Of a large file and a small one: whole, in part, not at all, not changed."""
    for data in (BIG, b"0123456789"):
        url = f"{served.url}/v1/files/{_put(served, data, kind='text/plain')['id']}/content"
        size = len(data)
        whole = httpx.get(url)
        assert (whole.status_code, whole.content, whole.headers["accept-ranges"]) == (200, data, "bytes")
        assert whole.headers["content-length"] == str(size)
        head = httpx.head(url)
        volatile = {"date", "x-request-id"}
        assert {k: v for k, v in head.headers.items() if k not in volatile} == {
            k: v for k, v in whole.headers.items() if k not in volatile
        }
        assert head.content == b""

        part = httpx.get(url, headers={"Range": f"bytes=3-{size - 3}", "If-Range": whole.headers["etag"]})
        assert (part.status_code, part.content) == (206, data[3 : size - 2])
        assert part.headers["content-range"] == f"bytes 3-{size - 3}/{size}"
        outside = httpx.get(url, headers={"Range": f"bytes={size}-"})
        assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{size}")
        assert outside.headers["accept-ranges"] == "bytes"
        assert outside.json()["error"]["message"]
        same = httpx.get(url, headers={"If-None-Match": whole.headers["etag"]})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", whole.headers["etag"])
        changed = httpx.get(url, headers={"If-Match": '"other"'})
        assert (changed.status_code, set(changed.json()["error"])) == (412, {"message", "type", "param", "code"})


def test_metadata_that_others_wrote_is_no_danger_to_headers(tmp_path):
    """What no header can hold, and no date can show, is left out; the bytes are served."""
    entry = tmp_path / "file-elsewhere"
    entry.mkdir(parents=True)
    (entry / "data.bin").write_bytes(b"x")
    document = {
        "id": "file-elsewhere", "object": "file", "filename": "a", "purpose": "batch", "bytes": 1, "created_at": 2**62,
        "status": "uploaded", "content_type": "text/html\r\nX-Evil: 1", "sha256": 'a"b\n',
    }  # fmt: skip
    (entry / "meta.json").write_text(json.dumps(document))
    with serving(create_app(str(tmp_path))) as running:
        answer = httpx.get(f"{running.url}/v1/files/file-elsewhere/content")
        same = httpx.get(answer.url, headers={"If-None-Match": answer.headers["etag"]})
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, b"x", '"file-elsewhere"')
    assert answer.headers["content-type"] == "application/octet-stream"
    assert not {"x-evil", "last-modified"} & set(answer.headers)
    assert same.status_code == 304


NAMES = [
    "a.txt", "with space.txt", 'quo"te.txt', "back\\slash", "100%.txt", "Grüße.txt", "日本語.bin", "😀", "semi;colon", "a" * 3000,
    "line\r\nX-Evil: 1", "nul\0", "tab\t", "../../etc/passwd", "'", "*", "%22%0d",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_name_fits_into_the_header_and_back(name):
    """The header is printable ASCII of one line; what RFC 8187 makes of it, or the plain form, is the name."""
    header = disposition(name)

    assert re.fullmatch(r'attachment; filename="[^"\\]*"(; filename\*=UTF-8\'\'[\w.~%-]*)?', header, flags=re.ASCII)
    assert header.isprintable()
    plain, _, extended = header.partition("; filename*=UTF-8''")
    assert (unquote(extended) if extended else plain.partition('"')[2][:-1]) == name


def test_an_uploaded_page_is_never_a_page_of_this_site(served):
    """Its own type is told, but it is a download, is not guessed at, and may do nothing."""
    file = _put(served, b"<script>alert(1)</script>", "evil.html", "text/html")
    answer = httpx.get(f"{served.url}/v1/files/{file['id']}/content")

    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["content-disposition"] == 'attachment; filename="evil.html"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"


async def _ask(app, path, *, extensions=None, gone=None):
    """What the application sends to a server that has these extensions."""
    sent = []
    never = anyio.Event()

    async def receive():
        await (gone or never).wait()
        return {"type": "http.disconnect"}

    async def send(message):
        await anyio.lowlevel.checkpoint()
        sent.append(message)
        if gone is not None and len(sent) == 2:
            gone.set()

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": b"", "root_path": "", "headers": [], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80), "extensions": extensions,
    }  # fmt: skip
    async with app.router.lifespan_context(app):
        await app(scope, receive, send)
    return sent


def test_a_server_that_sends_local_files_is_given_the_path(tmp_path):
    """`http.response.pathsend` for whole files on local disk; the bytes for servers without it, and from elsewhere."""
    with holdall.open_store(tmp_path) as store:
        file = store.create("a", BIG, purpose="batch")
    app, path = create_app(str(tmp_path)), f"/v1/files/{file.id}/content"

    start, sent = anyio.run(lambda: _ask(app, path, extensions={"http.response.pathsend": {}}))
    assert sent == {"type": "http.response.pathsend", "path": str(tmp_path / file.id / "data.bin")}
    assert dict(start["headers"])[b"content-length"] == str(len(BIG)).encode()
    start, *bodies = anyio.run(lambda: _ask(app, path))
    assert b"".join(body["body"] for body in bodies) == BIG
    assert [body["more_body"] for body in bodies] == [True] * (len(bodies) - 1) + [False]
    store = FileStore(MemoryBackend())
    path = f"/v1/files/{store.create('a', BIG, purpose='batch').id}/content"
    start, *bodies = anyio.run(lambda: _ask(create_app(store), path, extensions={"http.response.pathsend": {}}))
    assert b"".join(body["body"] for body in bodies) == BIG


class _Signing(Watched):
    """Signs URLs."""

    capabilities = MemoryBackend.capabilities | Capability.SIGNED_URLS

    def signed_url(self, file_id, expires_in):
        return f"https://storage.example/{file_id}?for={expires_in}"


def test_a_client_that_goes_ends_the_reading(tmp_path):
    """What the storage holds open for a download is closed as soon as the client has gone, and no more is read."""
    backend = _Signing()
    store = FileStore(backend)
    file = store.create("a", BIG * 3, purpose="batch")

    async def run():
        return await _ask(create_app(store), f"/v1/files/{file.id}/content", gone=anyio.Event())

    sent = anyio.run(run)
    assert len(sent) < 5
    assert backend.streams
    assert all(stream.closed for stream in backend.streams)


def test_a_range_that_cannot_be_reached_leaves_nothing_open(monkeypatch):
    """What was opened for it is closed, and the client is told to try again."""
    backend = _Signing()
    store = FileStore(backend)
    file = store.create("a", BIG, purpose="batch")

    async def cut(self, *_):
        raise holdall.StorageUnavailable("cut")

    monkeypatch.setattr(AsyncFileReader, "seek", cut)
    with serving(create_app(store)) as running:
        answer = httpx.get(f"{running.url}/v1/files/{file.id}/content", headers={"Range": "bytes=3-600000"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert [stream.closed for stream in backend.streams] == [True]


def test_downloads_are_redirected_only_if_that_is_wanted_and_possible():
    """To a URL that the storage has signed, for as long as was said; ranges, HEAD and other storages are served."""
    store = FileStore(_Signing())
    file = store.create("a", b"0123456789", purpose="batch")
    path = f"/v1/files/{file.id}/content"
    with serving(create_app(store, redirect_seconds=60)) as running:
        answer = httpx.get(running.url + path)
        assert (answer.status_code, answer.headers["location"]) == (307, f"https://storage.example/{file.id}?for=60")
        assert answer.headers["cache-control"] == "no-store"
        assert httpx.get(running.url + path, headers={"Range": "bytes=1-2"}).content == b"12"
        assert httpx.head(running.url + path).status_code == 200
        store.delete(file.id)
        assert httpx.get(running.url + path).status_code == 404
    with serving(create_app(FileStore(MemoryBackend()), redirect_seconds=60)) as running:
        file = _put(running, b"x")
        assert httpx.get(f"{running.url}/v1/files/{file['id']}/content").content == b"x"
    with serving(create_app(FileStore(_Signing()))) as running:
        file = _put(running, b"x")
        assert httpx.get(f"{running.url}/v1/files/{file['id']}/content").content == b"x"


def test_a_signed_url_of_s3_gives_the_bytes(s3):
    """The SDK follows the redirection and has the file, from the storage itself."""
    with serving(create_app(s3.url(uuid.uuid4().hex), redirect_seconds=60)) as running:
        client = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0)
        file = client.files.create(file=("a", b"from the storage"), purpose="batch")
        content = client.files.content(file.id)
        assert content.read() == b"from the storage"
        assert str(content.response.url).startswith(s3.endpoint)
