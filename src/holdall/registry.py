"""The installed backends: entry points of the group `holdall.backends`, loaded individually."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Any

from stevedore.driver import DriverManager

from holdall.backend import Backend, BackendOptions
from holdall.errors import HoldallError, InvalidStoreURL, PluginLoadError, UnknownScheme
from holdall.options import nearest
from holdall.url import StoreURL

__all__ = ["NAMESPACE", "SUPPLIERS", "BackendInfo", "installed", "load", "options_of"]

NAMESPACE = "holdall.backends"

# Which package to install for a scheme that is not registered.
SUPPLIERS = {
    "s3": "holdall-s3",
    "s3+obstore": "holdall-obstore",
    "gs+obstore": "holdall-obstore",
    "az+obstore": "holdall-obstore",
    "file+obstore": "holdall-obstore",
    "memory+obstore": "holdall-obstore",
    "fsspec": "holdall-fsspec",
    "gs": "holdall-fsspec",
    "az": "holdall-fsspec",
    "abfs": "holdall-fsspec",
    "sftp": "holdall-fsspec",
    "webdav": "holdall-fsspec",
    "ftp": "holdall-fsspec",
    "hdfs": "holdall-fsspec",
}


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """An installed backend, as `holdall backends` shows it."""

    scheme: str
    package: str
    """The distribution that registers it, with its version."""
    target: str
    """Where its class is: `module:Class`."""
    problem: str | None = None
    """Why it cannot be used; None if it can."""
    backend: type[Backend] | None = None
    options: type[BackendOptions] | None = None
    """The options of its URLs; None if it cannot be used."""


class _Manager(DriverManager[Any]):
    """stevedore's driver manager, without its cache of entry points.

    stevedore caches the entry points of a path in a file whose key rounds modification times to about two minutes: a
    plugin that was just reinstalled could keep its old schemes. Reading the entry points each time costs as much as
    checking that cache, and needs no writable home directory.
    """

    def list_entry_points(self) -> list[importlib.metadata.EntryPoint]:
        return _entry_points()


def _entry_points() -> list[importlib.metadata.EntryPoint]:
    # A distribution that is on the path twice (a source tree and its installation) counts once.
    found = {(p.name, p.value): p for p in importlib.metadata.entry_points(group=NAMESPACE)}
    return list(found.values())


def load(scheme: str) -> type[Backend]:
    """The backend class for `scheme` or `scheme+driver`. Imports no other plugin.

    A class registered for `scheme` that declares `any_driver` is the backend of every `scheme+driver` that has no
    backend of its own. Raises `UnknownScheme` if no backend is registered for it, and `PluginLoadError` if two packages
    register one or if the registered one does not load.
    """
    points = [p for p in _entry_points() if p.name == scheme]
    base, plus, _ = scheme.partition("+")
    if not points and plus and any(p.name == base for p in _entry_points()):
        backend = load(base)
        if backend.any_driver:
            return backend
    if not points:
        raise UnknownScheme(_unknown(scheme))
    if len(points) > 1:
        claims = " and ".join(sorted(f"{_package(p)} ({p.value})" for p in points))
        raise PluginLoadError(f"{scheme}:// is registered twice, by {claims}; uninstall one of them")
    try:
        plugin = _Manager(NAMESPACE, scheme).driver
    except (Exception, SystemExit) as error:
        raise PluginLoadError(
            f"the backend of {scheme}:// from {_package(points[0])} does not load: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(plugin, type) and issubclass(plugin, Backend)):
        raise PluginLoadError(
            f"{points[0].value} of {_package(points[0])} is registered for {scheme}://, but is not a Backend class"
        )
    if plugin.__abstractmethods__:
        raise PluginLoadError(
            f"{points[0].value} of {_package(points[0])} is registered for {scheme}://, but does not implement "
            f"{', '.join(sorted(plugin.__abstractmethods__))}"
        )
    if not (isinstance(plugin.Options, type) and issubclass(plugin.Options, BackendOptions)):
        raise PluginLoadError(
            f"{points[0].value} of {_package(points[0])} is registered for {scheme}://, but its Options are not a "
            "subclass of holdall.backend.BackendOptions"
        )
    return plugin


def options_of(backend: type[Backend], url: StoreURL) -> type[BackendOptions]:
    """The options of this URL. Raises `PluginLoadError` if the backend fails to tell them."""
    try:
        return backend.options_for(url)
    except HoldallError:
        raise
    except Exception as error:
        raise PluginLoadError(
            f"the backend of {url.scheme}:// cannot tell its options: {type(error).__name__}: {error}"
        ) from error


def installed() -> list[BackendInfo]:
    """All registered backends, by scheme, each loaded; one that cannot be used has its `problem` set, and the others
    are still listed.
    """
    infos = []
    for point in sorted(_entry_points(), key=lambda p: (p.name, p.value)):
        backend, options, problem = None, None, None
        try:
            backend = load(point.name)
            options = _options_of_scheme(backend, point.name)
        except PluginLoadError as error:
            problem = str(error)
        infos.append(BackendInfo(point.name, _package(point), point.value, problem, backend, options))
    return infos


def _options_of_scheme(backend: type[Backend], scheme: str) -> type[BackendOptions]:
    try:
        return options_of(backend, StoreURL(scheme))
    except InvalidStoreURL:
        # Its URLs need more than the scheme, such as a driver: those that all of them have.
        return backend.Options


def _package(point: importlib.metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _unknown(scheme: str) -> str:
    known = sorted({p.name for p in _entry_points()})
    meant = nearest(scheme, known)
    supplier = SUPPLIERS.get(scheme)
    if supplier is None and scheme.startswith("fsspec+"):
        supplier = "holdall-fsspec"
    parts = [f"no installed backend has the scheme {scheme}://"]
    if supplier:
        parts.append(f"pip install {supplier} supplies it")
    elif meant:
        parts.append(f"did you mean {meant}://?")
    elif (other := nearest(scheme, SUPPLIERS)) is not None:
        parts.append(f"did you mean {other}:// (pip install {SUPPLIERS[other]})?")
    parts.append(f"installed: {', '.join(known)}")
    return "; ".join(parts)
