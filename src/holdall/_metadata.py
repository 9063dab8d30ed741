"""The metadata of a store's files: read, decoded, and remembered, for it never changes.

What is remembered saves listings the reading, where being listed proves that an entry is still there
(`Capability.EXACT_LISTING`). To get or read a single file, it is read anew: that is how its presence is checked.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from holdall import ids
from holdall._skipped import Skipped
from holdall.backend import Backend, Capability
from holdall.errors import CorruptMetadata, FileNotFound
from holdall.model import FileObject, decode_meta

__all__ = ["DEFAULT_REMEMBERED", "Metadata"]

DEFAULT_REMEMBERED = 100_000
"""At most this many, of about 1 KiB each."""

# Larger documents are the caller's own metadata, up to 64 KiB, which nobody asked to have in memory.
_LARGEST_REMEMBERED_BYTES = 2048

_NOTHING: Mapping[str, FileObject] = {}


class Metadata:
    """Reads files' metadata from a backend. Safe in many threads."""

    def __init__(self, backend: Backend, remembered: int = DEFAULT_REMEMBERED) -> None:
        """`remembered` is how many files are kept in memory at most; 0: none."""
        self.most = remembered
        self._backend = backend
        self._skipped = Skipped()
        self._exact = Capability.EXACT_LISTING in backend.capabilities
        self._files: dict[str, FileObject] = {}

    def last(self, file_id: str) -> FileObject | None:
        """What was read last, if that is remembered; the file may be gone."""
        return self._files.get(file_id)

    def read(self, file_id: str) -> FileObject:
        """What is known about a file, expired or not. Raises `FileNotFound`, `CorruptMetadata`."""
        try:
            raw = self._backend.read_meta(file_id)
            file = decode_meta(raw, file_id)
        except BaseException:
            self._files.pop(file_id, None)
            raise
        self.remember(file, len(raw))
        return file

    def read_listed(
        self, file_ids: Sequence[str], found: list[FileObject], fresh: Mapping[str, FileObject] = _NOTHING
    ) -> None:
        """Append the files of ids that were listed just now, in this order; `fresh` are those just read. Absent ones
        are left out, and corrupt ones, which are logged. If the storage fails half-way, those before are appended.
        """
        if not fresh and self._files.keys().isdisjoint(file_ids):
            self._read(file_ids, found)
            return
        known = self._known(file_ids, fresh)
        unknown = [i for i, file in zip(file_ids, known, strict=True) if file is None]
        if not unknown:
            found += filter(None, known)
            return
        if len(unknown) == len(known):
            self._read(file_ids, found)
            return
        read: list[FileObject] = []
        failed = True
        try:
            self._read(unknown, read)
            failed = False
        finally:
            by_id = {file.id: file for file in read}
            for file_id, before in zip(file_ids, known, strict=True):
                if (file := before or by_id.get(file_id)) is not None:
                    found.append(file)
                elif failed:
                    break

    def _known(self, file_ids: Sequence[str], fresh: Mapping[str, FileObject]) -> list[FileObject | None]:
        known: list[FileObject | None] = list(map(self._files.get, file_ids)) if self._exact else [None] * len(file_ids)
        if fresh:
            return [fresh.get(i) or file for i, file in zip(file_ids, known, strict=True)]
        return known

    def remember(self, file: FileObject, size: int) -> None:
        """Keep the file, whose document has `size` bytes, if it can be told from every other by its id.

        An id from elsewhere may be deleted and given to another file.
        """
        files, file_id = self._files, file.id
        if file_id not in files:
            if size > _LARGEST_REMEMBERED_BYTES or not ids.has_minted_form(file_id):
                return
            if len(files) >= self.most:
                if not self.most:
                    return
                self._make_room(1)
        files[file_id] = file

    def marks(self, most: int, least_ids: int) -> list[str]:
        """Texts that divide the ids of what is remembered into at most so many parts, of so many ids at least,
        ascending; none of them is an id. None at all if that makes less than two parts.
        """
        known = sorted(self._files)
        parts = min(most, len(known) // least_ids)
        # A "." is in no id, and an id with one sorts right after it.
        return [f"{known[len(known) * n // parts - 1]}." for n in range(1, parts + 1)] if parts > 1 else []

    def forget(self, file_id: str) -> None:
        """Of a file that was deleted."""
        self._files.pop(file_id, None)

    def _read(self, file_ids: Sequence[str], found: list[FileObject]) -> None:
        small: dict[str, FileObject] = {}
        for file_id, raw in self._backend.read_metas(file_ids):
            try:
                file = decode_meta(raw, file_id)
            except CorruptMetadata as error:
                self._skipped.report(file_id, error)
                continue
            except FileNotFound:
                continue  # of another store in the same storage
            found.append(file)
            if len(raw) <= _LARGEST_REMEMBERED_BYTES:
                small[file_id] = file
        self._remember_all(small)

    def _remember_all(self, files: dict[str, FileObject]) -> None:
        """The same as `remember` for each of these, in few steps: a long listing takes longest to look at each."""
        if not ids.have_minted_form(list(files)):
            files = {file_id: file for file_id, file in files.items() if ids.has_minted_form(file_id)}
        if len(files) > self.most:
            files = dict(itertools.islice(files.items(), self.most))
        excess = len(self._files) + len(files) - self.most
        if excess > 0:
            self._make_room(excess)
        self._files.update(files)

    def _make_room(self, least: int) -> None:
        """Let go of so many that have been kept longest, or an eighth."""
        # A copy in one step, since other threads go on adding; two that do this at once only make more room.
        for file_id in list(self._files)[: max(self.most // 8, least)]:
            self._files.pop(file_id, None)
