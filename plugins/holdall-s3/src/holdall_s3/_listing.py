"""Ids in the order of text, out of a bucket that is listed by keys."""

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
# Sorts after every id: "." follows "-".
_AFTER_EVERY_ID = "file."
_PAGE = 1000
_FIRST_PAGE = 100


def list_ids(client: Client, keys: Keys, after: str | None, before: str | None) -> Iterator[str]:
    """The ids with `after < id < before` whose metadata is listed, ascending as text.

    Objects are listed, not folders: a folder may be what a delete has left, or what the server has not tidied up yet.
    """
    after, before = after or "", _AFTER_EVERY_ID if before is None else before
    if after >= _AFTER_EVERY_ID or before <= _PREFIX or after >= before:
        return
    # An open end is mostly a look whether anything is there, or the first page of many: not worth 1000 keys.
    first = _FIRST_PAGE if before >= _AFTER_EVERY_ID or after < _PREFIX else _PAGE
    start = after if after > _PREFIX else None
    names = (i for i, name, _ in objects(client, keys, "list the files", start=start, first=first) if name == META)
    yield from (i for i in in_text_order(_until(names, before)) if after < i < before)


def objects(
    client: Client, keys: Keys, what: str, *, start: str | None = None, first: int = _PAGE
) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The objects of entries as id, name and description, in the server's order; a request for each thousand.

    `start` is what the first key comes after, `first` how many the first request asks for. Whoever takes more than two
    answers is taken to want them all, and is read ahead for.
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
                "cannot list the files: the server lists keys in an unknown order; this bucket cannot be used"
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
