"""Mutants of the listing checks: wrong bounds, lost pages, stale answers, pages cut before they are filtered."""

from __future__ import annotations

import itertools
from typing import Any

from tests.conformance.mutants._base import MemoryBackend, mutant

from holdall.errors import FileNotFound, InvalidRequest
from holdall.model import FilePage
from holdall.store import FileStore


def page_of(files: list[Any], *, has_more: bool) -> FilePage:
    """A page as the store makes it."""
    first, last = (files[0].id, files[-1].id) if files else (None, None)
    return FilePage(data=files, has_more=has_more, first_id=first, last_id=last)


@mutant("list.empty", "list.bad_cursor")
class EmptyIsAnError(MemoryBackend):
    """A location that nothing was ever written to cannot be listed."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        if not self._space.ids and not getattr(self._space, "written", False):
            raise FileNotFound("no such prefix")
        self._space.written = True  # type: ignore[attr-defined]
        return super().list_ids(after, before)

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        self._space.written = True  # type: ignore[attr-defined]


@mutant("list.empty")
class EmptyHasMore(FileStore):
    """An empty page with more to come, until there is a file."""

    def list(self, **options: Any) -> FilePage:
        page = super().list(**options)
        if not page.data and options.get("after") is None and next(self.backend.list_ids(), None) is None:
            return page_of([], has_more=True)
        return page


@mutant("list.pages_cover_exactly_once", "list.reverse_is_exact_reverse")
class AfterIsInclusive(MemoryBackend):
    """The page after a file begins with that file."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        ids = super().list_ids(after, before)
        return itertools.chain([after], ids) if after in self._space.entries else ids


@mutant("list.pages_cover_exactly_once")
class PageEndsElsewhere(FileStore):
    """A page of three says that it ends with the fourth, where the next one then begins."""

    def list(self, *, limit: int | None = None, **options: Any) -> FilePage:
        page = super().list(limit=limit, **options)
        if limit == 3 and page.has_more and not options.get("purpose") and options.get("order") is None:
            return page.model_copy(update={"last_id": super().list(limit=4, **options).last_id})
        return page


@mutant("list.more_than_1000")
class FirstThousand(MemoryBackend):
    """What the server gives in one answer, and no more."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        return itertools.islice(super().list_ids(after, before), 1000)


@mutant("list.more_than_1000")
class LosesTheFirstOfEachAnswer(MemoryBackend):
    """The continuation starts after the first key of the next answer."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        return (i for n, i in enumerate(super().list_ids(after, before)) if n % 1000 or n == 0)


@mutant("list.more_than_1000")
class RepeatsBetweenAnswers(MemoryBackend):
    """The continuation starts with the last key of the answer before."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        for n, file_id in enumerate(super().list_ids(after, before), 1):
            yield file_id
            if n % 1000 == 0:
                yield file_id


@mutant(
    "list.order_is_stated_and_stable",
    "list.reverse_is_exact_reverse",
    "list.insert_during_walk_no_dup_no_loss",
)
class ListsInOrderOfArrival(MemoryBackend):
    """New entries are kept as they come, and only sorted in once there are many."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        ids = list(self._space.entries)
        if len(ids) > 500:
            ids.sort()
        return iter([i for i in ids if (after is None or i > after) and (before is None or i < before)])


@mutant("list.order_is_stated_and_stable")
class SortsWithoutCase(MemoryBackend):
    """A database with a collation that takes upper and lower case for the same."""

    capabilities = MemoryBackend.capabilities & ~MemoryBackend.capabilities.ORDERED_LISTING

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        return iter(sorted(super().list_ids(after, before), key=str.lower))


@mutant("list.order_is_stated_and_stable", "list.cursor_survives_delete")
class OrdersByIdAlone(FileStore):
    """Ids from elsewhere are taken to be in the order of time."""

    def list(
        self, *, limit: int | None = None, after: str | None = None, order: str = "asc", **options: Any
    ) -> FilePage:
        if options or (limit is not None and not 1 <= limit <= 10_000) or order not in {"asc", "desc"}:
            return super().list(limit=limit, after=after, order=order, **options)
        whole = super().list(after=after, order=order)
        if after is not None:
            whole = super().list(order=order)
        files = sorted(whole.data, key=lambda f: f.id, reverse=order == "desc")
        if after is not None:
            files = [f for f in files if (f.id > after if order == "asc" else f.id < after)]
        return page_of(files[:limit], has_more=limit is not None and len(files) > limit)


