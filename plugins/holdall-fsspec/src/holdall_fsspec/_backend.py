"""The backend's five operations, on a filesystem of fsspec."""

from __future__ import annotations

import bisect
import contextlib
import itertools
import logging
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Self, cast

from fsspec.spec import AbstractFileSystem

from holdall import ids
from holdall.backend import Backend, BackendOptions, Capability, Debris, StagedFile
from holdall.errors import FileNotFound, InvalidStoreURL
from holdall.url import StoreURL
from holdall_fsspec import _debris
from holdall_fsspec._errors import Border, absent, is_absent
from holdall_fsspec._location import location
from holdall_fsspec._options import FsspecOptions, options_for
from holdall_fsspec._place import ABSENT, DATA, META, Place, base_name
from holdall_fsspec._pool import Pool
from holdall_fsspec._protocol import capabilities_of, missing_package, protocol_of
from holdall_fsspec._staging import FsspecStagedFile
from holdall_fsspec._stream import RangeStream

__all__ = ["FsspecAlias", "FsspecBackend"]

_log = logging.getLogger("holdall_fsspec")

_READERS = 16
_UNKNOWN_SIZE = 1 << 62


class FsspecBackend(Backend):
    """Entries below one path of a filesystem; the protocol is the driver in the scheme: `fsspec+memory://name`."""

    any_driver = True

    class Options(FsspecOptions):
        """The options of every protocol. A URL also has those of its own protocol: `options_for`."""

    def __init__(self, place: Place, capabilities: Capability, *, readers: int) -> None:
        self._place = place
        self._readers = readers
        self.capabilities = capabilities

    @classmethod
    def options_for(cls, url: StoreURL) -> type[BackendOptions]:
        """The options of `FsspecOptions`, and the arguments of the protocol's filesystem class."""
        return options_for(protocol_of(url), url)

    @classmethod
    def from_url(cls, url: StoreURL, options: FsspecOptions) -> Self:
        """See `Backend`. The filesystem instance belongs to this backend only, and caches no listings."""
        protocol = protocol_of(url)
        if options.commit == "move" != protocol.commit:
            raise InvalidStoreURL(f"option 'commit': {url.scheme}:// has no move of its own; leave it out")
        given, root = location(protocol, url, options)
        border = Border(url)

        def make() -> AbstractFileSystem:
            try:
                return protocol.cls(skip_instance_cache=True, **given)
            except ImportError as error:
                raise missing_package(protocol.name, url.scheme, error) from error

        place = Place(
            Pool(make, shared=protocol.shared),
            border,
            root,
            buckets=protocol.buckets,
            directories=protocol.commit == "move",
            moves=protocol.commit == "move" and options.commit != "put",
            part_size=int(options.part_size),
        )
        with border("open"), place.pool.use() as fs:
            place.make_root(fs)
        return cls(place, capabilities_of(protocol, given), readers=_READERS if protocol.remote else 1)

    def stage(self, file_id: str) -> StagedFile:
        """See `Backend`."""
        return FsspecStagedFile(self._place, file_id)

    def read_meta(self, file_id: str) -> bytes:
        """See `Backend`."""
        place = self._place
        with place.border("read", file_id), place.pool.use() as fs:
            if place.is_linked(fs, file_id, META):
                raise absent(file_id)
            try:
                return bytes(fs.cat_file(place.path(file_id, META)))
            except Exception as error:
                if not is_absent(error):
                    raise
                raise self._absent(fs, file_id) from None

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        """See `Backend`. Requests the size first, so that no range extends beyond the end."""
        place = self._place
        with place.border("read", file_id), place.pool.use() as fs:
            info = place.info(fs, place.path(file_id, DATA))
            if info is None or info.get("type") == "directory" or place.is_linked(fs, file_id, DATA):
                raise self._absent(fs, file_id)
        size = _UNKNOWN_SIZE if info.get("size") is None else info["size"]
        stop = size if stop is None else min(stop, size)
        return cast("BinaryIO", RangeStream(lambda at, to: self._range(file_id, at, to), start, stop))

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        """See `Backend`. fsspec cannot start a listing in the middle: every call lists everything."""
        place = self._place
        with place.border("list"), place.pool.use() as fs:
            try:
                names = fs.ls(place.root or fs.root_marker, detail=False)
            except FileNotFoundError:
                if place.root_is_absent(fs):
                    raise
                names = []
        found = sorted({name for name in map(base_name, names) if ids.is_valid(name)})
        first = 0 if after is None else bisect.bisect_right(found, after)
        last = len(found) if before is None else bisect.bisect_left(found, before)
        return iter(found[first:last])

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        """See `Backend`. Over a network, sixteen concurrently."""
        if self._readers == 1:
            yield from super().read_metas(file_ids)
            return
        waiting = iter(file_ids)
        with ThreadPoolExecutor(self._readers, "holdall-fsspec") as readers:
            while batch := list(itertools.islice(waiting, 4 * self._readers)):
                try:
                    found: Iterator[bytes | None] = readers.map(self._meta_or_none, batch)
                except RuntimeError:
                    # The interpreter is exiting, or no more threads can be started.
                    found = map(self._meta_or_none, batch)
                for file_id, meta in zip(batch, found, strict=True):
                    if meta is not None:
                        yield file_id, meta

    def remove(self, file_id: str) -> None:
        """See `Backend`. The metadata is removed first: from then on, the entry does not exist."""
        place = self._place
        meta = place.path(file_id, META)
        with place.border("delete", file_id), place.pool.use() as fs:
            if place.is_linked(fs, file_id, META):
                raise absent(file_id)
            try:
                # If deleting does not report whether the file existed, that has to be checked before.
                if Capability.EXCLUSIVE_REMOVE not in self.capabilities and place.info(fs, meta) is None:
                    raise FileNotFoundError(meta)
                fs.rm_file(meta)
            except ABSENT:
                raise self._absent(fs, file_id) from None
            try:
                with contextlib.suppress(FileNotFoundError):
                    fs.rm_file(place.path(file_id, DATA))
                if place.directories:
                    fs.rmdir(place.path(file_id))
            except Exception:  # noqa: BLE001 - the entry is deleted in any case
                _log.info("what is left of %s, which was deleted, is for sweep", file_id, exc_info=True)

    def debris(self) -> Iterator[Debris]:
        """See `Backend`. Does not find parts of interrupted uploads to object stores; a lifecycle rule removes them."""
        place = self._place
        with place.border("sweep"), place.pool.use() as fs:
            yield from _debris.find(place, fs)

    def discard_debris(self, debris: Debris) -> None:
        """See `Backend`."""
        place = self._place
        with place.border("sweep", debris.file_id), place.pool.use() as fs:
            _debris.discard(place, fs, debris)

    def close(self) -> None:
        """See `Backend`."""
        self._place.pool.close()

    def _range(self, file_id: str, start: int, stop: int) -> bytes:
        place = self._place
        with place.border("read", file_id), place.pool.use() as fs:
            try:
                return bytes(fs.cat_file(place.path(file_id, DATA), start=start, end=stop))
            except Exception as error:
                if not is_absent(error):
                    raise
                raise self._absent(fs, file_id) from None

    def _meta_or_none(self, file_id: str) -> bytes | None:
        try:
            return self.read_meta(file_id)
        except FileNotFound:
            return None

    def _absent(self, fs: AbstractFileSystem, file_id: str) -> Exception:
        """The error for an entry that was not found. If the location itself is missing, its state is unknown."""
        if self._place.root_is_absent(fs):
            return self._place.border.gone("read", file_id)
        return absent(file_id)


class FsspecAlias(FsspecBackend):
    """The same for schemes that are themselves the protocol: `gs://bucket/prefix`. Does not accept other drivers."""

    any_driver = False
