"""Mutants of honesty: declares too much, does what it does not declare, states a wrong limit."""

from __future__ import annotations

import io
import os
import time
from typing import Any, ClassVar

from tests.conformance.mutants._base import LocalBackend, MemoryBackend, StagedWrapper, mutant

from holdall.backend import Capability, Limits
from holdall.errors import StorageError
from holdall.model import FileObject
from holdall.store import FileStore

HONEST = MemoryBackend.capabilities


@mutant("caps.undeclared_operation_refused")
class DeclaresSignedUrls(MemoryBackend):
    """Has no signed URLs, and says it has."""

    capabilities = HONEST | Capability.SIGNED_URLS


@mutant("caps.undeclared_operation_refused")
class SignsForItselfOnly(MemoryBackend):
    """Its signed URLs are of a scheme that only it can read."""

    capabilities = HONEST | Capability.SIGNED_URLS

    def signed_url(self, file_id: str, expires_in: int) -> str:
        return f"memory://signed/{file_id}?expires_in={expires_in}"


@mutant("caps.undeclared_operation_refused")
class SignsUndeclared(MemoryBackend):
    """Has signed URLs, and does not say so."""

    def signed_url(self, file_id: str, expires_in: int) -> str:
        return f"https://example.com/{file_id}"


@mutant("caps.undeclared_operation_refused")
class NothingForUndeclared(MemoryBackend):
    """What it does not have is None."""

    def local_path(self, file_id: str) -> Any:
        return None


@mutant("caps.undeclared_operation_refused")
class DeclaresLocalPaths(MemoryBackend):
    """Has no local paths, and says it has."""

    capabilities = HONEST | Capability.LOCAL_PATHS


@mutant("caps.undeclared_operation_refused")
class PathOfTheDirectory(LocalBackend):
    """The local path is that of the entry, not of its bytes."""

    def local_path(self, file_id: str) -> str:
        return os.path.dirname(super().local_path(file_id))


@mutant("caps.undeclared_operation_refused")
class PathsUndeclared(LocalBackend):
    """Has local paths, and does not say so."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.capabilities &= ~Capability.LOCAL_PATHS


@mutant("caps.undeclared_operation_refused")
class IgnoresRanges(MemoryBackend):
    """Says it reads ranges, and ignores where they end."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        return super().open_data(file_id, start)


@mutant("caps.undeclared_operation_refused")
class RangesInclusive(MemoryBackend):
    """The byte at the end of a range is delivered with it, as in an HTTP header."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        return super().open_data(file_id, start, None if stop is None else stop + 1)


@mutant("caps.undeclared_operation_refused")
class IgnoresStart(LocalBackend):
    """A range is everything up to its end."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        with super().open_data(file_id) as stream:
            return io.BytesIO(stream.read()[:stop] if start > 1 else stream.read()[start:stop])


@mutant("caps.undeclared_operation_refused")
class IgnoresBefore(MemoryBackend):
    """Lists to the end, whatever the bound."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        return super().list_ids(after)


@mutant("caps.undeclared_operation_refused")
class BoundsMustBeIds(MemoryBackend):
    """A bound that is no id of an entry is an error."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        for bound in (after, before):
            if bound is not None and not bound.startswith("file-"):
                raise StorageError(f"{bound!r} is no key")
        return super().list_ids(after, before)


@mutant("caps.undeclared_operation_refused")
class OtherLayout(LocalBackend):
    """Keeps more in an entry's directory than the layout has."""

    def stage(self, file_id: str) -> Any:
        root = self._root

        class Extra(StagedWrapper):
            def publish(self, meta: bytes) -> None:
                super().publish(meta)
                with open(os.path.join(root, file_id, "index"), "wb") as file:
                    file.write(b"")

        return Extra(super().stage(file_id))


@mutant("caps.limits_are_real")
class ShorterNames(MemoryBackend):
    """Names of 255 characters are what the file system keeps; 4096 are promised."""

    def stage(self, file_id: str) -> Any:
        class Staged(StagedWrapper):
            def publish(self, meta: bytes) -> None:
                if len(meta) > 4000:
                    raise StorageError("the metadata is too large")
                super().publish(meta)

        return Staged(super().stage(file_id))


@mutant("caps.limits_are_real")
class CountsNameBytes(FileStore):
    """The limit is in characters; this counts bytes."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        if len(filename.encode()) > 4096:
            from holdall.errors import InvalidRequest

            raise InvalidRequest("the name is too long")
        return super().create(filename, data, **options)


@mutant("caps.limits_are_real")
class CutsNames(FileStore):
    """What is too long is cut."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        return super().create(filename[:4096], data, **options)


@mutant("caps.limits_are_real")
class SmallerFiles(MemoryBackend):
    """A limit of 1 000 000 bytes is declared; one byte less fits."""

    limits = Limits(max_file_bytes=1_000_000)

    def stage(self, file_id: str) -> Any:
        class Staged(StagedWrapper):
            size = 0

            def write(self, chunk: Any) -> None:
                self.size += len(chunk)
                if self.size >= 1_000_000:
                    raise StorageError("it does not fit")
                super().write(chunk)

        return Staged(super().stage(file_id))


class _Limited(MemoryBackend):
    limits = Limits(max_file_bytes=1_000_000)


