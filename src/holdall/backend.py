"""The interface of a backend: five verbs over opaque entries.

For authors of backends. An entry is an id, some bytes, and a metadata document that the backend never interprets.
`FileStore` validates every id before a backend sees it, and implements everything that is the same everywhere:
limits, checksums, expiry, purposes, paging. A backend is synchronous and is called from many threads at once.

Errors: for an absent entry raise holdall's `FileNotFound`; for any other failure raise a `StorageError`, or let an
`OSError` pass: the store converts it into the `StorageError` that fits its errno. An entry never changes after it was
published.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from holdall.errors import FileNotFound, NotSupported, attempted

if TYPE_CHECKING:
    from types import TracebackType
    from typing import TypeAlias

    from holdall.url import StoreURL

    Buffer: TypeAlias = bytes | bytearray | memoryview

__all__ = ["Backend", "BackendOptions", "Capability", "Debris", "Limits", "StagedFile"]


class Capability(enum.Flag):
    """What a backend promises beyond the five verbs.

    What is declared must work. If a capability has its own method, that must raise `NotSupported` when undeclared.
    """

    DURABLE = enum.auto()
    """Once `publish` has returned, the entry survives a loss of power [durability.fsync_order]."""
    ATOMIC_PUBLISH = enum.auto()
    """No reader ever sees part of an entry [concurrent.reader_never_sees_partial]."""
    EXCLUSIVE_REMOVE = enum.auto()
    """Of several concurrent removers of one entry exactly one succeeds [concurrent.delete_race_one_winner]."""
    RANGED_READS = enum.auto()
    """`open_data` with `start` and `stop` transfers only that range [caps.undeclared_operation_refused]."""
    ORDERED_LISTING = enum.auto()
    """`list_ids(after, before)` costs what it yields, not what the store holds [caps.undeclared_operation_refused]."""
    EXACT_LISTING = enum.auto()
    """`list_ids` never yields the id of a removed entry: metadata read before need not be read again to list it
    [caps.exact_listing]."""
    SHARED = enum.auto()
    """Other processes that open the same URL see the same entries [concurrent.processes_create]."""
    PERSISTENT = enum.auto()
    """Entries outlive the process [caps.persistent_means_new_process] [crash.acknowledged_create_is_there]."""
    PORTABLE_LAYOUT = enum.auto()
    """Entries are kept as `<id>/data.bin` and `<id>/meta.json` [caps.undeclared_operation_refused]."""
    SIGNED_URLS = enum.auto()
    """`signed_url` works [caps.undeclared_operation_refused]."""
    LOCAL_PATHS = enum.auto()
    """`local_path` works [caps.undeclared_operation_refused]."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a backend can store. None means no limit."""

    max_file_bytes: int | None = None
    """The largest `data.bin`, in bytes."""
    max_filename_chars: int = 4096
    """The longest file name, in characters; it is kept in the metadata, never in a path."""
    settle_seconds: float = 0.0
    """How long after a publish or remove a listing may still show the state before it."""


@dataclass(frozen=True, slots=True)
class Debris:
    """A leftover of an interrupted write or delete: bytes that belong to no entry."""

    name: str
    """The backend's own name for it; opaque."""
    kind: str
    """What it is, for human readers: "unfinished write", "removed entry", "data without metadata"."""
    file_id: str | None
    """The id it was written for, if known."""
    bytes: int
    """The space it takes."""
    modified_at: float
    """When it last changed, in Unix seconds (UTC)."""


