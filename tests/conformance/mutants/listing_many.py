"""Mutants of the listing checks that are right for a few entries and one call at a time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

from tests.conformance.mutants._base import MemoryBackend, mutant

from holdall.errors import StorageError

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
