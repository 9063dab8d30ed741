"""A server on a free local port, in a thread of the test's own process, or in a process that can be killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import uvicorn

KEY = "sk-test"


class Running:
    """A running server: its address, and plain sockets for misbehaving clients."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)


@contextlib.contextmanager
def serving(app, *, grace: int = 5) -> Iterator[Running]:
    """Serve the application until the block is left, and then let running requests finish for this many seconds."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_config=None, lifespan="on", timeout_graceful_shutdown=grace)
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


PROGRAM = """
import socket, sys, uvicorn
from holdall.server import create_app
listener = socket.socket(fileno=int(sys.argv[2]))
uvicorn.Server(uvicorn.Config(create_app(sys.argv[1]), log_config=None)).run([listener])
"""


class Process(Running):
    """A server of a store in a separate process, killed when the block is left. Requests wait until it has started."""

    def __init__(self, store_url: str) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(100)
            super().__init__(listener.getsockname()[1])
            command = [sys.executable, "-c", PROGRAM, store_url, str(listener.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[listener.fileno()])

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        os.kill(self._process.pid, signal.SIGKILL)

    def memory(self, *, peak: bool) -> int:
        """Its current memory use in bytes, or the peak since the last call."""
        with open(f"/proc/{self._process.pid}/status", encoding="ascii") as file:
            [kibibytes] = re.findall(f"{'VmHWM' if peak else 'VmRSS'}:\\s*([0-9]+) kB", file.read())
        with open(f"/proc/{self._process.pid}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        return int(kibibytes) * 1024

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait until this holds, for actions of another process that cannot be awaited."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def begin_upload(connection: socket.socket, data: bytes, *, sent: int, headers: str = "") -> bytes:
    """Send the start of a form with a file, up to this many bytes of the file; returns the rest."""
    form = (
        b'--edge\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        b'--edge\r\nContent-Disposition: form-data; name="file"; filename="slow.bin"\r\n\r\n'
    )
    rest = data[sent:] + b"\r\n--edge--\r\n"
    head = (
        "POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
        "Content-Type: multipart/form-data; boundary=edge\r\n"
        f"Content-Length: {len(form) + sent + len(rest)}\r\n{headers}\r\n"
    )
    connection.sendall(head.encode() + form + data[:sent])
    return rest


def answer_to(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of the single response that arrives before the server closes the connection."""
    with connection.makefile("rb") as stream:
        head, _, body = stream.read().partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def assert_nothing_is_left(running):
    """No file is listed, and the store's directory contains no leftover of a write."""
    assert httpx.get(f"{running.url}/v1/files").json()["data"] == []
    staging = running.root / ".staging"
    assert not staging.exists() or list(staging.iterdir()) == []
