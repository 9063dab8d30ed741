"""The router in somebody else's application, with that application's own authentication and error handlers."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import httpx
import openai
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from fastapi.responses import PlainTextResponse
from tests.server._serving import serving

import holdall
from holdall import AsyncFileStore, FileStore
from holdall.backends.memory import MemoryBackend
from holdall.server import create_router

MEMBERS = {"message", "type", "param", "code"}


def _user(x_user: str | None = Header(default=None)):
    if x_user is None:
        raise HTTPException(401, "who are you?", headers={"WWW-Authenticate": "Custom"})
    return x_user


def _app(store, **options):
    """An application that answers its own errors in text."""
    app = FastAPI()
    app.include_router(create_router(store, **options), prefix="/llm/v1")

    @app.exception_handler(HTTPException)
    async def own(request, error):
        return PlainTextResponse("the application's own", error.status_code)

    @app.get("/own")
    async def fails():
        raise HTTPException(418)

    return app


def test_each_user_has_a_store_and_errors_are_the_apis():
    """What the application's dependency returns chooses the store; its refusal is told in the envelope."""
    stores = {name: AsyncFileStore(FileStore(MemoryBackend())) for name in ("ann", "ben")}
    with serving(_app(stores.__getitem__, authenticate=_user)) as running:
        base = f"{running.url}/llm/v1"
        ann, ben = (
            openai.OpenAI(base_url=base, api_key="x", max_retries=0, default_headers={"X-User": name})
            for name in stores
        )
        file = ann.files.create(file=("a", b"x"), purpose="batch")
        assert [f.id for f in ann.files.list()] == [file.id]
        assert ben.files.list().data == []

        for method, path, status in (
            ("GET", "/files", 401), ("PUT", "/files", 405), ("GET", "/files/a/b", 401),
        ):  # fmt: skip
            answer = httpx.request(method, base + path)
            assert (answer.status_code, set(answer.json()["error"])) == (status, MEMBERS)
        assert httpx.get(f"{base}/files").headers["www-authenticate"] == "Custom"
        assert httpx.get(f"{base}/files").json()["error"]["message"] == "who are you?"
        answer = httpx.get(f"{base}/files?limit=0", headers={"X-User": "ann"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "limit")
        assert httpx.get(f"{base}/files/..%2Fx", headers={"X-User": "ann"}).json()["error"]["param"] == "id"
        assert httpx.get(f"{running.url}/own").text == "the application's own"


@pytest.mark.parametrize("kind", ["FileStore", "AsyncFileStore", "function", "coroutine", "context manager"])
def test_a_store_may_come_in_any_way(kind):
    """A store of either face; or a function to one, plain, asynchronous, or lending it for the request."""
    store = FileStore(MemoryBackend())
    face = AsyncFileStore(store)
    lent = []

    async def coroutine(who):
        return face

    @contextlib.asynccontextmanager
    async def lending(who):
        lent.append("taken")
        yield face
        lent.append("given back")

    source = {
        "FileStore": store, "AsyncFileStore": face, "function": lambda who: face, "coroutine": coroutine,
        "context manager": lending,
    }[kind]  # fmt: skip
    with serving(_app(source)) as running:
        url = f"{running.url}/llm/v1/files"
        form = {"files": {"file": ("a", b"x" * 600_000)}, "data": {"purpose": "batch"}}
        file = httpx.post(url, **form).raise_for_status().json()
        assert len(httpx.get(f"{url}/{file['id']}/content").content) == 600_000
        assert httpx.get(f"{url}/file-0").status_code == 404
        with openai.OpenAI(base_url=f"{running.url}/llm/v1", api_key="x", max_retries=0) as client:
            upload = client.uploads.create(bytes=6, filename="b", mime_type="a/b", purpose="batch")
            parts = [client.uploads.parts.create(upload.id, data=data).id for data in (b"one", b"two")]
            done = client.uploads.complete(upload.id, part_ids=parts)
            assert client.files.content(done.file.id).read() == b"onetwo"
    assert sorted(file.bytes for file in store) == [6, 600_000]
    assert lent == (["taken", "given back"] * 8 if kind == "context manager" else [])


def test_a_store_lent_for_a_request_is_kept_until_its_last_byte_is_sent():
    """A download goes on after the handler has returned: only then is the store given back."""
    store = FileStore(MemoryBackend())
    file = store.create("a", b"x" * 8_000_000, purpose="batch")
    events = []

    class Watched(AsyncFileStore):
        async def open(self, file_id):
            reader = await super().open(file_id)
            aclose = reader.aclose

            async def aclose_and_say():
                events.append("closed")
                await aclose()

            reader.aclose = aclose_and_say
            return reader

    @contextlib.asynccontextmanager
    async def lending(who):
        yield Watched(store)
        events.append("given back")

    with serving(_app(lending)) as running:
        assert len(httpx.get(f"{running.url}/llm/v1/files/{file.id}/content").content) == 8_000_000
    assert events == ["closed", "given back"]


def test_an_unknown_user_of_the_function_is_an_error_of_the_server(caplog):
    """A function that fails is logged, and told without its words."""

    def broken(who):
        raise LookupError("secret")

    with serving(_app(broken)) as running:
        answer = httpx.get(f"{running.url}/llm/v1/files")
    assert (answer.status_code, set(answer.json()["error"])) == (500, MEMBERS)
    assert "secret" not in answer.text
    assert "secret" in caplog.text


def test_the_applications_dependencies_may_be_added_as_usual():
    """`include_router(dependencies=…)` guards all routes, and its refusal is in the envelope, too."""

    def closed():
        raise HTTPException(503, "closed today")

    app = FastAPI()
    app.include_router(create_router(FileStore(MemoryBackend())), prefix="/v1", dependencies=[Depends(closed)])
    with serving(app) as running:
        answer = httpx.get(f"{running.url}/v1/files")
    assert (answer.status_code, answer.json()["error"]["message"]) == (503, "closed today")


@pytest.mark.parametrize("missing", ["fastapi", "python_multipart"])
def test_without_the_extra_the_error_says_how_to_get_it(missing):
    """Importing `holdall.server` works; using it says what to install."""
    code = f"""
import sys
sys.modules[{missing!r}] = None
import holdall.server
try:
    holdall.server.create_app
except ModuleNotFoundError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert "pip install 'holdall[server]'" in done.stdout


def test_importing_holdall_imports_no_server():
    """Nor does anything of the library bring in FastAPI."""
    code = (
        "import sys, holdall; holdall.open_store('memory://'); holdall.AsyncFileStore; print('fastapi' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == "False"
    assert set(dir(holdall.server)) >= {"create_app", "create_router", "Keys", "Quota"}
    with pytest.raises(AttributeError, match="create_shop"):
        holdall.server.create_shop  # noqa: B018 - looking is the test
