"""What a protocol of fsspec is: its class, how it is addressed, how it commits, and what can be promised on it."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.cached import CachingFileSystem
from fsspec.spec import AbstractFileSystem

from holdall.backend import Capability
from holdall.errors import InvalidStoreURL, PluginLoadError, UnknownScheme
from holdall.options import nearest
from holdall.url import StoreURL

__all__ = ["Protocol", "capabilities_of", "missing_package", "protocol_of"]

# What to install for a protocol; of the others fsspec says it in its own words.
_PACKAGES = {
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
    "dav": "webdav4",
    "gcs": "gcsfs",
    "gs": "gcsfs",
    "hdfs": "pyarrow",
    "arrow_hdfs": "pyarrow",
    "oss": "ossfs",
    "s3": "s3fs",
    "s3a": "s3fs",
    "sftp": "paramiko",
    "smb": "smbprotocol",
    "ssh": "paramiko",
    "webdav": "webdav4",
    "webhdfs": "requests",
}

_BASE = Capability.ATOMIC_PUBLISH | Capability.RANGED_READS | Capability.PORTABLE_LAYOUT
_KEPT = _BASE | Capability.SHARED | Capability.PERSISTENT
# Acknowledged by these is replicated: <https://cloud.google.com/storage/docs/consistency>,
# <https://learn.microsoft.com/azure/storage/common/storage-redundancy>,
# <https://docs.aws.amazon.com/AmazonS3/latest/userguide/DataDurability.html>.
_REPLICATED = _KEPT | Capability.DURABLE

# What cannot be read off a class. A protocol that is not here is promised nothing that its class does not show.
_KNOWN = {
    # Of two unlink(2) of one name exactly one succeeds; likewise of two deletions from one dictionary.
    **dict.fromkeys(("file", "local"), _KEPT | Capability.EXCLUSIVE_REMOVE),
    "memory": _BASE | Capability.EXCLUSIVE_REMOVE,
    **dict.fromkeys(("gs", "gcs", "az", "abfs", "abfss", "s3", "s3a"), _REPLICATED),
    **dict.fromkeys(("sftp", "ssh", "ftp", "hdfs", "arrow_hdfs", "webhdfs", "smb"), _KEPT),
    # A server may write a PUT in place: who reads meanwhile meets half of it, but never of what a MOVE brings.
    **dict.fromkeys(("webdav", "dav"), _KEPT),
}
# What names another server than the provider's own, which may keep acknowledged bytes in memory.
_SERVER_OPTIONS = ("endpoint_url", "account_host")
_SERVER_VARIABLES = {
    **dict.fromkeys(("s3", "s3a"), ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")),
    **dict.fromkeys(("gs", "gcs"), ("STORAGE_EMULATOR_HOST",)),
}
_UNKNOWN = Capability.RANGED_READS | Capability.PORTABLE_LAYOUT

Commit = Literal["put", "move"]


@dataclass(frozen=True)
class Protocol:
    """A protocol, and what its class shows about it."""

    name: str
    cls: type[AbstractFileSystem]
    address: Literal["host", "base_url", "path"]
    """What the authority of a URL becomes: an argument `host` or `base_url`, or the beginning of every path."""
    commit: Commit
    """How metadata appears: by one PUT of it, or moved from a temporary name."""
    buckets: bool
    """Whether paths begin with a bucket, which is never made here, and directories are no objects."""
    shared: bool
    """Whether one instance can be used by many threads at once."""
    capabilities: Capability

    @property
    def remote(self) -> bool:
        """Whether a call takes a trip over a network."""
        return self.address != "path" or self.buckets


def protocol_of(url: StoreURL) -> Protocol:
    """The protocol that a URL names: the driver of `fsspec+PROTOCOL`, or the scheme itself.

    Imports its client library. Raises `UnknownScheme`, `PluginLoadError` if the library is not installed, and
    `InvalidStoreURL` for a protocol that cannot hold a store.
    """
    base, plus, driver = url.scheme.partition("+")
    name = driver if plus else base
    if name == "fsspec":
        raise InvalidStoreURL("fsspec:// names no protocol; write fsspec+PROTOCOL://…, such as fsspec+memory://name")
    cls = _load(name, url.scheme)
    if issubclass(cls, CachingFileSystem):
        raise InvalidStoreURL(
            f"{url.scheme}:// caches what it has read, although others may change it; use the protocol below it"
        )
    parameters = inspect.signature(cls.__init__).parameters
    address: Literal["host", "base_url", "path"] = (
        "host" if "host" in parameters else "base_url" if "base_url" in parameters else "path"
    )
    # A root marker is what every path of the filesystem begins with. Where that is nothing, and no host is asked for,
    # a path begins with the name of a bucket.
    buckets = address == "path" and not cls.root_marker
    return Protocol(
        name=name,
        cls=cls,
        address=address,
        commit="move" if not buckets and _moves(cls) else "put",
        buckets=buckets,
        shared=issubclass(cls, AsyncFileSystem) or bool(getattr(cls, "local_file", False)),
        capabilities=_KNOWN.get(name, _UNKNOWN),
    )


def capabilities_of(protocol: Protocol, given: Mapping[str, Any]) -> Capability:
    """What can be promised with these arguments of the constructor: DURABLE for the provider's own servers only."""
    client = given.get("client_kwargs")
    options = [given, client if isinstance(client, dict) else {}]
    elsewhere = any(map(os.environ.get, _SERVER_VARIABLES.get(protocol.name, ()))) or any(
        each.get(name) for each in options for name in _SERVER_OPTIONS
    )
    text = given.get("connection_string") or os.environ.get("AZURE_STORAGE_CONNECTION_STRING") or ""
    if protocol.name in {"az", "abfs", "abfss"} and ("BlobEndpoint=" in text or "UseDevelopmentStorage=" in text):
        elsewhere = True
    return protocol.capabilities & ~Capability.DURABLE if elsewhere else protocol.capabilities


def missing_package(name: str, scheme: str, error: ImportError) -> PluginLoadError:
    """The error that says what to install for a protocol."""
    package = _PACKAGES.get(name)
    if package is None:
        return PluginLoadError(f"{scheme}:// needs a package that is not installed: {error}")
    why = f" ({error})" if error.name and error.name.partition(".")[0] != package else ""
    return PluginLoadError(
        f"{scheme}:// needs the package {package}, which is not installed{why}: pip install {package}"
    )


def _load(name: str, scheme: str) -> type[AbstractFileSystem]:
    try:
        cls: Any = fsspec.get_filesystem_class(name)
    except ImportError as error:
        cause = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        raise missing_package(name, scheme, cause) from error
    except ValueError as error:
        known = fsspec.available_protocols()
        meant = nearest(name, known)
        hint = f"; did you mean fsspec+{meant}://?" if meant else ""
        raise UnknownScheme(f"fsspec has no protocol {name!r}{hint}; it has: {', '.join(sorted(known))}") from error
    if not (isinstance(cls, type) and issubclass(cls, AbstractFileSystem)):
        raise PluginLoadError(f"fsspec's class for the protocol {name!r} is not a filesystem: {cls!r}")
    return cls


def _moves(cls: type[AbstractFileSystem]) -> bool:
    """Whether the class has a move of its own. fsspec's default copies and deletes, which nobody needs here."""
    return cls.mv is not AbstractFileSystem.mv or hasattr(cls, "_mv")
