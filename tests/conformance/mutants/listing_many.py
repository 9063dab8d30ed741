"""Mutants of the listing checks that are right for a few entries and one call at a time."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from tests.conformance.mutants._base import MemoryBackend, mutant

from holdall.errors import InvalidRequest, StorageError
from holdall.model import FileObject, FilePage
from holdall.store import FileStore

ANSWER = 1000


@mutant("list.more_than_1000")
class SomethingFollowsAFullAnswer(MemoryBackend):
    """Takes a full answer of the server for a sign that more follow, and fails where none do."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        more = False
        while True:
            answer = list(itertools.islice(super().list_ids(after, before), ANSWER))
            if more and not answer:
                raise StorageError("the server's answer has no first key")
            yield from answer
            if len(answer) < ANSWER:
                return
            after, more = answer[-1], True


@mutant("list.more_than_1000")
class AThousandIdsAStatement(MemoryBackend):
    """`WHERE id IN (…)`, with as many ids as it is given: the database takes a thousand."""

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        file_ids = list(file_ids)
        if len(file_ids) > ANSWER:
            raise StorageError("too many variables in one statement")
        return super().read_metas(file_ids)


@mutant("list.empty")
class OneIdAStatementAtLeast(MemoryBackend):
    """`WHERE id IN ()` is no SQL."""

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        file_ids = list(file_ids)
        if not file_ids:
            raise StorageError('syntax error near ")"')
        return super().read_metas(file_ids)


@mutant("list.delete_during_walk_no_error")
class RemovalEndsTheRead(MemoryBackend):
    """To remove is to commit, which ends the statement that is reading: a sweep takes away one file and no other."""

    removed = 0

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        before = self.removed
        return itertools.takewhile(lambda _: self.removed == before, super().read_metas(file_ids))

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        self.removed += 1


@mutant("list.more_than_1000")
class ListsAThousand(FileStore):
    """Who names no limit gets a thousand, and may ask whether there are more."""

    def list(self, *, limit: int | None = None, **options: Any) -> FilePage:
        return super().list(limit=ANSWER if limit is None else limit, **options)


@mutant("list.more_than_1000")
class IteratesOverAPage(FileStore):
    """To iterate is to go through the first page."""

    def __iter__(self) -> Iterator[FileObject]:
        return iter(self.list(limit=ANSWER).data)


@mutant(
    "list.limit_bounds",
    "list.empty",
    "list.pages_cover_exactly_once",
    "list.other_handle_sees_create_and_delete",
)
class MostIsTooMany(FileStore):
    """Refuses the largest page that may be asked for."""

    def list(self, *, limit: int | None = None, **options: Any) -> FilePage:
        if limit == 10_000:
            raise InvalidRequest("limit must be less than 10000")
        return super().list(limit=limit, **options)


@mutant("list.cursor_survives_delete")
class NothingComesAfterNothing(FileStore):
    """Where there is no file, no cursor can be right."""

    def list(self, *, after: str | None = None, **options: Any) -> FilePage:
        if after is not None and not super().list(limit=1).data:
            raise InvalidRequest(f"there is no {after}")
        return super().list(after=after, **options)


@mutant("list.insert_during_walk_no_dup_no_loss", "list.delete_during_walk_no_error", "list.more_than_1000")
class WalksByPlace(MemoryBackend):
    """Counts the entries that it has yielded, and goes on at that place."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        ids = self._space.ids
        first = bisect.bisect_right(ids, after or "")
        for place in itertools.count(first):
            if place >= len(ids) or (before is not None and ids[place] >= before):
                return
            yield ids[place]