@mutant("caps.limits_are_real", base=_Limited)
class LimitLiftedByCaller(FileStore):
    """The caller's limit replaces that of the storage."""

    def _limit(self, max_bytes: int | None) -> int:
        return max_bytes or super()._limit(None)


@mutant("caps.limits_are_real")
class EndlessSettling(MemoryBackend):
    """A time that never comes."""

    limits = Limits(settle_seconds=-1.0)


class Lagging(MemoryBackend):
    """Listings show what was `lag` seconds ago; everything else is current."""

    lag = 0.0
    published: ClassVar[dict[str, float]] = {}
    removed: ClassVar[dict[tuple[int, str], float]] = {}

    def stage(self, file_id: str) -> Any:
        published = self.published

        class Staged(StagedWrapper):
            def publish(self, meta: bytes) -> None:
                super().publish(meta)
                published[file_id] = time.monotonic()

        return Staged(super().stage(file_id))

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        self.removed[id(self._space), file_id] = time.monotonic()

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        since = time.monotonic() - self.lag
        shown = {i for i in super().list_ids(after, before) if self.published[i] <= since}
        # A copy, which no other thread can come in between, as it could in building a list.
        for (space, file_id), at in self.removed.copy().items():
            within = (after is None or file_id > after) and (before is None or file_id < before)
            if space == id(self._space) and within and self.published[file_id] <= since < at:
                shown.add(file_id)
        return iter(sorted(shown))


@mutant("caps.exact_listing", "caps.limits_are_real", "caps.undeclared_operation_refused")
class SettlesLater(Lagging):
    """Listings take longer to settle than declared."""

    lag = 60.0
    limits = Limits(settle_seconds=0.01)


@mutant(
    "caps.exact_listing",
    "list.other_handle_sees_create_and_delete",
    "list.pages_cover_exactly_once",
    "list.more_than_1000",
    "list.order_is_stated_and_stable",
    "list.reverse_is_exact_reverse",
    "list.cursor_survives_delete",
    "list.insert_during_walk_no_dup_no_loss",
    "list.delete_during_walk_no_error",
    "list.no_empty_page_with_more",
    "list.limit_bounds",
    "list.filter_equals_filtering_all",
    "caps.limits_are_real",
    "caps.undeclared_operation_refused",
)
class SettlesUndeclared(Lagging):
    """Listings lag, and nothing is said of it."""

    lag = 60.0


NEW_PROCESS = HONEST | Capability.PERSISTENT | Capability.SHARED


@mutant("caps.persistent_means_new_process")
class PersistentInMemory(MemoryBackend):
    """Says that entries outlive the process whose memory they are in."""

    capabilities = NEW_PROCESS


@mutant("caps.persistent_means_new_process")
class SharedInMemory(MemoryBackend):
    """Says that other processes see what is in this one's memory."""

    capabilities = HONEST | Capability.SHARED


_metas: dict[str, bytes] = {}


@mutant("caps.persistent_means_new_process")
class MetadataInMemory(LocalBackend):
    """The true metadata is in memory; what is on the disk lacks the file name."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.capabilities &= ~Capability.PORTABLE_LAYOUT

    def stage(self, file_id: str) -> Any:
        class Staged(StagedWrapper):
            def publish(self, meta: bytes) -> None:
                super().publish(meta.replace(b'"filename": "n.txt"', b'"filename": "?"'))
                _metas[file_id] = meta

        return Staged(super().stage(file_id))

    def read_meta(self, file_id: str) -> bytes:
        return _metas.get(file_id) or super().read_meta(file_id)


@mutant("caps.persistent_means_new_process")
class IndexReadOnce(LocalBackend):
    """The list of ids is read when the store is opened, and kept up by this process alone."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        index = _indexes.setdefault(self._root, None)
        if index is None:
            _indexes[self._root] = list(super().list_ids())
        self.capabilities &= ~Capability.PORTABLE_LAYOUT

    def stage(self, file_id: str) -> Any:
        index = _indexes[self._root]

        class Staged(StagedWrapper):
            def publish(self, meta: bytes) -> None:
                super().publish(meta)
                index.append(file_id)

        return Staged(super().stage(file_id))

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        _indexes[self._root].remove(file_id)

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        ids = sorted(_indexes.get(self._root) or ())
        return iter([i for i in ids if (after is None or i > after) and (before is None or i < before)])


_indexes: dict[str, Any] = {}


@mutant("caps.exact_listing")
class ListsWhatIsHalfRemoved(MemoryBackend):
    """Removes an entry's metadata only, as if it were killed there: what is left is listed."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        gone: set[str] = getattr(self._space, "gone", set())
        found = {*super().list_ids(after, before)} | {
            i for i in gone if (after is None or i > after) and (before is None or i < before)
        }
        return iter(sorted(found))

    def remove(self, file_id: str) -> None:
        super().remove(file_id)
        self._space.gone = getattr(self._space, "gone", set()) | {file_id}  # type: ignore[attr-defined]


@mutant("caps.exact_listing")
class VersionIsTheNewest(MemoryBackend):
    """Takes a listing for current as long as its newest id is the same: what is deleted stays in it."""

    capabilities = HONEST & ~Capability.ORDERED_LISTING

    def listing_version(self) -> str | None:
        return self._space.ids[-1] if self._space.ids else None
