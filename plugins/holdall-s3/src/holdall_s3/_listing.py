"""Ids in the order of text, out of a bucket that is listed by keys."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from typing import Any

from holdall.errors import StorageError
from holdall.ids import is_valid
from holdall_s3._client import Client

__all__ = ["in_text_order", "list_ids"]

_PREFIX = "file-"
# Sorts after every id: "." follows "-".
_AFTER_EVERY_ID = "file."
_PAGE = 1000
_FIRST_PAGE = 100


def list_ids(client: Client, base: str, after: str | None, before: str | None) -> Iterator[str]:
    """The ids of the folders below `base` with `after < id < before`, ascending as text."""
    after, before = after or "", _AFTER_EVERY_ID if before is None else before
    if after >= _AFTER_EVERY_ID or before <= _PREFIX or after >= before:
        return
    # An open end is mostly a look whether anything is there, or the first page of many: not worth 1000 names.
    first = _FIRST_PAGE if before >= _AFTER_EVERY_ID or after < _PREFIX else _PAGE
    names = _names(client, base, base + after if after > _PREFIX else None, first)
    yield from (i for i in in_text_order(_until(names, before)) if after < i < before)


def _names(client: Client, base: str, start: str | None, first: int) -> Iterator[str]:
    parameters: dict[str, Any] = {"Prefix": base + _PREFIX, "Delimiter": "/", "MaxKeys": first}
    if start is not None:
        parameters["StartAfter"] = start
    previous = ""
    while True:
        page = client.call("list_objects_v2", "list the files", **parameters)
        for entry in page.get("CommonPrefixes") or ():
            name = str(entry["Prefix"])[len(base) : -1]
            if is_valid(name) and name != previous:
                previous = name
                yield name
        token = page.get("NextContinuationToken")
        if not page.get("IsTruncated") or not token:
            return
        parameters = {**parameters, "ContinuationToken": token, "MaxKeys": _PAGE}


def _until(names: Iterable[str], before: str) -> Iterator[str]:
    """The names up to where no more can follow that sort before `before`."""
    for name in names:
        if name < before:
            yield name
        elif (stem := _stem(name)) is None or stem >= before:
            return


def in_text_order(names: Iterable[str]) -> Iterator[str]:
    """The names ascending as text, from a server that lists them as text, or as keys `name/…`.

    A key ends with "/", which sorts after "-": as keys, `file-a-1/` comes before `file-a/`. So a name is held back as
    long as a shorter one, its beginning up to a "-", may follow. Ids that holdall minted have no such beginning.
    Raises `StorageError` if the names come in neither order.
    """
    held: list[str] = []
    last = ""
    for name in names:
        if name <= last:
            raise StorageError(
                "cannot list the files: the server lists keys in no order that is known; this bucket cannot be used"
            )
        heapq.heappush(held, name)
        while held and not _may_follow(_stem(held[0]), name):
            last = heapq.heappop(held)
            yield last
    yield from sorted(held)


def _stem(name: str) -> str | None:
    """The shortest id that `name` continues with a "-", if there is one."""
    end = name.find("-", len(_PREFIX) + 1)
    return None if end < 0 else name[:end]


def _may_follow(stem: str | None, name: str) -> bool:
    return stem is not None and f"{stem}/" > f"{name}/"
