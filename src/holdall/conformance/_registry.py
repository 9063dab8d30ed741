"""The registry of checks and their promises, in order."""

from __future__ import annotations

import functools
import importlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from holdall.backend import Capability

if TYPE_CHECKING:
    from holdall.conformance._kit import Kit

__all__ = ["CATEGORIES", "LEVELS", "Check", "Promise", "all_checks", "check", "promises"]

LEVELS = ("core", "robust", "durable")
CATEGORIES = (
    "content",
    "create",
    "ids",
    "metadata",
    "listing",
    "delete",
    "errors",
    "capabilities",
    "url",
    "concurrency",
    "crash",
    "durability",
    "stateful",
)


@dataclass(frozen=True, slots=True)
class Promise:
    """What a check verifies, from promises.toml."""

    id: str
    promise: str
    why: str
    hint: str
    level: str
    since: str
    provisional: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """A check: its promise, its function, and the capabilities it needs."""

    promise: Promise
    run: Callable[[Kit], None]
    needs: Capability

    @property
    def id(self) -> str:
        """Its stable name, such as `content.large`."""
        return self.promise.id


_registered: dict[str, Check] = {}


_NOTHING = Capability(0)


def check(check_id: str, *, needs: Capability = _NOTHING) -> Callable[[Callable[[Kit], None]], Callable[[Kit], None]]:
    """Register a function as the check `check_id`. Without a capability in `needs`, it is *not declared*."""

    def register(function: Callable[[Kit], None]) -> Callable[[Kit], None]:
        if check_id in _registered:
            raise ValueError(f"two checks are named {check_id}")
        _registered[check_id] = Check(promises()[check_id], function, needs)
        return function

    return register


@functools.cache
def promises() -> dict[str, Promise]:
    """All promises, by id, in the order of promises.toml."""
    text = resources.files("holdall.conformance").joinpath("promises.toml").read_text(encoding="utf-8")
    return {
        f"{category}.{name}": Promise(id=f"{category}.{name}", **fields)
        for category, entries in tomllib.loads(text).items()
        for name, fields in entries.items()
    }


@functools.cache
def all_checks() -> tuple[Check, ...]:
    """Every check, in the order of promises.toml."""
    for category in CATEGORIES:
        importlib.import_module(f"holdall.conformance.checks.{category}")
    order = list(promises())
    return tuple(sorted(_registered.values(), key=lambda c: order.index(c.id)))
