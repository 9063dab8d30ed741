"""Listing a store in order of creation, reading only the metadata that is needed.

The order is (`created_at`, `id`). For ids that holdall generated, this is the order of the ids as text, so a page needs
only the ids around it. The position of any other id depends on its metadata: each of these is read once, its position
is cached, and it is merged into the rest.
"""

from __future__ import annotations

import bisect
import heapq
import itertools
import math
from collections.abc import Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from holdall._metadata import Metadata
from holdall.backend import Backend, Capability
from holdall.errors import InvalidRequest
from holdall.ids import has_minted_form, have_minted_form, lower_bound, minted_at_ms, plausible_range, time_of_text
from holdall.model import FileObject, FilePage, has_expired

__all__ = ["Listing", "Order", "page_of"]

Order = Literal["asc", "desc"]

_FIRST_BATCH = 32
# The number of keys in one response of an object store.
_LARGEST_BATCH = 1000
# How many ids the density is estimated from. With two keys for each id, one response of an object store covers them.
_LOOK = 480
_FIRST_WINDOW_MS = 60_000
# How many listings run concurrently, and the least number of ids for each: with two keys for an id, one response of an
# object store.
_SIDE_BY_SIDE = 4
_LEAST_IDS = 500
# About 200 bytes each.
_MOST_REMEMBERED = 100_000


class Listing:
    """The files of a backend in order. Thread-safe."""

    def __init__(self, backend: Backend, metadata: Metadata) -> None:
        self._backend = backend
        self._metadata = metadata
        # For ids that holdall did not generate. Entries are immutable, so a cached position stays valid until the id is
        # given to another file. The dict is replaced, never modified.
        self._created_at: dict[str, int] = {}
        self._last = _Names(None, [], [])

    def published(self, file: FileObject, raw: bytes) -> None:
        """Cache a file that was just created, and drop the position of an earlier file with the same id."""
        if file.id in self._created_at:
            self._created_at = {i: seconds for i, seconds in self._created_at.items() if i != file.id}
        self._metadata.remember(file, raw)

    def walk(
        self, now: float, *, order: Order, hint: int | None, after: str | None = None, purpose: str | None = None
    ) -> Iterator[list[FileObject]]:
        """All files of that purpose after the cursor `after` that have not expired at `now`, in order, lazily, in
        batches. `hint` is how many the caller expects to take.
        """
        for batch in self._batches(int(now * 1000), after, order, hint):
            yield [
                file for file in batch if not has_expired(file, now) and (purpose is None or file.purpose == purpose)
            ]

    def _batches(self, now_ms: int, after: str | None, order: Order, hint: int | None) -> Iterator[list[FileObject]]:
        if Capability.ORDERED_LISTING in self._backend.capabilities:
            ids, fresh = self._by_ranges(now_ms, after, order, hint)
        else:
            ids, fresh = self._by_looking_at_all(now_ms, after, order)
        left = hint or _LARGEST_BATCH
        size = min(left, _LARGEST_BATCH)
        while batch := list(itertools.islice(ids, size)):
            found: list[FileObject] = []
            try:
                self._metadata.read_listed(batch, found, fresh)
            except Exception:
                # Files found before the storage failed are yielded before the error is raised.
                if found:
                    yield found
                raise
            yield found
            left -= len(batch)
            # When the caller asks for more than it announced, it is discarding some of the files: read in growing
            # batches.
            size = min(left if left > 0 else max(size, _FIRST_BATCH) * 2, _LARGEST_BATCH)

    def _by_ranges(
        self, now_ms: int, after: str | None, order: Order, hint: int | None
    ) -> tuple[Iterator[str], dict[str, FileObject]]:
        first, last = plausible_range(now_ms)
        # Ids of other programs may lie anywhere in the text order, those of holdall in a narrow range, so two listings
        # outside of that range find the others, whatever the size of the store. One that lies in the range by chance
        # could be told apart only by examining every id; it is listed at the position of its text.
        above = list(self._backend.list_ids(after=last))
        rest: Iterator[str] = iter(())
        if order == "asc" and after is None:
            # Listing from the beginning covers the range below as well.
            below, rest = _divided(self._all_ids() if hint is None else self._backend.list_ids(), first)
        else:
            below = list(self._backend.list_ids(before=first))
        places, fresh = self._places([*below, *above])
        if after is not None and after not in places.created_at and not first <= after <= last:
            raise _unknown_cursor(after)
        floor, ceiling = (below[-1] if below else None), (above[0] if above else None)
        own: Iterator[str]
        if order == "desc":
            ends = [end for end in (ceiling, None if after is None else places.own_stop(after)) if end is not None]
            own = _descending(
                self._backend, now_ms, floor=floor, before=min(ends, default=None), wanted=hint or _LARGEST_BATCH
            )
        elif after is None:
            own = rest
        else:
            own = self._backend.list_ids(after=max(floor or "", places.own_start(after)), before=ceiling)
        # An id outside of the range that came in the meantime is left out: its position is not known.
        if order == "desc":
            own = itertools.takewhile(lambda i: i >= first, itertools.dropwhile(lambda i: i > last, own))
        else:
            own = itertools.takewhile(lambda i: i <= last, itertools.dropwhile(lambda i: i < first, own))
        return places.merged(own, after, order), fresh

    def _all_ids(self) -> Iterator[str]:
        # For a backend in memory, there is no latency to hide.
        marks = [] if self._backend.quick else self._metadata.marks(_SIDE_BY_SIDE, _LEAST_IDS)
        return _side_by_side(self._backend, marks) if marks else self._backend.list_ids()

    def _by_looking_at_all(
        self, now_ms: int, after: str | None, order: Order
    ) -> tuple[Iterator[str], dict[str, FileObject]]:
        names = self._names()
        first, last = plausible_range(now_ms)
        start, stop = bisect.bisect_left(names.own, first), bisect.bisect_right(names.own, last)
        places, fresh = self._places([*names.foreign, *names.own[:start], *names.own[stop:]])
        if after is not None and after not in places.created_at:
            if minted_at_ms(after, now_ms) is None:
                raise _unknown_cursor(after)
            if order == "asc":
                start = max(start, bisect.bisect_right(names.own, after))
            else:
                stop = min(stop, bisect.bisect_left(names.own, after))
        own = names.own[start:stop]
        return places.merged(iter(own) if order == "asc" else reversed(own), after, order), fresh

    def _names(self) -> _Names:
        """All ids; taken from the previous listing if the backend can tell that nothing has changed since."""
        version = self._backend.listing_version()
        last = self._last
        if version is not None and version == last.version:
            return last
        known = list(self._backend.list_ids())
        own, foreign = known, list[str]()
        if not have_minted_form(known):
            own = list(filter(has_minted_form, known))
            foreign = [i for i in known if not has_minted_form(i)]
        found = _Names(version, own, foreign)
        keep = version is not None and len(known) <= _MOST_REMEMBERED
        self._last = found if keep else _Names(None, [], [])
        return found

    def _places(self, foreign: list[str]) -> tuple[_Places, dict[str, FileObject]]:
        """The positions of these ids, and the files that had to be read to find out."""
        remembered = self._created_at
        created_at = {i: remembered[i] for i in foreign if i in remembered}
        unknown = [i for i in foreign if i not in created_at]
        read: list[FileObject] = []
        if unknown:
            self._metadata.read_listed(unknown, read)
        fresh = {f.id: f for f in read}
        created_at |= {f.id: f.created_at for f in fresh.values()}
        self._created_at = dict(itertools.islice(created_at.items(), _MOST_REMEMBERED))
        return _Places(created_at), fresh


