"""Walking a store in the order of creation, reading only the metadata that is asked for.

The order is (`created_at`, `id`). For ids that holdall minted that is the order of the ids themselves, so a page
needs the ids around it and nothing else. One foreign id in the store breaks this; then every metadata is read once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

from holdall.backend import Backend, Capability
from holdall.errors import InvalidRequest
from holdall.ids import lower_bound, minted_at_ms, plausible_range
from holdall.model import FileObject, FilePage

__all__ = ["Order", "page_of", "walk"]

Order = Literal["asc", "desc"]
ReadMany = Callable[[Sequence[str]], Iterator[FileObject]]

_FIRST_BATCH = 32
# As many as object stores name in one answer.
_LARGEST_BATCH = 1000


def walk(
    backend: Backend, read_many: ReadMany, now_ms: int, *, after: str | None, order: Order, hint: int | None
) -> Iterator[FileObject]:
    """All files after the cursor `after`, in order, lazily. `hint` is how many the caller expects to take.

    `read_many` turns ids into files and leaves out those that are absent, expired or corrupt.
    """
    ordered = Capability.ORDERED_LISTING in backend.capabilities
    # Without an ordered listing the backend looks at every id anyway: do it once.
    known = None if ordered else list(backend.list_ids())
    foreign = _has_foreign_ids(backend, known, now_ms)
    if not foreign and after is not None and minted_at_ms(after, now_ms) is None:
        # The looks outside cannot see an id from elsewhere that happens to lie among ours.
        if next(read_many([after]), None) is None:
            raise _unknown_cursor(after)
        foreign = True
    if foreign:
        yield from _walk_by_reading(backend, read_many, now_ms, after=after, order=order)
        return
    if known is not None:
        ids = _slice(known, after, order)
    elif order == "asc":
        ids = backend.list_ids(after=after)
    else:
        ids = _descending(backend, now_ms, before=after, wanted=hint or _LARGEST_BATCH)
    size = min(hint or _LARGEST_BATCH, _LARGEST_BATCH)
    while batch := list(itertools.islice(ids, size)):
        yield from read_many(batch)
        size = min(max(size, _FIRST_BATCH) * 2, _LARGEST_BATCH)


def page_of(files: Iterator[FileObject], limit: int | None) -> FilePage:
    """The first `limit` files as a page; None: all. Takes one file more, to know whether there is one."""
    data = list(itertools.islice(files, limit))
    has_more = limit is not None and next(files, None) is not None
    return FilePage(
        data=data,
        has_more=has_more,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
    )


def _has_foreign_ids(backend: Backend, known: list[str] | None, now_ms: int) -> bool:
    if known is not None:
        return any(minted_at_ms(file_id, now_ms) is None for file_id in known)
    first, last = plausible_range(now_ms)
    # Ids from elsewhere are spread over the whole range of text, those of holdall lie in a narrow one:
    # two looks outside of it tell, at any size of the store.
    return (
        next(backend.list_ids(before=first), None) is not None or next(backend.list_ids(after=last), None) is not None
    )


def _walk_by_reading(
    backend: Backend, read_many: ReadMany, now_ms: int, *, after: str | None, order: Order
) -> Iterator[FileObject]:
    ids = backend.list_ids()
    files: list[FileObject] = []
    while batch := list(itertools.islice(ids, _LARGEST_BATCH)):
        files += read_many(batch)
    files.sort(key=_position, reverse=order == "desc")
    if after is not None:
        cursor = _cursor_position(files, after, now_ms)
        files = [f for f in files if (_position(f) > cursor if order == "asc" else _position(f) < cursor)]
    yield from files


def _position(file: FileObject) -> tuple[int, str]:
    return file.created_at, file.id


def _cursor_position(files: list[FileObject], after: str, now_ms: int) -> tuple[int, str]:
    for file in files:
        if file.id == after:
            return _position(file)
    ms = minted_at_ms(after, now_ms)
    if ms is None:
        raise _unknown_cursor(after)
    return ms // 1000, after


def _unknown_cursor(after: str) -> InvalidRequest:
    return InvalidRequest(
        f"cannot list after {after}: no such file, and its place in the order cannot be told from its id; "
        "start from the beginning",
        operation="list",
        file_id=after,
    )


def _slice(ids: list[str], after: str | None, order: Order) -> Iterator[str]:
    if order == "asc":
        return (i for i in ids if after is None or i > after)
    return (i for i in reversed(ids) if after is None or i < after)


def _descending(backend: Backend, now_ms: int, *, before: str | None, wanted: int) -> Iterator[str]:
    """Ids below `before`, greatest first, from a backend that can only list upwards.

    Gallops back through windows of time, each longer than the one before, so that the newest `wanted` ids are found
    in few steps whether the last one is a second or a year old. A window that holds many more is left after a look at
    its first ids, whose density tells how long the next one should be; where it misleads, what is left is halved.
    """
    first, _ = plausible_range(now_ms)
    upper_ms = now_ms + 1 if before is None else min(minted_at_ms(before, now_ms) or now_ms, now_ms) + 1
    window_ms = 60_000
    upper = before
    even = True  # as long as the density of a crowded window has not misled
    most = max(2 * wanted, _LARGEST_BATCH)
    crowded_ms = upper_ms  # when there is known to be one; the same as upper_ms: nothing is known
    # The last window is open to the left of the earliest time an id can have.
    while upper is None or upper > first:
        lower_ms = upper_ms - window_ms
        lower = lower_bound(lower_ms)
        found = list(itertools.islice(backend.list_ids(after=lower, before=upper), most))
        if len(found) == most and window_ms > 1:
            oldest, crowded_ms = (minted_at_ms(i, now_ms) or lower_ms for i in (found[0], found[-1]))
            gap_ms = upper_ms - crowded_ms
            window_ms = max(1, min((crowded_ms - oldest) // 2 if even else gap_ms // 2, gap_ms, window_ms // 2))
            continue
        if len(found) == most:
            # So many in one millisecond can only be taken together.
            found = list(backend.list_ids(after=lower, before=upper))
        yield from reversed(found)
        upper, upper_ms = lower, lower_ms
        left_ms = upper_ms - crowded_ms
        if left_ms > 0:
            even = even and bool(found)
            window_ms = min(left_ms, window_ms * 2) if found else max(left_ms // 2, 1)
        else:
            crowded_ms = upper_ms
            window_ms *= 2 if len(found) * 2 >= wanted else 8