class BackendOptions(BaseModel):
    """The typed options of a URL's query: one field per option, each with a description. Unknown options are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StagedFile(ABC):
    """A write that nobody can see until `publish` [concurrent.reader_never_sees_partial].

    As a context manager, leaving it unpublished discards it. Used by one thread at a time. If its process dies, it
    never becomes visible [crash.create_killed_anywhere_is_all_or_nothing].
    """

    @abstractmethod
    def write(self, chunk: Buffer) -> None:
        """Append all of `chunk`. The caller may reuse its memory as soon as this returns.

        Any number of chunks of any size [content.roundtrip_boundary_sizes], none of them collected in memory
        [content.streams_up_bounded_memory], the bytes as they are [content.bytes_are_opaque].
        """

    @abstractmethod
    def publish(self, meta: bytes) -> None:
        """Make the entry exist, with everything written and `meta` as its metadata: the commit point.

        All or nothing: if this raises, the entry does not exist [create.error_means_not_stored], not even when the last
        sync fails [durability.fsync_error_is_reported]. Once it returns, every handle and process sees the entry
        [list.other_handle_sees_create_and_delete], and it outlives this process [crash.acknowledged_create_is_there].
        `meta` is kept byte for byte [metadata.json_roundtrip_types].
        If an entry with this id exists already, it stays as it is and `StorageError` is raised, where the storage can
        tell; elsewhere it is replaced, all of it [create.error_means_not_stored].
        """

    @abstractmethod
    def discard(self) -> None:
        """Drop everything written and free its space [create.source_error_leaves_no_residue].

        Never publishes what was written so far [create.source_error_leaves_nothing]. Works at any time, also after an
        interrupt [create.base_exception_cleans_up]. After `publish`, or on a second call, does nothing.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class Backend(ABC):
    """A storage for entries. Subclass it, register the class as an entry point of `holdall.backends`."""

    capabilities: Capability = Capability(0)
    """What this instance promises; may depend on its options."""
    limits: Limits = Limits()
    """What the backend accepts; the store rejects anything else before calling it [caps.limits_are_real]."""
    quick: bool = False
    """Whether small reads take microseconds, as from memory: an event loop then performs them without a thread, for
    entries whose metadata is cached."""
    any_driver: ClassVar[bool] = False
    """Whether the class, registered as `scheme`, also handles every `scheme+driver` that no other class registers."""

    class Options(BackendOptions):
        """This backend has no options."""

    @classmethod
    def options_for(cls, url: StoreURL) -> type[BackendOptions]:
        """The options of this URL: `Options`, unless they depend on the driver in its scheme.

        Raises `PluginLoadError` if what the driver needs is not installed.
        """
        return cls.Options

    @classmethod
    @abstractmethod
    def from_url(cls, url: StoreURL, options: Any) -> Self:
        """The backend for a parsed URL; `options` is an instance of the class's `Options`, made from its query.

        Creates the location if it does not exist. Two backends with the same URL reach the same entries
        [url.roundtrip]. The path is already decoded [url.percent_and_unicode_paths].
        Raises `InvalidStoreURL` if the URL cannot name a location here.
        """

    @abstractmethod
    def stage(self, file_id: str) -> StagedFile:
        """Begin an invisible write. Any number may be in progress at once [concurrent.creates_all_survive]."""

    @abstractmethod
    def read_meta(self, file_id: str) -> bytes:
        """The metadata, as published [metadata.survives_reopen].

        Raises `FileNotFound` if the entry is absent [errors.missing_is_FileNotFound_everywhere], and only then: missing
        permission is `AccessDenied` [errors.permission_is_not_missing], and a temporary failure is another error
        [errors.failure_is_not_missing]. Damaged metadata is returned as it is [errors.corrupt_is_not_missing].
        """

    @abstractmethod
    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        """The bytes from `start` up to but not including `stop` (None: to the end), as a stream to be closed.

        `0 <= start <= stop` has been checked; past the end the stream simply ends [content.ranges]. The stream reads
        on demand [content.streams_down_bounded_memory], has a position of its own [content.independent_readers], and
        releases what it holds when it is closed or dropped [content.early_close_releases].
        Raises `FileNotFound` if there are no bytes for this id; the store then reads the metadata to tell a deleted
        entry from lost data. A stream that is open when the entry is removed either delivers the right bytes or raises
        `FileNotFound` [delete.open_reader_defined].
        """

    @abstractmethod
    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        """The ids of all entries with `after < id < before`, ascending as text, lazily [list.pages_cover_exactly_once].

        Yields all of them, however many [list.more_than_1000], or raises [errors.failure_is_not_missing]; never yields
        anything that is not an id [ids.foreign_entries_ignored].
        The bounds need not be ids, nor exist [list.cursor_survives_delete].
        It may yield the id of an entry that was just removed or is incomplete (the store reads the metadata to find
        out), but never omits an entry that existed the whole time.
        """

    @abstractmethod
    def remove(self, file_id: str) -> None:
        """Remove the entry. `FileNotFound` if it is absent [delete.twice_is_FileNotFound].

        Once this returns, nobody sees it [delete.then_everything_is_missing], and no other entry is touched
        [delete.only_that_one]. If the process dies, the entry is there whole or not at all
        [crash.delete_killed_anywhere_is_all_or_nothing]. Missing bytes are no error
        [delete.missing_directory_pieces_tolerated]. The space is given back by `close` at the latest
        [delete.frees_space].
        """

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """Id and metadata of many entries, in the order of `file_ids`; absent ones are skipped."""
        for file_id in file_ids:
            try:
                yield file_id, self.read_meta(file_id)
            except FileNotFound:
                continue

    def listing_version(self) -> Hashable | None:
        """A value that stays equal as long as `list_ids` would yield the same ids, and is much cheaper; None: unknown.

        If taken before a listing, it may describe an older state than the listing, but never a newer one.
        """
        return None

    def debris(self) -> Iterator[Debris]:
        """Leftovers of interrupted writes and deletes, without writes that are known to be in progress.

        Never yields anything that is not the store's own [ids.foreign_entries_ignored].
        """
        return iter(())

    def discard_debris(self, debris: Debris) -> None:
        """Remove a leftover that `debris` yielded. If it is already gone, does nothing."""
        raise NotSupported(f"{type(self).__name__} leaves no debris", operation="sweep")

    def signed_url(self, file_id: str, expires_in: int) -> str:
        """A URL from which anybody can read the bytes for `expires_in` seconds."""
        raise _not_supported(self, "signed_url", file_id, "signed URLs")

    def local_path(self, file_id: str) -> str:
        """The path of a local file holding the bytes. It must not be written to."""
        raise _not_supported(self, "local_path", file_id, "local paths")

    def close(self) -> None:
        """Finish pending work and release all resources. A second call does nothing."""


def _not_supported(backend: Backend, operation: str, file_id: str, what: str) -> NotSupported:
    why = f"cannot {attempted(operation, file_id)}: {type(backend).__name__} has no {what}; read it through the store"
    return NotSupported(why, operation=operation, file_id=file_id)
