"""Leftovers of interrupted writes and deletes: entries with data but no metadata, and temporary files."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

from fsspec.spec import AbstractFileSystem

from holdall import ids
from holdall.backend import Debris
from holdall_fsspec._place import DATA, META, Place, base_name

__all__ = ["discard", "find"]

_TIMES = ("mtime", "LastModified", "last_modified", "updated", "modified", "modify", "time", "created")
_COMPACT_TIME = "%Y%m%d%H%M%S"


def find(place: Place, fs: AbstractFileSystem) -> Iterator[Debris]:
    """All leftovers, found by listing every entry's files."""
    entries = _entries_of_tree(place, fs) if place.directories else _entries_of_flat(place, fs)
    for file_id, files in entries:
        names = {base_name(file["name"]): file for file in files}
        if META in names:
            for name, file in names.items():
                if name not in {DATA, META} and name.startswith(".meta-"):
                    yield _describe(f"{file_id}/{name}", "unfinished write", file_id, [file])
        else:
            yield _describe(file_id, "data without metadata", file_id, files)


def discard(place: Place, fs: AbstractFileSystem, debris: Debris) -> None:
    """Remove a leftover, unless its writer has published it in the meantime."""
    file_id, _, name = debris.name.partition("/")
    if name:
        place.remove_file(fs, place.path(file_id, name))
        return
    if place.info(fs, place.path(file_id, META)) is not None:
        return
    if place.directories:
        for file in place.names(fs, place.path(file_id)):
            if file["type"] != "directory":
                place.remove_file(fs, file["name"])
        place.remove_directory(fs, place.path(file_id))
    else:
        place.remove_file(fs, place.path(file_id, DATA))


def _entries_of_tree(place: Place, fs: AbstractFileSystem) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The files of each entry; for an entry without files, its directory."""
    for item in place.names(fs, place.root or fs.root_marker):
        file_id = base_name(item["name"])
        if ids.is_valid(file_id) and item["type"] == "directory":
            yield file_id, place.names(fs, place.path(file_id)) or [{**item, "size": 0}]


def _entries_of_flat(place: Place, fs: AbstractFileSystem) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A single listing of all keys, with a thousand for each request, instead of a request for each entry."""
    try:
        found: dict[str, dict[str, Any]] = fs.find(place.root, detail=True)
    except FileNotFoundError:
        return
    entries: dict[str, list[dict[str, Any]]] = {}
    for path, file in found.items():
        above, _, name = path.rpartition("/")
        file_id = base_name(above)
        if ids.is_valid(file_id) and name in {DATA, META}:
            entries.setdefault(file_id, []).append(file)
    yield from sorted(entries.items())


def _describe(name: str, kind: str, file_id: str, files: list[dict[str, Any]]) -> Debris:
    size = sum(file.get("size") or 0 for file in files)
    # Without a timestamp, the age is unknown, and the leftover counts as new.
    modified_at = max((_modified_at(file) for file in files), default=time.time())
    return Debris(name, kind, file_id, size, modified_at)


def _modified_at(file: dict[str, Any]) -> float:
    # webhdfs reports milliseconds.
    if isinstance(milliseconds := file.get("modificationTime"), (int, float)):
        return milliseconds / 1000
    for name in _TIMES:
        value = file.get(name)
        if isinstance(value, (int, float)):
            return float(value)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = dt.datetime.fromisoformat(value)
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                value = dt.datetime.strptime(value[:14], _COMPACT_TIME).replace(tzinfo=dt.UTC)
        if isinstance(value, dt.datetime):
            return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    return time.time()
