"""A TCP proxy for an S3 server that breaks connections, does not respond, or responds in place of the server."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from dataclasses import dataclass

_KINDS = ("uploads", "partNumber", "uploadId", "list-type")


@dataclass(frozen=True)
class Fault:
    """What happens to one request."""

    up: int | None = None
    """The connection breaks after this many bytes of the request's body."""
    down: int | None = None
    """The server has processed the request, and the connection breaks after this many bytes of its response."""
    answer: tuple[int, str] | None = None
    """A status and an S3 error code, instead of the server's response; the server gets no request."""
    gone: bool = False
    """The connection breaks before the server has received any of the request."""
    silent: bool = False
    """The server gets no request, and there is no response until the client gives up."""
    deaf: bool = False
    """The same, and the request's body is not read either."""


class FaultProxy:
    """Listens on loopback. `plan` is called with each request, such as `PUT meta.json` or `PUT partNumber`."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.requests = []
        self.plan = lambda request: None
        self._loop = asyncio.new_event_loop()
        self._tasks = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,))
        self._thread.start()
        ready.wait()

    def once(self, request, fault):
        """Inject this fault into the first such request."""
        pending = [request]

        def plan(asked):
            if pending and asked == pending[0]:
                pending.clear()
                return fault
            return None

        self.plan = plan
        return pending

    def always(self, request, fault):
        """Inject this fault into every such request; None: into every request."""
        self.plan = lambda asked: fault if request in {None, asked} else None

    def count(self, request):
        """The number of such requests so far."""
        return self.requests.count(request)

    def stop(self):
        """Stop serving."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self, ready):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve(ready))
        self._loop.close()

    async def _serve(self, ready):
        self._stopped = asyncio.Event()
        server = await asyncio.start_server(self._begin, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stopped.wait()
        server.close()
        # A connection that has just come in may add one.
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.wait_closed()

    def _begin(self, reader, writer):
        task = self._loop.create_task(self._handle(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # Aborted, as when a connection breaks; everything before has been sent. Not in a `finally` of the task, which
        # does not run if the task is cancelled before it has begun.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _handle(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self._serve_one(reader, writer)

    async def _serve_one(self, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        method, target, _ = head.decode("latin-1").split(" ", 2)
        path, _, query = target.partition("?")
        kind = next((k for k in _KINDS if re.search(rf"(^|&){k}\b", query)), path.rpartition("/")[2])
        request = f"{method} {kind}"
        self.requests.append(request)
        fault = self.plan(request) or Fault()
        if fault.silent:
            await reader.read(-1)
        elif fault.deaf:
            writer.transport.pause_reading()
            await self._stopped.wait()
        elif fault.answer is not None:
            await self._answer(head, reader, writer, *fault.answer)
        elif not fault.gone:
            await self._pass_on(head, reader, writer, fault)
        if fault.answer is not None or fault == Fault():
            writer.close()
            await writer.wait_closed()

    async def _answer(self, head, reader, writer, status, code):
        size = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if b"100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await reader.readexactly(int(size[1]) if size else 0)
        body = b"" if head.startswith(b"HEAD") else f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode()
        line = f"HTTP/1.1 {status} Made up\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        writer.write(line.encode() + b"Connection: close\r\n\r\n" + body)
        await writer.drain()

    async def _pass_on(self, head, reader, writer, fault):
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        # One request for each connection, so that the end of the response is the end of the connection.
        head = re.sub(rb"(?i)\r\nconnection:[^\r]*", b"", head)
        up_writer.write(head[:-2] + b"Connection: close\r\n\r\n")
        sending = self._loop.create_task(_pump(reader, up_writer, fault.up))
        receiving = self._loop.create_task(self._receive(up_reader, writer, fault.down))
        try:
            done, _ = await asyncio.wait({sending, receiving}, return_when=asyncio.FIRST_COMPLETED)
            if sending in done and fault.up is None:
                await receiving
        finally:
            for task in (sending, receiving):
                task.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)
            up_writer.transport.abort()

    async def _receive(self, reader, writer, most):
        line = await reader.readuntil(b"\r\n")
        while b" 100 " in line:
            writer.write(line + await reader.readuntil(b"\r\n"))
            line = await reader.readuntil(b"\r\n")
        if most is not None:
            # Reads the whole response, so that the server has certainly processed the request.
            whole = line + await reader.read(-1)
            writer.write(whole[:most])
            await writer.drain()
            return
        writer.write(line)
        await _pump(reader, writer, None)


async def _pump(reader, writer, most):
    while most is None or most > 0:
        data = await reader.read(65536 if most is None else min(65536, most))
        if not data:
            return
        writer.write(data)
        await writer.drain()
        if most is not None:
            most -= len(data)
