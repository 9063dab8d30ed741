"""Stores to serve: local, in memory, and S3 on moto."""

from __future__ import annotations

import importlib.util
import os
import sys
import uuid

import openai
import pytest
from tests._markdown import ROOT
from tests.server._serving import serving

from holdall.server import create_app


def _s3_servers():
    path = ROOT / "plugins/holdall-s3/tests/s3_servers.py"
    spec = importlib.util.spec_from_file_location("s3_servers_of_the_plugin", path)
    module = importlib.util.module_from_spec(spec)

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """An S3 server, for the whole session."""
    servers = _s3_servers()
    running = servers.moto(tmp_path_factory.mktemp("moto"))
    try:
        server = running.__enter__()
    except servers.Unavailable as error:
        if os.environ.get("HOLDALL_REQUIRE_SERVERS") == "1":
            raise
        pytest.skip(str(error))
    yield server
    running.__exit__(None, None, None)


@pytest.fixture(params=["local", "memory", "s3"])
def store_url(request, tmp_path):
    """The URL of a new, empty store of each kind."""
    if request.param == "local":
        return f"file://{tmp_path}/files"
    if request.param == "memory":
        return f"memory://{uuid.uuid4().hex}"
    return request.getfixturevalue("s3").url(uuid.uuid4().hex)


@pytest.fixture
def url(store_url):
    """The base URL of a server, on each kind of store in turn."""
    with serving(create_app(store_url)) as running:
        yield f"{running.url}/v1"


@pytest.fixture
def client(url):
    """The synchronous client, without retries."""
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as made:
        yield made


@pytest.fixture
def served(tmp_path):
    """A server of an empty local store, without keys."""
    with serving(create_app(str(tmp_path / "files"))) as running:
        running.root = tmp_path / "files"
        yield running


@pytest.fixture
def served_with(tmp_path):
    """Serves an empty local store, with these options of `create_app`."""
    return lambda **options: serving(create_app(str(tmp_path / "files"), **options))
