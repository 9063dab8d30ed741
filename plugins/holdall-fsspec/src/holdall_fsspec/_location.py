"""From a URL to a location on a filesystem: constructor arguments, and the path of the root."""

from __future__ import annotations

from typing import Any

from holdall.errors import InvalidStoreURL
from holdall.url import StoreURL
from holdall_fsspec._options import FsspecOptions, arguments
from holdall_fsspec._protocol import Protocol

__all__ = ["location"]


def location(protocol: Protocol, url: StoreURL, options: FsspecOptions) -> tuple[dict[str, Any], str]:
    """The arguments of the filesystem's constructor, and the root's path on it, without a trailing slash.

    fsspec's own parsing of URLs is not used: it mistakes a password for a bucket and leaves options in the path.
    """
    given = arguments(options)
    if protocol.address == "path":
        return given, _path(protocol, url)
    for name, value in _authority(protocol, url, options).items():
        if name in given:
            raise InvalidStoreURL(
                f"{name!r} is given both before the host of this {url.scheme}:// URL and as an option; keep one"
            )
        given[name] = value
    return given, url.path.rstrip("/") if protocol.cls.root_marker or protocol.address == "host" else url.path.strip(
        "/"
    )


def _path(protocol: Protocol, url: StoreURL) -> str:
    if url.port is not None or url.username is not None:
        raise InvalidStoreURL(f"{url}: {url.scheme}:// takes no user, password or port; give credentials as options")
    if getattr(protocol.cls, "local_file", False):
        if url.host not in {"", "localhost"}:
            raise InvalidStoreURL(
                f"{url}: a local path has three slashes; did you mean {url.scheme}:///{url.host}{url.path}?"
            )
        if not url.path:
            raise InvalidStoreURL(f"{url} names no directory; write {url.scheme}:///path/to/directory")
        return url.path.rstrip("/")
    path = (url.host + url.path).strip("/")
    if not path:
        what = "bucket" if protocol.buckets else "place"
        raise InvalidStoreURL(f"{url.scheme}:// names no {what}; write {url.scheme}://{what}/prefix")
    # adlfs parses a path as a URL, and would store files under a path truncated at "?" or "#".
    if protocol.buckets and str(protocol.cls._strip_protocol(path)).strip("/") != path:  # noqa: SLF001 - not public
        raise InvalidStoreURL(f"{url}: {protocol.cls.__name__} would read this as a different path; leave out ? and #")
    return f"{protocol.cls.root_marker}{path}"


def _authority(protocol: Protocol, url: StoreURL, options: FsspecOptions) -> dict[str, Any]:
    if not url.host:
        if protocol.address == "host" and url.port is None and url.username is None and _host_is_optional(protocol):
            return {}
        raise InvalidStoreURL(f"{url.scheme}:// names no host; write {url.scheme}://host/path")
    if protocol.address == "base_url":
        scheme = "https" if getattr(options, "tls", True) else "http"
        port = "" if url.port is None else f":{url.port}"
        found: dict[str, Any] = {"base_url": f"{scheme}://{url.host}{port}/"}
        if url.username is not None:
            found["auth"] = (url.username, url.password or "")
        return found
    found = {"host": url.host.strip("[]")}
    if url.port is not None:
        found["port"] = url.port
    if url.username is not None:
        found["user" if "user" in type(options).model_fields else "username"] = url.username
    if url.password is not None:
        found["password"] = url.password
    return found


def _host_is_optional(protocol: Protocol) -> bool:
    import inspect  # noqa: PLC0415 - used only here

    host = inspect.signature(protocol.cls.__init__).parameters["host"]
    return host.default is not host.empty
