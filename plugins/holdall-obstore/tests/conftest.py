"""Servers for the tests of this plugin, and the modules that they share."""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

# pytest uses the importlib import mode, in which tests cannot import modules next to them.
sys.path.insert(0, str(Path(__file__).parent))

from obstore_servers import Proxy, Server, Unavailable, moto, seaweedfs


def _started(
    start: Callable[[Path], AbstractContextManager[Server]], factory: pytest.TempPathFactory
) -> Iterator[Server]:
    running = start(factory.mktemp(start.__name__))
    try:
        server = running.__enter__()
    except Unavailable as error:
        if os.environ.get("HOLDALL_REQUIRE_SERVERS") == "1":
            raise
        pytest.skip(str(error))
    try:
        yield server
    finally:
        running.__exit__(None, None, None)


@pytest.fixture(scope="session")
def moto_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """moto, for the whole session."""
    yield from _started(moto, tmp_path_factory)


@pytest.fixture(scope="session")
def weed_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """SeaweedFS, for the whole session."""
    yield from _started(seaweedfs, tmp_path_factory)


@pytest.fixture
def proxy(weed_s3: Server) -> Iterator[Proxy]:
    """A proxy in front of SeaweedFS."""
    proxy = Proxy(weed_s3.port)
    yield proxy
    proxy.stop()


@pytest.fixture
def prefix() -> str:
    """A unique prefix in the bucket."""
    return f"p-{uuid.uuid4().hex}"
