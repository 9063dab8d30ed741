"""Ids in text order, from a bucket that is listed by keys."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from holdall.errors import StorageError
from holdall_s3._client import Client, Pending
from holdall_s3._keys import META, Keys

__all__ = ["in_text_order", "list_ids", "objects"]

_PREFIX = "file-"
# Sorts after every id, because "." sorts after "-".
_AFTER_EVERY_ID = "file."
_PAGE = 1000
_FIRST_PAGE = 100


def list_ids(client: Client, keys: Keys, after: str | None, before: str | None) -> Iterator[str]:
    """The ids with `after < id < before` whose metadata is listed, in ascending text order.

    Lists objects rather than common prefixes: a prefix may remain after a delete, or before the server has cleaned up.
    """
    after, before = after or "", _AFTER_EVERY_ID if before is None else before
    if after >= _AFTER_EVERY_ID or before <= _PREFIX or after >= before:
        return
    # Without an upper bound, the caller mostly wants to know whether there are any, or the first page of many, which is
    # not worth 1000 keys.
    first = _FIRST_PAGE if before >= _AFTER_EVERY_ID or after < _PREFIX else _PAGE
    start = after if after > _PREFIX else None
    names = (i for i, name, _ in objects(client, keys, "list the files", start=start, first=first) if name == META)
    yield from (i for i in in_text_order(_until(names, before)) if after < i < before)


def objects(
    client: Client, keys: Keys, what: str, *, start: str | None = None, first: int = _PAGE
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The objects of entries as id, name and description, in the server's order; one request for each thousand.

    The first key comes after `start`, and the first request asks for `first` keys. If the caller consumes more than two
    responses, the next one is prefetched.
    """
    parameters: dict[str, Any] = {"Prefix": keys.base + _PREFIX, "MaxKeys": first}
    if start is not None:
        parameters["StartAfter"] = keys.base + start
    pending: Pending[dict[str, Any]] | None = None
    try:
        for number in itertools.count():
            if pending is None:
                pending = client.start(client.request("list_objects_v2", what, **parameters))
            page, pending = pending.result(), None
            token = page.get("NextContinuationToken") if page.get("IsTruncated") else None
            if token:
                parameters |= {"ContinuationToken": token, "MaxKeys": _PAGE}
                if number >= 2:
                    pending = client.start(client.request("list_objects_v2", what, **parameters))
            for found in page["Contents"]:
                if (split := keys.split(found["Key"])) is not None:
                    yield (*split, found)
            if not token:
                return
    finally:
        if pending is not None:
            pending.stop()


def _until(names: Iterable[str], before: str) -> Iterator[str]:
    """The names, up to the point after which none that sorts before `before` can follow."""
    for name in names:
        if name < before:
            yield name
        elif (stem := _stem(name)) is None or stem >= before:
            return


def in_text_order(names: Iterable[str]) -> Iterator[str]:
    """The names in ascending text order, from a server that lists them in that order, or in the order of keys `name/…`.

    A key ends with "/", which sorts after "-": as keys, `file-a-1/` comes before `file-a/`. So a name is held back as
    long as a shorter one, its prefix before a "-", may follow. Ids that holdall generated have no such prefix. Raises
    `StorageError` if the names are in neither order.
    """
    held: list[str] = []
    last = ""
    for name in names:
        if name <= last:
            raise StorageError(
                "cannot list the files: the server lists keys in an unknown order; this bucket cannot be used"
            )
        heapq.heappush(held, name)
        while held and not _may_follow(_stem(held[0]), name):
            last = heapq.heappop(held)
            yield last
    yield from sorted(held)


def _stem(name: str) -> str | None:
    """The shortest id of which `name` is a continuation after a "-"; None if there is none."""
    end = name.find("-", len(_PREFIX) + 1)
    return None if end < 0 else name[:end]


def _may_follow(stem: str | None, name: str) -> bool:
    return stem is not None and f"{stem}/" > f"{name}/"
