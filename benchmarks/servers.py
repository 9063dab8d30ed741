"""The S3 servers of the benchmarks: one that the plugins are tested on, and one that only lists and reads."""

from __future__ import annotations

import bisect
import contextlib
import http.server
import importlib.util
import sys
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

__all__ = ["ListingServer", "counting", "load"]

_TESTS = Path(__file__).parents[1] / "plugins" / "holdall-obstore" / "tests" / "obstore_servers.py"


def load() -> Any:
    """The test module that starts SeaweedFS and the counting proxy. Raises `ImportError` if a library is missing."""
    spec = importlib.util.spec_from_file_location("holdall_bench_servers", _TESTS)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {_TESTS.name}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def counting(module: Any, port: int) -> Any:
    """The tests' proxy in front of a server, extended for clients that send "Expect: 100-continue"."""
    proxy = module.Proxy(port)

    class Handler(proxy.RequestHandlerClass):  # type: ignore[misc,name-defined]
        def handle_expect_100(self) -> bool:
            told = super().handle_expect_100()
            self.wfile.flush()
            return bool(told)

    proxy.RequestHandlerClass = Handler
    return proxy


class ListingServer(http.server.ThreadingHTTPServer):
    """A bucket of very many entries that exist in memory only, to count the requests for a page of them.

    It responds to ListObjectsV2 and GET as S3 does, in the order of keys, and accepts every signature.
    """

    daemon_threads = True

    def __init__(self, prefix: str, documents: dict[str, bytes]) -> None:
        """`documents` are the metadata by id; each also has a data object."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.documents = {f"{prefix}/{file_id}/meta.json": text for file_id, text in documents.items()}
        self.keys = sorted([*self.documents, *(f"{prefix}/{file_id}/data.bin" for file_id in documents)])
        self.requests: list[str] = []
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})

    @contextlib.contextmanager
    def running(self) -> Iterator[str]:
        """Serve within the context; yields the endpoint."""
        self._thread.start()
        try:
            yield f"http://127.0.0.1:{self.server_port}"
        finally:
            self.shutdown()
            self.server_close()
            self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects is not reported."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: ListingServer

    def log_message(self, *args: Any) -> None:
        """Disable the log."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = dict(urllib.parse.parse_qsl(query))
        if "list-type" in asked:
            self.server.requests.append("list")
            self._say(200, self._listing(asked), "application/xml")
            return
        self.server.requests.append("read")
        found = self.server.documents.get(urllib.parse.unquote(path).lstrip("/").partition("/")[2])
        if found is None:
            self._say(404, b"<Error><Code>NoSuchKey</Code></Error>", "application/xml")
        else:
            self._say(200, found, "binary/octet-stream")

    def _listing(self, asked: dict[str, str]) -> bytes:
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter", "")
        after = asked.get("continuation-token") or asked.get("start-after") or ""
        limit = min(int(asked.get("max-keys", 1000)), 1000)
        keys, items, last = self.server.keys, [], after
        at = max(bisect.bisect_left(keys, prefix), bisect.bisect_right(keys, after))
        while at < len(keys) and keys[at].startswith(prefix) and len(items) < limit:
            key = keys[at]
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            if end < 0:
                items.append(_CONTENTS % escape(key))
                at, last = at + 1, key
                continue
            group = key[: end + 1]
            # Keys grouped by a delimiter are listed once, and skipped together.
            at, last = bisect.bisect_left(keys, group[:-1] + chr(ord(group[-1]) + 1)), group + "\U0010ffff"
            if not after.startswith(group):
                items.append(f"<CommonPrefixes><Prefix>{escape(group)}</Prefix></CommonPrefixes>")
        more = at < len(keys) and keys[at].startswith(prefix)
        token = f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else ""
        return (
            '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>'
            f"<Name>b</Name><Prefix>{escape(prefix)}</Prefix><KeyCount>{len(items)}</KeyCount><MaxKeys>{limit}</MaxKeys>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{''.join(items)}</ListBucketResult>"
        ).encode()

    def _say(self, status: int, body: bytes, kind: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Wed, 01 Jan 2025 00:00:00 GMT")
        self.send_header("ETag", '"0"')
        self.end_headers()
        self.wfile.write(body)


_CONTENTS = (
    "<Contents><Key>%s</Key><LastModified>2025-01-01T00:00:00.000Z</LastModified><ETag>&quot;0&quot;</ETag>"
    "<Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
