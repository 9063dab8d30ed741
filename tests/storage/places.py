"""Every storage with a published report: how to start it, and a target on it."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.request
from urllib.parse import quote

import fsspec
from fsspec_raw import FileTarget, FsspecRaw, MemoryTarget
from fsspec_servers import ServedTarget, serving
from obstore_raw import FileTarget as ObstoreFileTarget
from obstore_raw import MemoryTarget as ObstoreMemoryTarget
from s3_raw import S3Target
from s3_servers import moto, seaweedfs
from tests.storage.servers import AZURE_ACCOUNT, AZURE_KEY, azurite, fake_gcs, openssh, radosgw

from holdall.conformance import Target
from holdall.url import StoreURL


class DriverTarget(S3Target):
    """An S3 server, through one of the two drivers."""

    def __init__(self, server, scheme):
        super().__init__(server)
        self.url = StoreURL.parse(scheme + str(server.url("conformance")).removeprefix("s3"))


class BucketTarget(Target):
    """A bucket that fsspec can access."""

    def __init__(self, url, protocol, **options):
        super().__init__(url)
        self.fs = fsspec.filesystem(protocol, use_listings_cache=False, skip_instance_cache=True, **options)

    def fresh(self):
        url = super().fresh()
        parsed = StoreURL.parse(url)
        self.raw = FsspecRaw(self.fs, f"{parsed.host}{parsed.path}")
        return url


def _s3(scheme, start):
    @contextlib.contextmanager
    def place(folder):
        with start(folder) as server:
            yield DriverTarget(server, scheme)

    return place


@contextlib.contextmanager
def _azure(folder, scheme):
    with azurite(folder) as endpoint:
        account = {"account_name": AZURE_ACCOUNT, "account_key": AZURE_KEY}
        text = ";".join(
            [
                "DefaultEndpointsProtocol=http",
                f"AccountName={AZURE_ACCOUNT}",
                f"AccountKey={AZURE_KEY}",
                f"BlobEndpoint={endpoint}",
            ]
        )
        options = {"connection_string": text} if scheme == "az" else {**account, "endpoint_url": endpoint}
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
        target = BucketTarget(f"{scheme}://files/p?{query}", "az", connection_string=text)
        target.fs.mkdir("files")
        yield target


@contextlib.contextmanager
def _google(folder):
    # Read when gcsfs is imported, here and in the suite's child processes: the emulator does not support gRPC.
    os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"
    with fake_gcs(folder) as endpoint:
        body = json.dumps({"name": "files"}).encode()
        request = urllib.request.Request(
            f"{endpoint}/storage/v1/b?project=p", body, {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=10).close()
        options = {"endpoint_url": endpoint, "token": "anon", "project": "p"}
        query = "&".join(f"{name}={value}" for name, value in options.items())
        yield BucketTarget(f"gs://files/p?{query}", "gs", **options)


@contextlib.contextmanager
def _ssh(folder):
    (folder / "served").mkdir()
    with openssh(folder) as (port, key, user):
        options = f"key_filename={key}&look_for_keys=false&allow_agent=false"
        yield ServedTarget(f"sftp://{user}@127.0.0.1:{port}{folder}/served?{options}", "")


def _served(scheme):
    return lambda folder: serving(scheme, folder)


@contextlib.contextmanager
def _at(target):
    yield target


# By name of the page: the URL shown on the page, and a function that starts the storage.
PLACES = {
    "local": ("file:///directory", lambda folder: _at(Target(f"file://{folder}"))),
    "memory": ("memory://name", lambda folder: _at(Target("memory://report"))),
    "s3-moto": ("s3:// on moto", _s3("s3", moto)),
    "s3-seaweedfs": ("s3:// on SeaweedFS", _s3("s3", seaweedfs)),
    "s3-radosgw": ("s3:// on Ceph radosgw", _s3("s3", radosgw)),
    "obstore-moto": ("s3+obstore:// on moto", _s3("s3+obstore", moto)),
    "obstore-seaweedfs": ("s3+obstore:// on SeaweedFS", _s3("s3+obstore", seaweedfs)),
    "obstore-radosgw": ("s3+obstore:// on Ceph radosgw", _s3("s3+obstore", radosgw)),
    "obstore-azurite": ("az+obstore:// on Azurite", lambda folder: _azure(folder, "az+obstore")),
    "obstore-file": ("file+obstore:///directory", lambda folder: _at(ObstoreFileTarget(f"file+obstore://{folder}"))),
    "obstore-memory": ("memory+obstore://name", lambda folder: _at(ObstoreMemoryTarget("memory+obstore://report"))),
    "fsspec-azurite": ("az:// on Azurite", lambda folder: _azure(folder, "az")),
    "fsspec-gcs": ("gs:// on fake-gcs-server", _google),
    "fsspec-openssh": ("sftp:// on OpenSSH", _ssh),
    "fsspec-sftp": ("sftp:// on asyncssh", _served("sftp")),
    "fsspec-webdav": ("webdav:// on WsgiDAV", _served("webdav")),
    "fsspec-ftp": ("ftp:// on pyftpdlib", _served("ftp")),
    "fsspec-file": ("fsspec+file:///directory", lambda folder: _at(FileTarget(f"fsspec+file://{folder}"))),
    "fsspec-memory": ("fsspec+memory://name", lambda folder: _at(MemoryTarget("fsspec+memory://report"))),
}

# Limitations of clients, which the plugin refuses.
XFAILS = {
    "fsspec-azurite": {"url.percent_and_unicode_paths": "adlfs cuts a path at ? and #: refused"},
    "fsspec-webdav": {
        "url.percent_and_unicode_paths": "httpx takes no path with ? and #: refused when the store is opened",
        "content.streams_down_bounded_memory": "webdav4 takes about 18 MB",
    },
}
