"""Where uploads are until they are whole: on any storage, and among no files."""

from __future__ import annotations

import contextlib
import uuid

import anyio
import httpx
import openai
import pytest
from anyio.lowlevel import checkpoint
from tests.server._serving import serving

import holdall
from holdall import AsyncFileStore, FileStore
from holdall.backends.local import LocalBackend
from holdall.backends.memory import MemoryBackend
from holdall.server import Keys, Metrics, Quota, create_app
from holdall.server._places import PREFIX, Places
from holdall.server._tenants import Stores
from holdall.wrappers import Prefixed, Wrapper


class Reversing(Wrapper):
    """Stands for what must be around all that is stored, such as an encryption."""

    def stage(self, file_id):
        staged = self.inner.stage(file_id)
        write = staged.write
        staged.write = lambda chunk: write(bytes(chunk)[::-1])
        return staged


@contextlib.contextmanager
def _opened(kind, tmp_path):
    """What `create_app` may be given for a store, and a store on the same storage to look with."""
    url = f"file://{tmp_path}/files?fsync=false"
    if kind == "an open store with a URL":
        with holdall.open_store(url) as store:
            yield {"store": store}, store
    elif kind == "an asynchronous store":
        with holdall.open_store(url) as store:
            yield {"store": AsyncFileStore(store)}, store
    elif kind == "an open store without URL":
        (tmp_path / "files").mkdir()
        store = FileStore(LocalBackend(tmp_path / "files"))
        yield {"store": store}, store
    elif kind == "a store by prefix":
        store = FileStore(Prefixed(MemoryBackend(), "ann"))
        yield {"store": store}, store
    else:
        options = {
            "a URL": {"store": url},
            "private memory": {"store": "memory://"},
            "named memory": {"store": f"memory://{uuid.uuid4().hex}"},
            "a database": {"store": f"sqlite://{tmp_path}/files.db"},
            "a database of tenants": {"store": f"sqlite://{tmp_path}/files.db", "keys": Keys("ann:x")},
            "tenants with quotas": {"store": url, "keys": Keys("ann:x"), "quota": Quota(10**6)},
            "a database with quotas": {"store": f"sqlite://{tmp_path}/files.db", "keys": Keys("ann:x"), "quota": Quota(10**6)},
        }[kind]  # fmt: skip
        with holdall.open_store(options["store"]) as store:
            yield options, store


@pytest.mark.parametrize(
    "kind",
    [
        "a URL", "an open store with a URL", "an asynchronous store", "an open store without URL", "a store by prefix",
        "private memory", "named memory", "a database", "a database of tenants", "tenants with quotas",
        "a database with quotas",
    ],
)  # fmt: skip
def test_uploads_work_whatever_the_server_was_given_and_are_no_files(kind, tmp_path, caplog):
    """A server by URL, and of a store that is open, with a place below its URL, or a part of the one storage; what is
    on its way is in no listing, nor to be read, deleted or found damaged, through the API or the storage.
    """
    with _opened(kind, tmp_path) as (options, store), serving(create_app(**options)) as running:
        sdk = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0)
        upload = sdk.uploads.create(bytes=12, filename="a", mime_type="text/plain", purpose="batch")
        first, second = (sdk.uploads.parts.create(upload.id, data=data) for data in (b"world", b"hello, "))

        assert sdk.files.list().data == []
        assert list(store) == []
        assert store.verify().ok
        hexes = upload.id.removeprefix("upload_"), first.id.removeprefix("part_")
        for name in (hexes[0], hexes[1], "-".join(hexes), f"{PREFIX}_{hexes[0]}", f"{PREFIX}_{'-'.join(hexes)}"):
            for call in (sdk.files.retrieve, sdk.files.content, sdk.files.delete):
                with pytest.raises(openai.NotFoundError):
                    call(f"file-{name}")

        done = sdk.uploads.complete(upload.id, part_ids=[second.id, first.id])
        assert sdk.files.content(done.file.id).read() == b"hello, world"
        assert [file.id for file in sdk.files.list()] == [done.file.id]
    assert "WARNING" not in [record.levelname for record in caplog.records]


def test_the_uploads_of_a_url_are_below_it(tmp_path):
    """In a store of its own, which can be swept; of a tenant, below the tenant's."""
    for options, place in (({}, tmp_path / "plain"), ({"keys": Keys("ann:x")}, tmp_path / "tenants" / "ann")):
        url = str(place if not options else place.parent)
        with serving(create_app(url, **options)) as running:
            sdk = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0)
            upload = sdk.uploads.create(bytes=1, filename="a", mime_type="text/plain", purpose="batch")
            sdk.uploads.parts.create(upload.id, data=b"x")
        with holdall.open_store(place / ".uploads") as store:
            assert sorted(file.purpose for file in store) == ["batch", "upload_part"]
            assert store.verify().ok


