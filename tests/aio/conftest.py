"""Every test here runs on asyncio, and on trio where it is installed."""

from __future__ import annotations

import pytest
from tests.aio._fakes import LOOPS


@pytest.fixture(params=LOOPS)
def anyio_backend(request):
    """The event loop's kind, as anyio's plugin asks for it."""
    return request.param


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path):
    """A store's URL, of both backends of the core."""
    return "memory://" if request.param == "memory" else f"file://{tmp_path}/store?fsync=false"
