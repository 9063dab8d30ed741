"""holdall's conformance suite over sftp, webdav and ftp, on servers that run here.

Runs with HOLDALL_TEST_SERVERS=1. A server that cannot be had is skipped, and with HOLDALL_REQUIRE_SERVERS=1 a failure.
Needs `pip install paramiko asyncssh webdav4 wsgidav cheroot pyftpdlib`.
"""

from __future__ import annotations

import os

import pytest
from fsspec_servers import Unavailable, serving

from holdall.conformance import StoreConformance

if not os.environ.get("HOLDALL_TEST_SERVERS"):
    pytest.skip(
        "set HOLDALL_TEST_SERVERS=1 to try sftp, webdav and ftp on servers of their own", allow_module_level=True
    )


def _target(scheme, factory):
    running = serving(scheme, factory.mktemp(scheme))
    try:
        target = running.__enter__()
    except Unavailable as why:
        if os.environ.get("HOLDALL_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(why))
    try:
        yield target
    finally:
        running.__exit__(None, None, None)


@pytest.fixture(scope="session")
def sftp(tmp_path_factory):
    """A directory on an SFTP server."""
    yield from _target("sftp", tmp_path_factory)


@pytest.fixture(scope="session")
def webdav(tmp_path_factory):
    """A collection on a WebDAV server."""
    yield from _target("webdav", tmp_path_factory)


@pytest.fixture(scope="session")
def ftp(tmp_path_factory):
    """A directory on an FTP server."""
    yield from _target("ftp", tmp_path_factory)


class TestSftp(StoreConformance):
    """`sftp://`, over paramiko."""

    @pytest.fixture
    def holdall_target(self, sftp):
        """A new location for each check."""
        return sftp


class TestWebdav(StoreConformance):
    """`webdav://`, over webdav4."""

    @pytest.fixture
    def holdall_target(self, webdav):
        """A new location for each check."""
        return webdav


class TestFtp(StoreConformance):
    """`ftp://`, over Python's own client."""

    @pytest.fixture
    def holdall_target(self, ftp):
        """A new location for each check."""
        return ftp
