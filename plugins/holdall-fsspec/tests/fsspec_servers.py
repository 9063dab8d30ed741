"""Servers for sftp, webdav and ftp on loopback, each on a free port, serving one directory until its context ends."""

from __future__ import annotations

import contextlib
import importlib.util
import subprocess
import sys

from holdall.conformance import DirectoryRaw, Target
from holdall.url import StoreURL

# Each prints its port when it listens, and serves the directory in its first argument until it is killed.
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


PROGRAMS = {
    "sftp": (SFTP, ("asyncssh", "paramiko")),
    "webdav": (WEBDAV, ("wsgidav", "cheroot", "webdav4")),
    "ftp": (FTP, ("pyftpdlib",)),
}
OPTIONS = {"sftp": "?look_for_keys=false&allow_agent=false", "webdav": "?tls=false", "ftp": ""}


class Unavailable(Exception):
    """The server is not available here; the text says why."""


@contextlib.contextmanager
def serving(scheme, folder):
    """A target on a server for this scheme that serves the folder."""
    program, packages = PROGRAMS[scheme]
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise Unavailable(f"pip install {' '.join(missing)}")
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True) as server:
        try:
            port = int(server.stdout.readline())
            yield ServedTarget(f"{scheme}://me:secret@127.0.0.1:{port}/files{OPTIONS[scheme]}", folder)
        finally:
            server.kill()


class ServedRaw(DirectoryRaw):
    """Direct access to the directory that a server serves."""

    def link(self, file_id, outside):
        raise NotImplementedError("whether a link is followed is for the server to say")


class ServedTarget(Target):
    """A server whose directory is accessed directly by raw access."""

    def __init__(self, url, folder):
        super().__init__(url)
        self.folder = folder

    def fresh(self):
        url = super().fresh()
        self.raw = ServedRaw(f"{self.folder}{StoreURL.parse(url).path}")
        return url
