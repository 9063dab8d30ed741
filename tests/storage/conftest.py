"""What tests of several plugins share: the helpers that the plugins' own tests have."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

# Each name is one plugin's only. Imported from here, and not copied, so that a server is started in one way.
sys.path.extend(str(p / "tests") for p in (Path(__file__).parents[2] / "plugins").glob("holdall-*"))

from s3_servers import S3Server, Unavailable, moto, seaweedfs


def started(start, factory):
    """What the context manager `start(folder)` yields; skips where it cannot be had."""
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
    """Both drivers of S3 in turn."""
    return request.param


def url_of(server: S3Server, scheme, prefix, **options):
    """The URL of a store on a server by this driver."""
    return scheme + server.url(prefix, **options).removeprefix("s3")
