"""A bucket with any number of entries, over S3's protocol: keys are computed, nothing is stored."""

from __future__ import annotations

import bisect
import http.server
import threading
import urllib.parse
from collections import Counter
from xml.sax.saxutils import escape

from holdall import FileObject
from holdall.ids import time_of_text
from holdall.model import encode_meta

BUCKET = "many"
_NAMES = ("data.bin", "meta.json")


class KeySpace(http.server.ThreadingHTTPServer):
    """Responds to ListObjectsV2 in byte order, as AWS does, and to GetObject for metadata; counts both."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, files):
        """`files` maps ids to creation times (Unix seconds); None: the time in the id."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files = files
        self.keys = sorted(f"p/{file_id}/{name}" for file_id in files for name in _NAMES)
        self.requests = Counter()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def url(self, scheme):
        """The URL of the store."""
        return f"{scheme}://{BUCKET}/p?endpoint_url=http://127.0.0.1:{self.server_port}&region=x&key=k&secret=s"

    def stop(self):
        """Stop serving."""
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request, client_address):
        """A client that disconnects is not reported."""

    def listing(self, query):
        """The response to ListObjectsV2."""
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        most = min(int(query.get("max-keys", 1000)), 1000)
        start = query.get("continuation-token") or query.get("start-after") or ""
        at = max(bisect.bisect_right(self.keys, start), bisect.bisect_left(self.keys, prefix))
        contents, common = [], []
        while at < len(self.keys) and self.keys[at].startswith(prefix) and len(contents) + len(common) < most:
            key = self.keys[at]
            folder, slash, _ = key[len(prefix) :].partition(delimiter) if delimiter else ("", "", "")
            if slash:
                common.append(prefix + folder + slash)
                last = common[-1] + "\U0010ffff"
                at = bisect.bisect_left(self.keys, last, at)
            else:
                contents.append(key)
                last, at = key, at + 1
        more = at < len(self.keys) and self.keys[at].startswith(prefix)
        entry = "<Contents><Key>{}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
        entry += "<Size>1</Size><StorageClass>STANDARD</StorageClass></Contents>"
        return "".join(
            [
                "<ListBucketResult>",
                f"<Name>{BUCKET}</Name><KeyCount>{len(contents) + len(common)}</KeyCount><MaxKeys>{most}</MaxKeys>",
                f"<IsTruncated>{str(more).lower()}</IsTruncated>",
                f"<NextContinuationToken>{escape(last)}</NextContinuationToken>" if more else "",
                *(entry.format(escape(key)) for key in contents),
                *(f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in common),
                "</ListBucketResult>",
            ]
        )

    def meta(self, key):
        """The metadata document under a key; None if there is none."""
        file_id, _, name = key.removeprefix("p/").partition("/")
        if file_id not in self.files or name != "meta.json":
            return None
        created_at = self.files[file_id]
        if created_at is None:
            created_at = time_of_text(file_id) // 1000
        return encode_meta(FileObject(id=file_id, filename="a", purpose="batch", bytes=1, created_at=created_at))


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: KeySpace

    def log_message(self, *args):
        """Disable the log."""

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path)
        key = urllib.parse.unquote(parts.path).removeprefix(f"/{BUCKET}").lstrip("/")
        if key:
            self.server.requests["get"] += 1
            body = self.server.meta(key)
        else:
            self.server.requests["list"] += 1
            body = self.server.listing(dict(urllib.parse.parse_qsl(parts.query))).encode()
        self.send_response_only(200 if body is not None else 404)
        body = b"<Error><Code>NoSuchKey</Code></Error>" if body is None else body
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
