"""Servers for the tests of this plugin, and the modules that they share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

# pytest uses the importlib import mode, in which tests cannot import modules next to them.
sys.path.insert(0, str(Path(__file__).parent))

from s3_servers import S3Server, Unavailable, moto, seaweedfs


def _started(
    start: Callable[[Path], AbstractContextManager[S3Server]], factory: pytest.TempPathFactory
) -> Iterator[S3Server]:
    server = start(factory.mktemp(start.__name__))
    try:
        running = server.__enter__()
    except Unavailable as error:
        if os.environ.get("HOLDALL_REQUIRE_SERVERS") == "1":
            raise
        pytest.skip(str(error))
    try:
        yield running
    finally:
        server.__exit__(None, None, None)


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """moto, for the whole session."""
    yield from _started(moto, tmp_path_factory)


@pytest.fixture(scope="session")
def seaweedfs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """SeaweedFS, for the whole session."""
    yield from _started(seaweedfs, tmp_path_factory)


@pytest.fixture(params=["moto", "seaweedfs"])
def server(request: pytest.FixtureRequest) -> S3Server:
    """Each of the servers."""
    found: S3Server = request.getfixturevalue(f"{request.param}_server")
    return found
