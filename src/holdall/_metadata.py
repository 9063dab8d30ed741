"""The metadata of a store's files: read, decoded, and cached, which is safe because it is immutable.

The cache saves reads in listings, provided that a listed entry is known to exist (`Capability.EXACT_LISTING`). To get
or read a single file, its metadata is always read again, which checks that the file still exists; it is decoded again
only if it has changed.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from holdall import ids
from holdall._skipped import Skipped
from holdall.backend import Backend, Capability
from holdall.errors import CorruptMetadata, FileNotFound
from holdall.model import FileObject, copied, decode_meta

__all__ = ["DEFAULT_REMEMBERED", "Metadata"]

DEFAULT_REMEMBERED = 100_000
"""The default size of the cache, in files of about 1 KiB each."""

# Larger documents consist mostly of the caller's own metadata, up to 64 KiB, and would use too much memory.
_LARGEST_REMEMBERED_BYTES = 2048

_NOTHING: Mapping[str, FileObject] = {}


class Metadata:
    """Reads files' metadata from a backend. Thread-safe."""

    def __init__(self, backend: Backend, remembered: int = DEFAULT_REMEMBERED) -> None:
        """`remembered` is how many files are cached at most; 0: none."""
        self.most = remembered
        self._backend = backend
        self._skipped = Skipped()
        self._exact = Capability.EXACT_LISTING in backend.capabilities
        # Copies of what callers get: the caller's own metadata is a dict, which they may modify.
        self._files: dict[str, FileObject] = {}
        # Of files that were written or read one by one: the hash of the document, and the file that it describes.
        self._decoded: dict[str, tuple[int, FileObject]] = {}

    def last(self, file_id: str) -> FileObject | None:
        """The cached metadata, or None. The file may have been deleted since."""
        return self._files.get(file_id)

    def read(self, file_id: str) -> FileObject:
        """The metadata of a file, expired or not. Raises `FileNotFound`, `CorruptMetadata`."""
        try:
            raw = self._backend.read_meta(file_id)
            before = self._decoded.get(file_id)
            # The hash of bytes has 64 bits and a secret key of the process (PEP 456).
            if before is not None and before[0] == hash(raw):
                return copied(before[1])
            file = decode_meta(raw, file_id)
        except BaseException:
            self.forget(file_id)
            raise
        self.remember(file, raw)
        return file

    def read_listed(
        self, file_ids: Sequence[str], found: list[FileObject], fresh: Mapping[str, FileObject] = _NOTHING
    ) -> None:
        """Append the files with these ids, which were just listed, in this order; `fresh` are files that were just
        read.

        Absent files are left out, and corrupt ones are left out and logged. If the storage fails half-way, the files
        before that point have been appended.
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
        if not self._exact:
            return list(map(fresh.get, file_ids))
        # Tested here as well as in `copied`: in a long listing, a call for each file dominates.
        known = [f if f is None or f.metadata is None else copied(f) for f in map(self._files.get, file_ids)]
        if fresh:
            return [fresh.get(i) or file for i, file in zip(file_ids, known, strict=True)]
        return known

    def remember(self, file: FileObject, raw: bytes) -> None:
        """Cache the file that `raw` describes, if its id can belong to no other file.

        An id that holdall did not generate may be deleted and reused for another file.
        """
        files, file_id = self._files, file.id
        if file_id not in files:
            if len(raw) > _LARGEST_REMEMBERED_BYTES or not ids.has_minted_form(file_id):
                return
            if len(files) >= self.most:
                if not self.most:
                    return
                self._make_room(1)
        kept = copied(file)
        # In this order, an eviction by another thread at the same time leaves nothing behind.
        self._decoded[file_id] = hash(raw), kept
        files[file_id] = kept

    def marks(self, most: int, least_ids: int) -> list[str]:
        """Texts, ascending, that divide the cached ids into at most `most` parts of at least `least_ids` ids each. None
        of them is an id. Empty if that would give fewer than two parts.
        """
        known = sorted(self._files)
        parts = min(most, len(known) // least_ids)
        # No id contains a ".", and an id with a "." appended sorts directly after the id.
        return [f"{known[len(known) * n // parts - 1]}." for n in range(1, parts + 1)] if parts > 1 else []

    def forget(self, file_id: str) -> None:
        """Drop a deleted file from the cache."""
        self._files.pop(file_id, None)
        self._decoded.pop(file_id, None)

    def _read(self, file_ids: Sequence[str], found: list[FileObject]) -> None:
        small: dict[str, FileObject] = {}
        for file_id, raw in self._backend.read_metas(file_ids):
            try:
                file = decode_meta(raw, file_id)
            except CorruptMetadata as error:
                self._skipped.report(file_id, error)
                continue
            except FileNotFound:
                continue  # belongs to another store in the same storage
            found.append(file)
            if len(raw) <= _LARGEST_REMEMBERED_BYTES:
                small[file_id] = file if file.metadata is None else copied(file)
        self._remember_all(small)

    def _remember_all(self, files: dict[str, FileObject]) -> None:
        """`remember` for each of these, in few operations: in a long listing, work for each file dominates."""
        if not ids.have_minted_form(list(files)):
            files = {file_id: file for file_id, file in files.items() if ids.has_minted_form(file_id)}
        if len(files) > self.most:
            files = dict(itertools.islice(files.items(), self.most))
        excess = len(self._files) + len(files) - self.most
        if excess > 0:
            self._make_room(excess)
        self._files.update(files)

    def _make_room(self, least: int) -> None:
        """Evict the oldest `least` files, or an eighth of the cache if that is more."""
        # list() copies the keys atomically while other threads add files; two concurrent evictions only free more room.
        for file_id in list(self._files)[: max(self.most // 8, least)]:
            self.forget(file_id)