class _Names:
    """The ids of one listing, ascending: those of the form that holdall generates, and all others."""

    def __init__(self, version: Hashable | None, own: list[str], foreign: list[str]) -> None:
        self.version = version
        self.own = own
        self.foreign = foreign


class _Places:
    """Positions in the order: ids of holdall are placed by their text, others by `created_at`."""

    def __init__(self, created_at: dict[str, int]) -> None:
        self.created_at = created_at

    def of(self, file_id: str) -> tuple[int, str]:
        """The sort key: seconds and the id."""
        seconds = self.created_at.get(file_id)
        return time_of_text(file_id) // 1000 if seconds is None else seconds, file_id

    def own_start(self, cursor: str) -> str:
        """A lower bound, as text, of the ids of holdall after the cursor."""
        seconds = self.created_at.get(cursor)
        return cursor if seconds is None else lower_bound(seconds * 1000)

    def own_stop(self, cursor: str) -> str:
        """An upper bound, as text, of the ids of holdall before the cursor."""
        seconds = self.created_at.get(cursor)
        return cursor if seconds is None else lower_bound(seconds * 1000 + 1000)

    def merged(self, own: Iterator[str], after: str | None, order: Order) -> Iterator[str]:
        """`own`, which is in order, merged with the other ids, restricted to those after the cursor."""
        ids, descending = own, order == "desc"
        if self.created_at:
            others = sorted(self.created_at, key=self.of, reverse=descending)
            ids = heapq.merge(own, others, key=self.of, reverse=descending)
        if after is None:
            return ids
        cursor = self.of(after)
        return (i for i in ids if (self.of(i) < cursor if descending else self.of(i) > cursor))


