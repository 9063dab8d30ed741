"""Properties of an fsspec protocol: its class, its addressing, how it commits, and which promises hold for it."""

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

# The package to install for a protocol; for others, fsspec's own message is used.
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
# These replicate data before they acknowledge it: <https://cloud.google.com/storage/docs/consistency>,
# <https://learn.microsoft.com/azure/storage/common/storage-redundancy>,
# <https://docs.aws.amazon.com/AmazonS3/latest/userguide/DataDurability.html>.
_REPLICATED = _KEPT | Capability.DURABLE

# Promises that cannot be derived from a class. For other protocols, only those are made that the class implies.
_KNOWN = {
    # Exactly one of two unlink(2) calls for a name succeeds; likewise of two deletions from one dictionary.
    **dict.fromkeys(("file", "local"), _KEPT | Capability.EXCLUSIVE_REMOVE),
    "memory": _BASE | Capability.EXCLUSIVE_REMOVE,
    **dict.fromkeys(("gs", "gcs", "az", "abfs", "abfss", "s3", "s3a"), _REPLICATED),
    **dict.fromkeys(("sftp", "ssh", "ftp", "hdfs", "arrow_hdfs", "webhdfs", "smb"), _KEPT),
    # A server may write a PUT in place, so that a concurrent reader sees half of it; a MOVE is not affected.
    **dict.fromkeys(("webdav", "dav"), _KEPT),
}
# These name a server other than the provider's own, which may keep acknowledged data in memory.
_SERVER_OPTIONS = ("endpoint_url", "account_host")
_SERVER_VARIABLES = {
    **dict.fromkeys(("s3", "s3a"), ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")),
    **dict.fromkeys(("gs", "gcs"), ("STORAGE_EMULATOR_HOST",)),
}
_UNKNOWN = Capability.RANGED_READS | Capability.PORTABLE_LAYOUT

# Arguments for the filesystem, or the file on one, that a class wraps; neither can be written in a URL.
_INNER = frozenset({"fs", "fo"})

Commit = Literal["put", "move"]


@dataclass(frozen=True)
class Protocol:
    """A protocol, and what is known from its class."""

    name: str
    cls: type[AbstractFileSystem]
    address: Literal["host", "base_url", "path"]
    """What the authority of a URL becomes: the argument `host` or `base_url`, or the start of every path."""
    commit: Commit
    """How metadata appears: by a single PUT, or by a move from a temporary name."""
    buckets: bool
    """Whether paths begin with a bucket, which is never created here, and there are no real directories."""
    shared: bool
    """Whether many threads can use one instance at the same time."""
    capabilities: Capability

    @property
    def remote(self) -> bool:
        """Whether calls go over a network."""
        return self.address != "path" or self.buckets


def protocol_of(url: StoreURL) -> Protocol:
    """The protocol that a URL names: the driver of `fsspec+PROTOCOL`, or the scheme itself.

    Imports its client library. Raises `UnknownScheme`, `PluginLoadError` if the library is not installed, and
    `InvalidStoreURL` for a protocol that cannot contain a store.
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
    if parameters.keys() & _INNER:
        raise InvalidStoreURL(
            f"{url.scheme}:// shows what another filesystem holds, and cannot be told which; "
            "use the protocol of that one, as in fsspec+file:///path"
        )
    address: Literal["host", "base_url", "path"] = (
        "host" if "host" in parameters else "base_url" if "base_url" in parameters else "path"
    )
    # A root marker is the start of every path of the filesystem. If it is empty, and no host is needed, a path begins
    # with the name of a bucket.
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
    """The capabilities with these constructor arguments: DURABLE only for the provider's own servers."""
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
    """The error that names the package to install for a protocol."""
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
    """Whether the class implements a move. fsspec's default copies and deletes, which is of no use here."""
    return cls.mv is not AbstractFileSystem.mv or hasattr(cls, "_mv")
