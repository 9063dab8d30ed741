"""Tasks that run beside the requests, as `create_app(background=...)` starts them."""

from __future__ import annotations

import anyio
import httpx
from tests.server._serving import serving, until

from holdall.server import create_app

SECRET = "/srv/secret-place"


def test_a_task_in_the_background_that_fails_takes_nothing_with_it(caplog):
    """It is logged; requests are answered as before, and the other tasks go on until the server stops."""
    ended = []

    async def fails(_):
        raise RuntimeError(SECRET)

    async def goes_on(stores):
        try:
            await anyio.sleep_forever()
        finally:
            async with stores.lease() as store:
                ended.append(store.max_bytes)

    with serving(create_app("memory://x", background=[fails, goes_on])) as running:
        until(lambda: SECRET in caplog.text)
        assert httpx.get(f"{running.url}/readyz").status_code == 200
        assert httpx.get(f"{running.url}/v1/files").status_code == 200
        assert not ended
    assert ended