def page_of(batches: Iterator[list[FileObject]], limit: int | None) -> FilePage:
    """The first `limit` files as a page; None: all. Reads one file more, to know whether there is another page."""
    data: list[FileObject] = []
    for batch in batches:
        data += batch
        if limit is not None and len(data) > limit:
            break
    has_more = limit is not None and len(data) > limit
    if has_more:
        del data[limit:]
    return FilePage(
        data=data,
        has_more=has_more,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
    )


def _divided(ids: Iterator[str], at: str) -> tuple[list[str], Iterator[str]]:
    """A list of the ids before `at`, and an iterator over the rest."""
    before: list[str] = []
    for file_id in ids:
        if file_id >= at:
            return before, itertools.chain([file_id], ids)
        before.append(file_id)
    return before, iter(())


def _side_by_side(backend: Backend, marks: list[str]) -> Iterator[str]:
    """All ids, listed concurrently in parts: up to the first mark, between consecutive marks, and after the last.

    An object store returns a thousand keys in a response, and each request needs the last key of the previous response.
    Marks from an earlier listing make it possible to start in the middle. The part after the last mark may be of any
    size, and is listed lazily.
    """
    threads = ThreadPoolExecutor(len(marks), "holdall-list")
    try:
        try:
            parts = [
                threads.submit(lambda after, before: list(backend.list_ids(after, before)), after, before)
                for after, before in itertools.pairwise([None, *marks])
            ]
        except RuntimeError:
            # The interpreter is exiting, or no more threads can be started.
            parts, marks = [], []
        for part in parts:
            yield from part.result()
        yield from backend.list_ids(after=marks[-1] if marks else None)
    finally:
        threads.shutdown(cancel_futures=True)


def _unknown_cursor(after: str) -> InvalidRequest:
    return InvalidRequest(
        f"cannot list after {after}: there is no such file, and its position cannot be derived from its id; "
        "start from the beginning",
        operation="list",
        file_id=after,
    )


def _descending(backend: Backend, now_ms: int, *, floor: str | None, before: str | None, wanted: int) -> Iterator[str]:
    """Ids between `floor` and `before`, in descending order, from a backend that can only list in ascending order.

    Lists windows of time backwards, each longer than the one before, so that the newest `wanted` ids are found in few
    steps whether the last one is a second or a year old. If a window contains many more, only its first ids are read;
    their density gives an estimate of where the last ones begin, assuming that it is uniform. If the estimate is wrong,
    the end is searched for from there: in growing steps while there are more ids, in shrinking ones once there are
    none.
    """
    first, _ = plausible_range(now_ms)
    upper, upper_ms = before, now_ms + 1 if before is None else min(time_of_text(before), now_ms) + 1
    most = max(2 * wanted, _LOOK)
    window_ms = _FIRST_WINDOW_MS
    # For the last window that held too many: the time of the latest id seen, and the time span of `most` ids.
    crowd_ms: int | None = None
    span_ms = step_ms = 1
    even = True  # whether the density has predicted well so far
    while upper is None or upper > first:
        if crowd_ms is None:
            lower_ms = upper_ms - window_ms
        elif even:
            lower_ms = max(upper_ms - max(span_ms // 2, 1), crowd_ms)
        else:
            lower_ms = crowd_ms + min(step_ms, (upper_ms - crowd_ms) // 2)
        # The last window starts before the earliest time that an id can have.
        lower = text if (text := lower_bound(lower_ms)) > first else floor
        found = list(itertools.islice(backend.list_ids(after=lower, before=upper), most))
        if len(found) == most and upper_ms - lower_ms > 1:
            even = crowd_ms is None
            crowd_ms = time_of_text(found[-1])
            span_ms = max(crowd_ms - time_of_text(found[0]), 1)
            step_ms = max(8 * step_ms, math.isqrt(span_ms * max(upper_ms - crowd_ms, 1)))
            continue
        if len(found) == most:
            # This many ids in one millisecond cannot be split further.
            found = list(backend.list_ids(after=lower, before=upper))
        yield from reversed(found)
        if lower == floor:
            return
        upper, upper_ms = lower, lower_ms
        if crowd_ms is not None and crowd_ms < upper_ms:
            even = bool(found)
            step_ms = math.isqrt(span_ms * (upper_ms - crowd_ms))
        else:
            window_ms = max(span_ms // 2, 1) if crowd_ms is not None else window_ms * (2 if found else 16)
            crowd_ms, even, step_ms = None, True, 1
