"""Mutants of the delete checks: deletes that leave something, take too much, or cannot be done."""

from __future__ import annotations

import bisect
import contextlib
import io
import os
import shutil
from typing import Any, ClassVar

from tests.conformance.mutants._base import LocalBackend, MemoryBackend, StagedWrapper, mutant

from holdall.errors import FileNotFound, StorageError
from holdall.store import FileStore


@mutant("delete.then_everything_is_missing")
class CachesMetadata(MemoryBackend):
    """Metadata once read is kept by the handle, and never checked again."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._metas: dict[str, bytes] = {}

    def read_meta(self, file_id: str) -> bytes:
        if file_id not in self._metas:
            self._metas[file_id] = super().read_meta(file_id)
        return self._metas[file_id]

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        self._metas.pop(file_id, None)


@mutant("delete.only_that_one", "delete.then_everything_is_missing", "delete.twice_is_FileNotFound")
class HidesOnly(MemoryBackend):
    """A deleted entry is left out of listings, and nothing else."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._hidden = self._space.__dict__.setdefault("hidden", set())

    def remove(self, file_id: str) -> None:
        self._entry(file_id)
        self._hidden.add(file_id)

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        return (i for i in super().list_ids(after, before) if i not in self._hidden)


@mutant("delete.then_everything_is_missing")
class ListsDeleted(FileStore):
    """Deleted files stay in the listing of the handle that deleted them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ghosts: list[Any] = []

    def delete(self, file_id: str) -> None:
        with contextlib.suppress(Exception):
            self._ghosts.append(self.get(file_id))
        super().delete(file_id)

    def __iter__(self) -> Any:
        return iter([*super().__iter__(), *self._ghosts])


@mutant("delete.then_everything_is_missing", "delete.twice_is_FileNotFound")
class SilentRemove(MemoryBackend):
    """Removing what is not there does nothing."""

    def remove(self, file_id: str) -> None:
        with contextlib.suppress(FileNotFound):
            super().remove(file_id)


@mutant("delete.then_everything_is_missing", "delete.twice_is_FileNotFound")
class ForgivingDelete(FileStore):
    """Deleting what is not there succeeds."""

    def delete(self, file_id: str) -> None:
        with contextlib.suppress(FileNotFound):
            super().delete(file_id)


@mutant("delete.only_that_one")
class RemovesByPrefix(MemoryBackend):
    """Everything whose name begins with the id goes."""

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        for other in [i for i in self._space.ids if i.startswith(file_id)]:
            super().remove(other)


@mutant("delete.only_that_one")
class RemovesByPattern(MemoryBackend):
    """`DELETE … WHERE id LIKE ?`, where `_` stands for any character."""

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        for other in list(self._space.ids):
            if len(other) == len(file_id) and all(p in {"_", c} for p, c in zip(file_id, other, strict=True)):
                super().remove(other)


@mutant("delete.only_that_one")
class RemovesEqualBytes(MemoryBackend):
    """Equal bytes are kept once, and nobody counts who uses them."""

    def remove(self, file_id: str) -> None:
        data = self._entry(file_id)[1]
        super().remove(file_id)
        for other in [i for i, entry in self._space.entries.items() if entry[1] == data]:
            super().remove(other)


class _Lazy(io.RawIOBase):
    """Looks the entry up at every read; what it does when that is gone is the mutant's."""

    def __init__(self, backend: Any, file_id: str, start: int, stop: int | None) -> None:
        super().__init__()
        self.backend, self.file_id, self.at, self.stop = backend, file_id, start, stop

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self.backend.bytes_of(self.file_id)[self.at : self.stop]
        chunk = data if size < 0 else data[:size]
        self.at += len(chunk)
        return chunk


class _LazyBackend(MemoryBackend):
    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        self._entry(file_id)
        return _Lazy(self, file_id, start, stop)


@mutant("delete.open_reader_defined")
class RawErrorWhenGone(_LazyBackend):
    """The dictionary's own error comes out of a reader."""

    def bytes_of(self, file_id: str) -> bytes:
        return self._space.entries[file_id][1]


@mutant("delete.open_reader_defined")
class EndsWhenGone(_LazyBackend):
    """A reader whose file is gone is at its end."""

    def bytes_of(self, file_id: str) -> bytes:
        entry = self._space.entries.get(file_id)
        return entry[1] if entry else b""


@mutant("delete.open_reader_defined")
class SlotIsReused(_LazyBackend):
    """The space of a deleted file is given to the next, and the reader reads on there."""

    def bytes_of(self, file_id: str) -> bytes:
        entries = self._space.entries
        return entries.get(file_id, entries[max(entries)])[1]


@mutant("delete.frees_space")
class KeepsTheBytes(LocalBackend):
    """The entry is moved to a bin that nobody empties."""

    def remove(self, file_id: str) -> None:
        self.read_meta(file_id)
        bin_ = os.path.join(self._root, ".bin")
        os.makedirs(bin_, exist_ok=True)
        try:
            os.rename(os.path.join(self._root, file_id), os.path.join(bin_, file_id))
        except FileNotFoundError:
            raise FileNotFound("gone") from None


@mutant("delete.only_that_one", "delete.frees_space", "delete.then_everything_is_missing")
class LeavesTheData(LocalBackend):
    """Only the metadata goes."""

    def remove(self, file_id: str) -> None:
        try:
            os.unlink(os.path.join(self._root, file_id, "meta.json"))
        except OSError:
            raise FileNotFound("gone") from None


@mutant("delete.missing_directory_pieces_tolerated")
class NeedsTheData(LocalBackend):
    """The bytes must be there for an entry to be removed."""

    def remove(self, file_id: str) -> None:
        self.open_data(file_id).close()
        super().remove(file_id)


