"""The libraries that holdall is compared with, each behind the same six calls."""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from benchmarks.peers._base import Peer

__all__ = ["PEERS", "Peer", "find"]

# By module, in the order of the tables.
PEERS: dict[str, tuple[str, ...]] = {
    "_holdall": ("Holdall", "HoldallDurable"),
    "_floors": ("SeedFloor", "StageFloor", "StageFloorDurable"),
    "_port": ("SeedPort",),
    "_filedepot": ("Filedepot",),
    "_file_keeper": ("FileKeeper",),
    "_fsspec": ("Fsspec",),
    "_obstore": ("Obstore",),
    "_opendal": ("OpenDAL",),
    "_minimalkv": ("Minimalkv",),
}


def find(names: Sequence[str] | None = None) -> tuple[list[type[Peer]], dict[str, str]]:
    """The peers that can be imported, and the reasons for the others, by name. `names` are class names; None: all."""
    found: list[type[Peer]] = []
    missing: dict[str, str] = {}
    for module, classes in PEERS.items():
        wanted = [name for name in classes if names is None or name in names]
        if not wanted:
            continue
        try:
            home = importlib.import_module(f"benchmarks.peers.{module}")
        except ImportError as error:
            missing |= dict.fromkeys(wanted, str(error))
        else:
            found += [getattr(home, name) for name in wanted]
    return found, missing