@mutant("list.reverse_is_exact_reverse")
class BeforeIsInclusive(MemoryBackend):
    """The window ends with its bound."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        yield from super().list_ids(after, before)
        if before in self._space.entries and (after is None or after < before):  # type: ignore[operator]
            yield before


@mutant(
    "list.reverse_is_exact_reverse",
    "list.more_than_1000",
    "list.cursor_survives_delete",
    "list.insert_during_walk_no_dup_no_loss",
    "list.delete_during_walk_no_error",
    "list.filter_equals_filtering_all",
    "list.other_handle_sees_create_and_delete",
)
class TiesNotReversed(FileStore):
    """Descending by time, but ascending among files of one second."""

    def list(
        self, *, limit: int | None = None, after: str | None = None, order: str = "asc", **options: Any
    ) -> FilePage:
        if order != "desc" or (limit is not None and not 1 <= limit <= 10_000):
            return super().list(limit=limit, after=after, order=order, **options)
        super().list(after=after, limit=1, order=order, **options)
        files = sorted(super().list(**options).data, key=lambda f: -f.created_at)
        at = next((n + 1 for n, f in enumerate(files) if f.id == after), 0)
        files = files[at:]
        return page_of(files[:limit], has_more=limit is not None and len(files) > limit)


@mutant("list.cursor_survives_delete")
class CursorMustExist(MemoryBackend):
    """The place of the cursor is looked up; if it is gone, there is nothing after it."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        # The bounds of times are not ids, and are compared.
        if after is not None and len(after) == 37 and after not in self._space.entries:
            return iter(())
        return super().list_ids(after, before)


@mutant("list.cursor_survives_delete")
class CursorGoneStartsAnew(MemoryBackend):
    """A cursor that is gone is no cursor."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        known = after is None or len(after) != 37 or after in self._space.entries
        return super().list_ids(after if known else None, before)


@mutant("list.insert_during_walk_no_dup_no_loss", "list.delete_during_walk_no_error", "list.more_than_1000")
class IteratesTheDictionary(MemoryBackend):
    """A generator over a dictionary that others change."""

    capabilities = MemoryBackend.capabilities & ~MemoryBackend.capabilities.ORDERED_LISTING

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        self._space.entries = dict(sorted(self._space.entries.items()))
        for file_id in self._space.entries:
            if (after is None or file_id > after) and (before is None or file_id < before):
                yield file_id


@mutant("list.insert_during_walk_no_dup_no_loss", "list.delete_during_walk_no_error", "list.cursor_survives_delete")
class PagesByOffset(FileStore):
    """A cursor stands for how many files were shown up to it when it was."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._places: dict[tuple[str | None, str, Any], int] = {}

    def list(
        self, *, limit: int | None = None, after: str | None = None, order: str = "asc", **options: Any
    ) -> FilePage:
        purpose = options.get("purpose")
        if limit is None or not 1 <= limit <= 10_000 or (after, order, purpose) not in self._places:
            page = super().list(limit=limit, after=after, order=order, **options)
            at = 0 if after is None else None
        else:
            at = self._places[after, order, purpose]
            files = super().list(order=order, **options).data[at:]
            page = page_of(files[:limit], has_more=len(files) > limit)
        if page.data and at is not None:
            self._places[page.last_id, order, purpose] = at + len(page.data)
        return page


@mutant("list.delete_during_walk_no_error")
class ReadsManyOrNone(MemoryBackend):
    """One absent entry fails the whole batch."""

    def read_metas(self, file_ids: Any) -> Any:
        return ((file_id, self.read_meta(file_id)) for file_id in file_ids)


