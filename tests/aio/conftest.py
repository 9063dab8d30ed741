"""All tests here run on asyncio, and on trio if it is installed."""

from __future__ import annotations

import pytest
from tests.aio._fakes import LOOPS


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    """The kind of event loop, as requested by anyio's plugin."""
    return request.param


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path):
    """A store's URL, for both backends of the core."""
    return "memory://" if request.param == "memory" else f"file://{tmp_path}/store?fsync=false"
