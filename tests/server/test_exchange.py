"""Requests that are cancelled from outside, and servers that wait for those in progress, without a network."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from holdall.server import _exchange
from holdall.server._exchange import InProgress, Watch

SCOPE = {"type": "http", "method": "GET", "path": "/v1/files", "headers": []}


class _Ended:
    """The requests that have ended."""

    def __init__(self):
        self.exchanges = []

    def begun(self, exchange):
        pass

    def ended(self, exchange):
        self.exchanges.append(exchange)


def _cancelled(send):
    """A request that is cancelled while it is served, with this way to send: as it ended."""
    ended, went_on = _Ended(), []

    async def run():
        with anyio.CancelScope() as scope:

            async def serve(*_):
                scope.cancel()
                await anyio.sleep_forever()

            await Watch(serve, [ended])(SCOPE, anyio.sleep_forever, send)
            went_on.append(True)

    anyio.run(run)
    assert went_on == []
    [exchange] = ended.exchanges
    assert exchange.aborted
    return exchange


def test_a_cancelled_request_is_told_so_and_remains_cancelled():
    """Its client gets 503 with when to try again, although nothing else is awaited in a cancelled task."""
    sent = []

    async def send(message):
        await checkpoint()
        sent.append(message)

    assert _cancelled(send).status == 503
    start, body = sent
    assert (start["status"], dict(start["headers"])[b"retry-after"]) == (503, b"1")
    assert b"server_stopping" in body["body"]


@pytest.mark.timeout(60)
def test_a_client_that_does_not_read_holds_up_no_server_that_stops(monkeypatch):
    """What it is to be told is given up after a moment."""
    monkeypatch.setattr(_exchange, "_LAST_WORDS_SECONDS", 0.01)

    async def send(_):
        await anyio.sleep_forever()

    _cancelled(send)


def test_a_request_that_begins_when_the_last_one_ends_is_waited_for():
    """It is in progress before who waits has been told of the end."""
    in_progress, waited = InProgress(), []

    async def wait():
        await in_progress.wait_for_none()
        waited.append(True)

    async def run():
        in_progress.begun(None)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            in_progress.ended(None)
            in_progress.begun(None)
            await anyio.wait_all_tasks_blocked()
            assert waited == []
            in_progress.ended(None)

    anyio.run(run)
    assert waited == [True]
