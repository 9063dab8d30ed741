"""Shared by tests of several plugins: the helpers of the plugins' own tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Each module name is unique among the plugins. Imported instead of copied, so that servers are started in one way only.
sys.path.extend(str(p / "tests") for p in (Path(__file__).parents[2] / "plugins").glob("holdall-*"))

from s3_servers import S3Server, Unavailable, moto, seaweedfs


def started(start, factory):
    """Yields what the context manager `start(folder)` yields; skips if it is unavailable."""
    context = start(factory.mktemp(start.__name__))
    try:
        running = context.__enter__()
    except Unavailable as why:
        if os.environ.get("HOLDALL_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(why))
    try:
        yield running
    finally:
        context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory):
    """moto, for the whole run."""
    yield from started(moto, tmp_path_factory)


@pytest.fixture(scope="session")
def seaweedfs_server(tmp_path_factory):
    """SeaweedFS, for the whole run."""
    yield from started(seaweedfs, tmp_path_factory)


@pytest.fixture(params=["s3", "s3+obstore"])
def scheme(request):
    """Each of the two S3 drivers."""
    return request.param


def url_of(server: S3Server, scheme, prefix, **options):
    """The URL of a store on a server, for this driver."""
    return scheme + server.url(prefix, **options).removeprefix("s3")
