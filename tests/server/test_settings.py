"""Settings of a server that are wrong: told to whoever makes the server, not to its clients."""

from __future__ import annotations

from datetime import timedelta

import anyio
import httpx
import pytest
from fastapi import FastAPI
from tests.server._serving import serving

import holdall
from holdall import InvalidRequest
from holdall.server import Quota, create_app, create_router, sweeping


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"max_upload_bytes": "8GiB"}, "max_upload_bytes must be a whole number, not '8GiB'"),
        ({"max_upload_bytes": 0}, "max_upload_bytes must be 1 or more, not 0"),
        ({"redirect_seconds": "300"}, "redirect_seconds must be a whole number, not '300'"),
        ({"redirect_seconds": -1}, "redirect_seconds must be 0 or more, not -1"),
    ],
)
def test_a_wrong_number_is_refused_before_there_is_a_server(options, why):
    """Neither an application nor a router is made that would answer its clients that *they* made a mistake."""
    with pytest.raises(InvalidRequest) as refused:
        create_app("memory://", **options)
    assert str(refused.value) == why
    with holdall.open_store("memory://") as store, pytest.raises(InvalidRequest) as refused:
        create_router(store, **options)
    assert str(refused.value) == why


def test_a_router_is_made_of_a_store_not_of_its_url():
    """A URL, which an application takes, is refused at once, not at every request."""
    with pytest.raises(InvalidRequest, match=r"^store is a value of type str; it must be a store, "):
        create_router("memory://")


def test_a_function_that_returns_another_kind_of_store_is_named_in_the_log(caplog):
    """Only a request shows it; its answer says nothing of the program, and the log says what to return."""
    app = FastAPI()
    with holdall.open_store("memory://") as store:
        app.include_router(create_router(lambda _: store), prefix="/v1")
        with serving(app) as running:
            assert httpx.get(f"{running.url}/v1/files").status_code == 500
    assert "create_router returned a FileStore instead of an AsyncFileStore" in caplog.messages[0]


@pytest.mark.parametrize("quota", [{"max_bytes": "1GiB"}, {"max_bytes": -1}, {"max_files": 1.5}, {"max_files": True}])
def test_a_wrong_quota_is_refused_when_it_is_made(quota):
    """Otherwise every upload would fail; 0 is a quota, and None is none."""
    (name,) = quota
    with pytest.raises(InvalidRequest, match=f"^{name} of a quota must be "):
        Quota(**quota)
    assert Quota(**{name: 0}) != Quota(**{name: None})


@pytest.mark.parametrize("every", ["10m", -1, float("nan")])
def test_a_wrong_time_between_sweeps_is_refused_at_once(every):
    """Otherwise the task that sweeps would end the whole application."""
    with pytest.raises(InvalidRequest, match=r"^sweep_seconds must be seconds"):
        create_app("memory://", sweep_seconds=every)

    async def main():
        async with sweeping(every=every):
            raise AssertionError("it was accepted")

    with pytest.raises(InvalidRequest, match=r"^every must be seconds"):
        anyio.run(main)


def test_the_time_between_sweeps_may_be_a_timedelta():
    """As in every other call that takes a time; the server starts and answers."""
    with serving(create_app("memory://", sweep_seconds=timedelta(minutes=10))) as running:
        assert httpx.get(f"{running.url}/v1/files").status_code == 200


def test_hosts_are_names_and_not_text(tmp_path):
    """A text would contain each part of itself, such as `local`; names may be in any case."""
    with pytest.raises(
        InvalidRequest, match=r"^hosts must be a collection of names, such as \['localhost'\], not text$"
    ):
        create_app("memory://", hosts="localhost")
    with serving(create_app(str(tmp_path), hosts=["Files.Example"])) as running:
        for host, status in (("files.example", 200), ("FILES.example:80", 200), ("files", 403)):
            assert httpx.get(f"{running.url}/v1/files", headers={"Host": host}).status_code == status, host
