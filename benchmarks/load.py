"""A load generator for an HTTP server, or for a store in this process: `python -m benchmarks.load`, as a process.

Reads one job for each line, as JSON, and responds with the total seconds and those of each request. The clients are as
light as possible, so that the server is what is measured: raw keep-alive sockets, one event loop, no HTTP library.
Responses are kept, and checked afterwards.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["DATA", "FILENAME", "check_answers", "main"]

FILENAME = "report.jsonl"
DATA = bytes(range(256)) * 4
_BOUNDARY = b"holdall-bench-0123456789abcdef"
_FORM = b"".join(
    [
        b'--%b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n' % _BOUNDARY,
        b'--%b\r\nContent-Disposition: form-data; name="file"; filename="%b"\r\n' % (_BOUNDARY, FILENAME.encode()),
        b"Content-Type: application/octet-stream\r\n\r\n%b\r\n--%b--\r\n" % (DATA, _BOUNDARY),
    ]
)
_COMMON = b"Host: 127.0.0.1:%d\r\nAccept: */*\r\nUser-Agent: bench\r\n"


def request_of(job: dict[str, Any]) -> bytes:
    """The bytes of one request."""
    common = _COMMON % job["port"]
    if job["call"] == "upload":
        kind = b"Content-Type: multipart/form-data; boundary=%b\r\nContent-Length: %d\r\n" % (_BOUNDARY, len(_FORM))
        return b"POST /v1/files HTTP/1.1\r\n%b%b\r\n%b" % (common, kind, _FORM)
    path = "/v1/files?limit=20" if job["call"] == "page" else f"/v1/files/{job['newest'][0]}/content"
    return b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), common)


def call_of(job: dict[str, Any], store: Any) -> Callable[[], Any]:
    """The equivalent call of a store."""
    if job["call"] == "upload":
        return lambda: store.create(FILENAME, DATA, purpose="user_data")
    if job["call"] == "page":
        return lambda: store.list(limit=20, order="desc")
    return lambda: store.get_content(job["newest"][0])


def check_answers(job: dict[str, Any], answers: list[Any]) -> None:
    """Raise unless each response is correct: those of uploads describe the upload, each with a different id."""
    if job["call"] == "upload":
        files = [json.loads(a) if isinstance(a, bytes) else a.model_dump() for a in answers]
        _check(all((f["bytes"], f["filename"]) == (len(DATA), FILENAME) for f in files), "another file was stored")
        _check(job.get("constant") or len({f["id"] for f in files}) == len(files), "two uploads have one id")
    elif job["call"] == "page":
        pages = [json.loads(a)["data"] if isinstance(a, bytes) else a.data for a in answers]
        found = [[f["id"] if isinstance(f, dict) else f.id for f in page] for page in pages]
        _check(all(ids == job["newest"] for ids in found), "another page came")
    else:
        _check(all(a == DATA for a in answers), "other bytes came back")


def _check(fact: object, what: str) -> None:
    if not fact:
        raise AssertionError(what)


class _Connection(asyncio.Protocol):
    """One client: sends a request, waits for the whole response, and repeats this until the time is over."""

    def __init__(self, request: bytes, closed: Callable[[], None]) -> None:
        self.seconds: list[float] = []
        self.answers: list[bytes] = []
        self.ended = 0.0
        self.until = 0.0
        self._request = request
        self._closed = closed
        self._transport: Any = None
        self._got = b""
        self._needed = 0
        self._sent = 0.0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self) -> None:
        """Send one request."""
        self._got, self._needed = b"", 0
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        if not self._needed:
            head, found, _ = self._got.partition(b"\r\n\r\n")
            if not found:
                return
            _check(head.startswith(b"HTTP/1.1 200 "), f"the server said {head[:200]!r}")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._needed = len(head) + 4 + int(length)
        if len(self._got) < self._needed:
            return
        self.ended = time.perf_counter()
        self.seconds.append(self.ended - self._sent)
        self.answers.append(self._got)
        if self.ended < self.until:
            self.send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed()


async def _over_http(job: dict[str, Any]) -> tuple[float, list[float], list[bytes]]:
    loop, left, done = asyncio.get_running_loop(), job["clients"], asyncio.Event()
    failed: list[str] = []

    def closed() -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    def failure(_: Any, context: dict[str, Any]) -> None:
        failed.append(str(context.get("exception") or context["message"]))
        done.set()

    loop.set_exception_handler(failure)
    connections: list[_Connection] = []
    for _ in range(job["clients"]):
        made = await loop.create_connection(lambda: _Connection(request_of(job), closed), "127.0.0.1", job["port"])
        connections.append(made[1])
    start = time.perf_counter()
    for connection in connections:
        connection.until = start + job["seconds"]
        connection.send()
    await done.wait()
    _check(not failed, "; ".join(failed))
    bodies = [answer.partition(b"\r\n\r\n")[2] for c in connections for answer in c.answers]
    return max(c.ended for c in connections) - start, [s for c in connections for s in c.seconds], bodies


def _in_threads(job: dict[str, Any], store: Any) -> tuple[float, list[float], list[Any]]:
    call, clock = call_of(job, store), time.perf_counter
    ready = threading.Barrier(job["clients"] + 1)
    found: list[tuple[list[float], list[Any], float]] = []

    def work() -> None:
        seconds, answers = [], []
        ready.wait()
        until = clock() + job["seconds"]
        while True:
            start = clock()
            answers.append(call())
            end = clock()
            seconds.append(end - start)
            if end >= until:
                break
        found.append((seconds, answers, end))

    threads = [threading.Thread(target=work) for _ in range(job["clients"])]
    for thread in threads:
        thread.start()
    ready.wait()
    start = clock()
    for thread in threads:
        thread.join()
    _check(len(found) == len(threads), "a thread failed")
    took = max(end for _, _, end in found) - start
    return took, [s for part, _, _ in found for s in part], [a for _, part, _ in found for a in part]


def main() -> None:
    """Run jobs until the input ends."""
    stores: dict[str, Any] = {}
    for line in sys.stdin:
        job = json.loads(line)
        if "url" in job:
            import holdall

            store = stores.setdefault(job["url"], None) or holdall.open_store(job["url"])
            stores[job["url"]] = store
            took, seconds, answers = _in_threads(job, store)
        else:
            took, seconds, answers = asyncio.run(_over_http(job))
        check_answers(job, answers)
        print(json.dumps({"took": took, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
