"""Ids in text order, from servers that list keys in a different order."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterable, Iterator

from holdall import StorageError
from holdall.ids import PREFIX, is_valid

__all__ = ["in_order", "start_after"]

# The part of a bound that can be part of an id.
_ID_LIKE = re.compile(r"[A-Za-z0-9_-]*")


def start_after(after: str | None) -> str | None:
    """A name that sorts before every entry with an id greater than `after`, in each of the known orders.

    None if there can be no such entry.
    """
    if after is None or after < PREFIX:
        return PREFIX.removesuffix("-")
    if not after.startswith(PREFIX):
        return None
    found = _ID_LIKE.match(after)
    assert found is not None
    # "file-a" itself and not "file-a/": the keys of "file-a-1" sort before those of "file-a".
    return found[0].removesuffix("-") if found[0] == PREFIX else found[0]


def in_order(names: Iterable[str], after: str | None, before: str | None) -> Iterator[str]:
    """The ids among `names` between the bounds, ascending, each as soon as no smaller one can follow.

    `names` are the first segments of keys `<name>/…`, in the server's order. Most servers order by the bytes of the
    whole key, where "-" sorts before "/": the keys of `file-a-1` before those of `file-a`. Others order by name, as a
    directory does. In both cases, the only smaller ids that can follow an id are its own prefixes before a "-"; the id
    is held back until none of these can follow. A server with any other order is detected: `StorageError`.
    """
    for name in _ascending(names):
        if before is not None and name >= before:
            return
        if after is None or name > after:
            yield name


def _ascending(names: Iterable[str]) -> Iterator[str]:
    held: list[str] = []
    last = ""
    for name in names:
        if not is_valid(name):
            if name > PREFIX and not name.startswith(PREFIX):
                break  # after all ids, in both orders
            continue
        if name <= last:
            raise StorageError(
                "the server does not list keys in order, so files would be missing from listings; S3 Express "
                "directory buckets are such: use a bucket of the general kind"
            )
        heapq.heappush(held, name)
        lowest = _lowest_to_come(name)
        while held and held[0] <= lowest:
            last = heapq.heappop(held)
            yield last
    yield from sorted(held)


def _lowest_to_come(name: str) -> str:
    """The smallest id that may follow `name` in the listing, or `name` itself."""
    dash = name.find("-", len(PREFIX) + 1)
    return name if dash < 0 else name[:dash]