def test_what_is_around_a_storage_is_around_its_uploads(tmp_path):
    """A wrapper that changes all bytes sees those of parts as well, though the store has a URL to open another by."""
    with holdall.open_store(tmp_path / "files") as plain:
        wrapped = FileStore(Reversing(plain.backend), url=plain.url)
        with serving(create_app(wrapped)) as running:
            sdk = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0)
            upload = sdk.uploads.create(bytes=5, filename="a", mime_type="text/plain", purpose="batch")
            sdk.uploads.parts.create(upload.id, data=b"hello")
        assert not (tmp_path / "files" / ".uploads").exists()
        [stored] = (tmp_path / "files").glob("file-*-*-*/data.bin")
        assert stored.read_bytes() == b"olleh"


def test_a_limit_of_the_store_holds_for_uploads_too(tmp_path):
    """Whoever has set the largest file has meant every file; the server can be told of another limit for parts."""
    new = {"filename": "a", "mime_type": "a/b", "purpose": "batch"}
    url = f"file://{tmp_path}/files"
    for options, most in (
        ({"store": url}, 8 * 2**30),
        ({"store": f"{url}?max_bytes=1MiB"}, 2**20),
        ({"store": f"{url}?max_bytes=1MiB", "max_upload_bytes": 2**21}, 2**21),
        ({"store": f"{url}?max_bytes=9GiB", "keys": Keys("ann:x")}, 9 * 2**30),
    ):
        with serving(create_app(**options)) as running:
            for size, status in ((most, 200), (most + 1, 413)):
                headers = {"Authorization": "Bearer x"}
                answer = httpx.post(f"{running.url}/v1/uploads", headers=headers, json=new | {"bytes": size})
                assert (answer.status_code, size) == (status, size)


def test_a_file_in_parts_may_be_as_large_as_was_said(tmp_path):
    """It is completed, though the store takes no such file in one piece."""
    size = 2**20 + 1
    with serving(create_app(f"file://{tmp_path}/files?max_bytes=1MiB", max_upload_bytes=size)) as running:
        sdk = openai.OpenAI(base_url=f"{running.url}/v1", api_key="any", max_retries=0)
        upload = sdk.uploads.create(bytes=size, filename="a", mime_type="a/b", purpose="batch")
        part = sdk.uploads.parts.create(upload.id, data=b"x" * size).id
        assert sdk.uploads.complete(upload.id, part_ids=[part]).file.bytes == size


def test_places_are_closed_when_the_server_stops(tmp_path, monkeypatch):
    """Those that were opened below a URL; a store that was given stays open."""
    closed, close = [], LocalBackend.close

    def telling(self):
        closed.append(self)
        close(self)

    with holdall.open_store(tmp_path / "files") as store:
        with monkeypatch.context() as patch:
            patch.setattr(LocalBackend, "close", telling)
            with serving(create_app(store)) as running:
                new = {"bytes": 1, "filename": "a", "mime_type": "a/b", "purpose": "batch"}
                assert httpx.post(f"{running.url}/v1/uploads", json=new).status_code == 200
                assert closed == []
        assert len(closed) == 1
        assert closed[0] is not store.backend
        assert list(store) == []


def test_few_places_are_open_and_none_is_closed_in_use(tmp_path):
    """Beyond the bound, those that nobody uses are closed; all of them when the server stops, and no store of files."""

    async def run():
        places = Places(most_open=1)
        with holdall.open_store(tmp_path / "a") as a, holdall.open_store(tmp_path / "b") as b:
            files = [AsyncFileStore(store) for store in (a, b)]
            async with places.lease(files[0]) as first:
                async with places.lease(files[1]) as second:
                    assert (await second.list()).data == []
                async with places.lease(AsyncFileStore(a)) as again:
                    assert again is first
                assert (await first.list()).data == []
                with pytest.raises(holdall.InvalidRequest, match="closed"):
                    await second.list()
            await places.close()
            with pytest.raises(holdall.InvalidRequest, match="closed"):
                await first.list()
            assert list(a) == list(b) == []

    anyio.run(run)


