"""The conformance suite: the promises of every backend, as checks that anybody can run against any store URL.

Three ways to run it, with the same result::

    holdall conformance file:///tmp/x
    pytest --pyargs holdall.conformance --holdall-url file:///tmp/x
    report = holdall.conformance.run("file:///tmp/x")

An author of a backend subclasses `StoreConformance` and supplies a `Target`. Each check has a stable name and one
sentence that states its promise (`promises.toml`). The suite works only below new `conformance-…` locations under the
URL, and deletes only what it created there.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdall.conformance._report import Finding, Report
    from holdall.conformance._runner import run
    from holdall.conformance._suite import StoreConformance
    from holdall.conformance._target import DirectoryRaw, RawAccess, Target

SUITE_VERSION = "1.0"

__all__ = ["SUITE_VERSION", "DirectoryRaw", "Finding", "RawAccess", "Report", "StoreConformance", "Target", "run"]

# Loaded on first use, because the pytest plugin imports this package in every project that has holdall installed.
_HOME = {
    "DirectoryRaw": "_target",
    "Finding": "_report",
    "RawAccess": "_target",
    "Report": "_report",
    "StoreConformance": "_suite",
    "Target": "_target",
    "run": "_runner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'holdall.conformance' has no attribute {name!r}")
    return getattr(importlib.import_module(f"holdall.conformance.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
