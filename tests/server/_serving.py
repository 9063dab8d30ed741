"""A server on a free port of this machine, in a thread of the test's own process."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import uvicorn

KEY = "sk-test"


class Running:
    """A server that runs: where it is, and its sockets for clients that are not polite."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextlib.contextmanager
def serving(app) -> Iterator[Running]:
    """The application, answering until the block is left."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    started = threading.Event()
    startup = server.startup

    async def startup_and_say(*args, **kwargs):
        try:
            await startup(*args, **kwargs)
        finally:
            started.set()

    server.startup = startup_and_say
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    started.wait(60)
    assert server.started, "the server did not start"
    try:
        yield Running(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive(), "the server did not stop"
        listener.close()