def test_places_that_make_room_at_the_same_time_close_each_once(tmp_path):
    """Of many requests that end at once, none trips over what another is closing, and in the end all are closed."""
    opened, ended = [], []

    async def run():
        places = Places(most_open=2)
        files = [AsyncFileStore(holdall.open_store(tmp_path / str(number))) for number in range(8)]

        async def one(store):
            for _ in range(20):
                async with places.lease(store) as place:
                    if place not in opened:
                        opened.append(place)
                    await checkpoint()
            ended.append(store)

        async with anyio.create_task_group() as group:
            for store in files:
                group.start_soon(one, store)
        await places.close()
        for place in opened:
            with pytest.raises(holdall.InvalidRequest, match="closed"):
                await place.list()
        for store in files:
            await store.close()

    anyio.run(run)
    assert len(ended) == 8


@pytest.fixture(scope="module")
def anywhere():
    """A server of a store in memory."""
    with serving(create_app("memory://")) as running:
        yield running


@pytest.mark.parametrize("upload_id", ["upload_1", "upload_" + "0" * 32, "file-1", "..%2Fx", "%2e%2e", "a%00b", "%ff"])
@pytest.mark.parametrize("verb", ["parts", "complete", "cancel"])
def test_what_is_no_upload_is_told_as_one_that_is_nowhere(anywhere, upload_id, verb):
    """404 in the envelope, whatever the id decodes to."""
    body = {"files": {"data": b"x"}} if verb == "parts" else {"json": {"part_ids": []}}
    answer = httpx.post(f"{anywhere.url}/v1/uploads/{upload_id}/{verb}", **body)

    assert answer.status_code == 404
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert answer.json()["error"]["message"].startswith("No such Upload object: ")


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("", {"content": b"{"}, 400, None),
        ("", {"content": b""}, 400, None),
        ("", {"json": []}, 400, None),
        ("", {"json": {"filename": "a", "mime_type": "a/b", "purpose": "batch"}}, 400, "bytes"),
        ("", {"json": {"bytes": -1, "filename": "a", "mime_type": "a/b", "purpose": "batch"}}, 400, "bytes"),
        ("", {"json": {"bytes": 9 * 2**30, "filename": "a", "mime_type": "a/b", "purpose": "batch"}}, 413, "bytes"),
        ("", {"json": {"bytes": 1, "filename": "", "mime_type": "a/b", "purpose": "batch"}}, 400, "filename"),
        ("", {"json": {"bytes": 1, "filename": "a", "mime_type": "a\r\nb", "purpose": "batch"}}, 400, "mime_type"),
        ("", {"json": {"bytes": 1, "filename": "a", "mime_type": "a/b", "purpose": "batch_output"}}, 400, "purpose"),
        ("", {"content": b" " * 1_100_000}, 413, None),
        ("/ID/parts", {"json": {}}, 400, None),
        ("/ID/parts", {"files": {"file": b"x"}}, 400, "data"),
        ("/ID/parts", {"files": [("data", b"x"), ("data", b"x")]}, 400, "data"),
        ("/ID/parts", {"files": {"data": b"x" * (64 * 2**20 + 1)}}, 413, "data"),
        ("/ID/complete", {"json": {"part_ids": "all"}}, 400, "part_ids"),
        ("/ID/complete", {"json": {"part_ids": [1]}}, 400, "part_ids"),
        ("/ID/complete", {"json": {"part_ids": ["part_x"] * 10_001}}, 400, "part_ids"),
        ("/ID/complete", {"json": {"part_ids": [], "md5": 5}}, 400, "md5"),
    ],
)  # fmt: skip
def test_a_request_that_is_wrong_is_told_why(anywhere, path, body, status, param):
    """In the envelope, with the parameter; the upload can go on."""
    url = f"{anywhere.url}/v1/uploads"
    new = {"bytes": 1, "filename": "a", "mime_type": "a/b", "purpose": "batch"}
    upload = httpx.post(url, json=new).raise_for_status().json()["id"]
    answer = httpx.post(url + path.replace("ID", upload), **body)

    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param), answer.text
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
    assert httpx.post(f"{url}/{upload}/parts", files={"data": b"x"}).status_code == 200
    assert httpx.get(f"{url}/{upload}/parts").status_code == 405


@pytest.mark.parametrize("quota", [None, Quota(10**6)])
def test_uploads_are_named_by_where_they_are(tmp_path, quota):
    """What fails in them is logged with their URL, also of a store whose calls are measured, and of one with a quota."""
    url = f"file://{tmp_path}/files"

    async def named():
        stores = Stores(url, tenants=lambda: ["ann"], quota=lambda _: quota, wrap=Metrics().measured)
        async with stores, stores.lease("ann") as files, Places().lease(files) as uploads:
            return repr(uploads)

    assert anyio.run(named) == f"<AsyncFileStore {url}/ann/.uploads>"
