"""holdall's conformance suite over sftp, webdav and ftp, on servers that run here.

Runs with HOLDALL_TEST_SERVERS=1, or with HOLDALL_REQUIRE_SERVERS=1, where a server that cannot be had is a failure.
Needs `pip install paramiko asyncssh webdav4 wsgidav cheroot pyftpdlib`.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

from holdall.conformance import DirectoryRaw, StoreConformance, Target
from holdall.url import StoreURL

if not (os.environ.get("HOLDALL_TEST_SERVERS") or os.environ.get("HOLDALL_REQUIRE_SERVERS")):
    pytest.skip(
        "set HOLDALL_TEST_SERVERS=1 to try sftp, webdav and ftp on servers of their own", allow_module_level=True
    )

# Each prints its port when it listens, and serves the directory of its first argument until it is killed.
SFTP = """
import asyncio, os, sys, asyncssh

class Server(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, password):
        return (username, password) == ("me", "secret")

async def main():
    key = asyncssh.generate_private_key("ssh-ed25519")
    sftp = lambda channel: asyncssh.SFTPServer(channel, chroot=os.fsencode(sys.argv[1]))
    server = await asyncssh.create_server(Server, "127.0.0.1", 0, server_host_keys=[key], sftp_factory=sftp)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
WEBDAV = """
import sys
from cheroot import wsgi
from wsgidav.wsgidav_app import WsgiDAVApp

users = {"*": {"me": {"password": "secret"}}}
app = WsgiDAVApp({"provider_mapping": {"/": sys.argv[1]}, "simple_dc": {"user_mapping": users}, "verbose": 0,
                  "logging": {"enable": False}})
server = wsgi.Server(("127.0.0.1", 0), app, numthreads=24)
server.prepare()
print(server.bind_addr[1], flush=True)
server.serve()
"""
FTP = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import ThreadedFTPServer

FTPHandler.authorizer = DummyAuthorizer()
FTPHandler.authorizer.add_user("me", "secret", sys.argv[1], perm="elradfmwMT")
server = ThreadedFTPServer(("127.0.0.1", 0), FTPHandler)
print(server.address[1], flush=True)
server.serve_forever()
"""


def _serve(program, folder, *packages):
    """The port of a server on loopback, until the context of the generator ends."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        why = f"pip install {' '.join(missing)}"
        if os.environ.get("HOLDALL_REQUIRE_SERVERS"):
            pytest.fail(why)
        pytest.skip(why)
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True) as server:
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@pytest.fixture(scope="session")
def sftp(tmp_path_factory):
    """The directory of an SFTP server, and its port."""
    folder = tmp_path_factory.mktemp("sftp")
    for port in _serve(SFTP, folder, "asyncssh", "paramiko"):
        yield folder, port


@pytest.fixture(scope="session")
def webdav(tmp_path_factory):
    """The directory of a WebDAV server, and its port."""
    folder = tmp_path_factory.mktemp("webdav")
    for port in _serve(WEBDAV, folder, "wsgidav", "cheroot", "webdav4"):
        yield folder, port


@pytest.fixture(scope="session")
def ftp(tmp_path_factory):
    """The directory of an FTP server, and its port."""
    folder = tmp_path_factory.mktemp("ftp")
    for port in _serve(FTP, folder, "pyftpdlib"):
        yield folder, port


class ServedRaw(DirectoryRaw):
    """The directory that a server serves."""

    def link(self, file_id, outside):
        raise NotImplementedError("whether a link is followed is for the server to say")


class ServedTarget(Target):
    """A server whose directory is seen past the store as what it is."""

    def __init__(self, url, folder):
        super().__init__(url)
        self.folder = folder

    def fresh(self):
        url = super().fresh()
        self.raw = ServedRaw(f"{self.folder}{StoreURL.parse(url).path}")
        return url


class TestSftp(StoreConformance):
    """`sftp://`, over paramiko."""

    @pytest.fixture
    def holdall_target(self, sftp):
        """A directory on the server for each check."""
        folder, port = sftp
        return ServedTarget(f"sftp://me:secret@127.0.0.1:{port}/files?look_for_keys=false&allow_agent=false", folder)


class TestWebdav(StoreConformance):
    """`webdav://`, over webdav4."""

    @pytest.fixture
    def holdall_target(self, webdav):
        """A collection on the server for each check."""
        folder, port = webdav
        return ServedTarget(f"webdav://me:secret@127.0.0.1:{port}/files?tls=false", folder)


class TestFtp(StoreConformance):
    """`ftp://`, over Python's own client."""

    @pytest.fixture
    def holdall_target(self, ftp):
        """A directory on the server for each check."""
        folder, port = ftp
        return ServedTarget(f"ftp://me:secret@127.0.0.1:{port}/files", folder)