@mutant("delete.missing_directory_pieces_tolerated")
class DeletesInOrder(LocalBackend):
    """Unlinks the bytes, the metadata, the directory, and stops at what is not there."""

    def remove(self, file_id: str) -> None:
        self.read_meta(file_id)
        entry = os.path.join(self._root, file_id)
        for name in ("data.bin", "meta.json"):
            os.unlink(os.path.join(entry, name))
        os.rmdir(entry)


@mutant("delete.only_that_one")
class CutsLongIds(MemoryBackend):
    """A column of 64 characters, from which longer ids are cut without a word."""

    def stage(self, file_id: str) -> Any:
        return super().stage(file_id[:64])

    def read_meta(self, file_id: str) -> bytes:
        return super().read_meta(file_id[:64])

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        return super().open_data(file_id[:64], start, stop)

    def remove(self, file_id: str) -> None:
        super().remove(file_id[:64])


@mutant("delete.then_everything_is_missing")
class CachesBytes(MemoryBackend):
    """Bytes once read are kept by the handle, whoever deletes the file."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._kept: dict[str, bytes] = {}

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        if file_id not in self._kept:
            self._kept[file_id] = self._entry(file_id)[1]
        return io.BytesIO(self._kept[file_id][start:stop])


class _Taken(StagedWrapper):
    def __init__(self, inner: Any, taken: set[str], file_id: str) -> None:
        super().__init__(inner)
        self.taken, self.file_id = taken, file_id

    def publish(self, meta: bytes) -> None:
        if self.file_id in self.taken:
            raise StorageError("UNIQUE constraint failed: entries.id")
        self.inner.publish(meta)
        self.taken.add(self.file_id)


@mutant("delete.only_that_one")
class MarksAsDeleted(MemoryBackend):
    """A column says that the entry is deleted; its id stays taken."""

    taken: ClassVar[set[str]] = set()

    def stage(self, file_id: str) -> Any:
        return _Taken(super().stage(file_id), self.taken, file_id)


@mutant("delete.only_that_one")
class RemembersTheDeleted(MemoryBackend):
    """Listings leave out what was deleted through this handle, whatever was published since."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._deleted: set[str] = set()

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        return (i for i in super().list_ids(after, before) if i not in self._deleted)

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        self._deleted.add(file_id)


@mutant("delete.then_everything_is_missing", "delete.twice_is_FileNotFound")
class KnowsItsFiles(FileStore):
    """What get has found once, the handle finds for good, and may delete."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._known: dict[str, Any] = {}

    def get(self, file_id: str) -> Any:
        if file_id not in self._known:
            self._known[file_id] = super().get(file_id)
        return self._known[file_id]

    def delete(self, file_id: str) -> None:
        known = self._known.pop(file_id, None)
        with contextlib.suppress(FileNotFound) if known else contextlib.nullcontext():
            super().delete(file_id)


@mutant("delete.then_everything_is_missing", "delete.only_that_one")
class KeepsItsPage(FileStore):
    """A listing is kept until somebody stores a file, or this handle deletes one."""

    stored = 0
    _page: Any = None
    _at = 0

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        KeepsItsPage.stored += 1
        return super().create(filename, data, **options)

    def delete(self, file_id: str) -> None:
        super().delete(file_id)
        self._page = None

    def list(self, **options: Any) -> Any:
        if self._page is None or self._at != self.stored:
            self._page, self._at = super().list(**options), self.stored
        return self._page


@mutant("delete.only_that_one")
class RemovesItsNeighbour(MemoryBackend):
    """Takes the place after the right one out of its index."""

    def remove(self, file_id: str) -> None:
        space = self._space
        if space.entries.pop(file_id, None) is None:
            raise FileNotFound("gone")
        del space.ids[min(bisect.bisect_right(space.ids, file_id), len(space.ids) - 1)]


class _FailsToClose(_Lazy):
    def close(self) -> None:
        if not self.closed and self.file_id not in self.backend._space.entries:
            super().close()
            raise StorageError("the file to be closed is gone")
        super().close()


@mutant("delete.open_reader_defined")
class ClosesWhatIsThere(MemoryBackend):
    """Reads on to the end, and then cannot close what is gone."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        stream = _FailsToClose(self, file_id, start, stop)
        data = self._entry(file_id)[1]
        stream.backend = _Held(self._space, data)
        return stream


class _Held:
    """The bytes of an entry, held by a reader."""

    def __init__(self, space: Any, data: bytes) -> None:
        self._space, self._data = space, data

    def bytes_of(self, _: str) -> bytes:
        return self._data


@mutant("delete.frees_space")
class LeavesATombstone(LocalBackend):
    """An empty file says which entry was deleted."""

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        tombs = os.path.join(self._root, ".deleted")
        os.makedirs(tombs, exist_ok=True)
        with open(os.path.join(tombs, file_id), "wb"):
            pass


@mutant("delete.missing_directory_pieces_tolerated")
class NoBytesNothingToRemove(LocalBackend):
    """Takes an entry whose bytes are missing for one that was removed."""

    def remove(self, file_id: str) -> None:
        self.read_meta(file_id)
        with contextlib.suppress(FileNotFound):
            self.open_data(file_id).close()
            super().remove(file_id)


@mutant("delete.missing_directory_pieces_tolerated")
class RemovesAnyDirectory(LocalBackend):
    """Removes what has the name, whether or not it is an entry."""

    def remove(self, file_id: str) -> None:
        folder = os.path.join(self._root, file_id)
        if os.path.isdir(folder) and not os.path.exists(os.path.join(folder, "meta.json")):
            shutil.rmtree(folder)
        else:
            super().remove(file_id)