@mutant("list.no_empty_page_with_more", "list.filter_equals_filtering_all")
class FiltersAfterCutting(FileStore):
    """A page is cut first, and what does not match is taken out of it."""

    def list(self, *, purpose: Any = None, **options: Any) -> FilePage:
        page = super().list(**options)
        if purpose is None:
            return page
        wanted = super().list(purpose=purpose).data
        return FilePage(
            data=[f for f in page.data if f in wanted],
            has_more=page.has_more,
            first_id=page.first_id,
            last_id=page.last_id,
        )


@mutant("list.no_empty_page_with_more")
class FullPageHasMore(FileStore):
    """A full page is taken for a sign that more follows."""

    def list(self, *, limit: int | None = None, **options: Any) -> FilePage:
        page = super().list(limit=limit, **options)
        return page_of(page.data, has_more=len(page.data) == limit)


@mutant("list.limit_bounds")
class ClampsLimits(FileStore):
    """Too little is one, too much is the most."""

    def list(self, *, limit: int | None = None, **options: Any) -> FilePage:
        return super().list(limit=None if limit is None else min(max(limit, 1), 10_000), **options)


@mutant("list.limit_bounds")
class ZeroIsNoLimit(FileStore):
    """`limit or None`."""

    def list(self, *, limit: int | None = None, **options: Any) -> FilePage:
        return super().list(limit=limit or None, **options)


@mutant("list.bad_cursor")
class BadCursorIsTheEnd(FileStore):
    """Nothing comes after what nobody knows."""

    def list(self, *, after: str | None = None, limit: int | None = None, **options: Any) -> FilePage:
        try:
            return super().list(after=after, limit=limit, **options)
        except InvalidRequest:
            if after is None or (limit is not None and limit < 1):
                raise
            return page_of([], has_more=False)


@mutant("list.bad_cursor")
class EmptyCursorIsNone(FileStore):
    """`after or None`."""

    def list(self, *, after: str | None = None, **options: Any) -> FilePage:
        return super().list(after=after or None, **options)


@mutant("list.filter_equals_filtering_all")
class OneSpellingOfPurposes(FileStore):
    """The filter compares the text it was given."""

    def list(self, *, purpose: Any = None, **options: Any) -> FilePage:
        return super().list(purpose="no-such" if purpose == "fine_tune" else purpose, **options)


@mutant("list.filter_equals_filtering_all")
class FilterForgotWhenDescending(FileStore):
    """Only the ascending walk filters."""

    def list(self, *, purpose: Any = None, order: str = "asc", **options: Any) -> FilePage:
        known = purpose if order == "asc" or purpose == "batch" else None
        return super().list(purpose=known, order=order, **options)


@mutant("list.other_handle_sees_create_and_delete")
class CachesItsListing(MemoryBackend):
    """A list of ids kept by the handle until it writes something itself."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._kept: list[str] | None = None

    def stage(self, file_id: str) -> Any:
        self._kept = None
        return super().stage(file_id)

    def remove(self, file_id: str) -> None:
        self._kept = None
        super().remove(file_id)

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        if self._kept is None:
            self._kept = list(super().list_ids())
        return iter([i for i in self._kept if (after is None or i > after) and (before is None or i < before)])


@mutant("list.other_handle_sees_create_and_delete")
class CachesByCount(CachesItsListing):
    """The cached listing is taken for current as long as the number of entries is the same."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        if self._kept is not None and len(self._kept) != len(self._space.ids):
            self._kept = None
        return super().list_ids(after, before)


@mutant("list.more_than_1000")
class SelectsByOffset(MemoryBackend):
    """`LIMIT 500 OFFSET n`: of rows that go meanwhile, as many others are passed over."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        for at in itertools.count(0, 500):
            rows = list(itertools.islice(super().list_ids(after, before), at, at + 500))
            yield from rows
            if len(rows) < 500:
                return


@mutant("list.more_than_1000")
class BoundedWalkIsOnePage(MemoryBackend):
    """Follows the pages of its server, but not where there is an upper bound."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        return itertools.islice(super().list_ids(after, before), None if before is None else 1000)
