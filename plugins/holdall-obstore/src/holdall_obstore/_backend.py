"""The backend's five operations on an obstore store, shared by all kinds of stores.

An entry is `<prefix>/<id>/data.bin` and `<prefix>/<id>/meta.json`. The PUT of `meta.json` is the commit, and its
removal is the deletion: an interruption in between leaves at worst a `data.bin` that is invisible and that `sweep`
removes.
"""

from __future__ import annotations

import collections
import io
import itertools
import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from obstore.exceptions import GenericError

from holdall import FileNotFound, StorageError
from holdall.backend import Backend, Capability, Debris, StagedFile
from holdall.ids import is_valid
from holdall_obstore._errors import Asking, is_past_the_end
from holdall_obstore._listing import in_order, start_after
from holdall_obstore._staged import StagedObject, is_alive
from holdall_obstore._stream import ObjectStream

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ObjectStore

__all__ = ["MIB", "ObstoreBackend"]

MIB = 1024 * 1024

_DATA, _META = "data.bin", "meta.json"
_STREAM_BYTES = MIB
_KEYS_A_LIST = 1000

_log = logging.getLogger("holdall")


class ObstoreBackend(Backend):
    """Entries in `store` below `prefix`. Subclasses implement the differences between kinds of stores."""

    conditional = True
    """Whether the server supports storing an object only if it is absent; False once it has reported otherwise."""

    def __init__(
        self,
        store: ObjectStore,
        prefix: str,
        where: str,
        *,
        part_size: int = 8 * MIB,
        max_concurrency: int = 1,
        readers: int = 1,
    ) -> None:
        """`where` names the location in messages, without secrets.

        `max_concurrency` is how many parts of an upload are sent concurrently, `readers` how many threads read the
        metadata of a listing.
        """
        self.store = store
        self.where = where
        self.part_size = part_size
        self.max_concurrency = max_concurrency
        self._readers = readers
        self._prefix = prefix
        self._pool: ThreadPoolExecutor | None = None
        self._pool_lock = threading.Lock()

    def data_key(self, file_id: str) -> str:
        """The key of an entry's data."""
        return f"{self._prefix}{file_id}/{_DATA}"

    def meta_key(self, file_id: str) -> str:
        """The key of an entry's metadata."""
        return f"{self._prefix}{file_id}/{_META}"

    def asking(self, operation: str, file_id: str | None = None) -> Asking:
        """The context manager for requests."""
        return Asking(self.where, operation, file_id)

    def stage(self, file_id: str) -> StagedFile:
        return StagedObject(self, file_id)

    def read_meta(self, file_id: str) -> bytes:
        # GET and not HEAD, even where only existence matters: the response to a HEAD has no body, so an absent bucket
        # could not be distinguished from an absent object.
        with self.asking("read", file_id):
            return bytes(self.store.get(self.meta_key(file_id)).bytes())

    def find_meta(self, file_id: str) -> bytes | None:
        """The metadata; None if it does not exist."""
        try:
            return self.read_meta(file_id)
        except FileNotFound:
            return None

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        ids = iter(file_ids)
        first = list(itertools.islice(ids, 2))
        if self._readers == 1 or len(first) < 2:
            yield from super().read_metas(itertools.chain(first, ids))
            return
        pool = self._threads()
        asked: collections.deque[tuple[str, Future[bytes | None]]] = collections.deque()
        try:
            for file_id in itertools.chain(first, ids):
                try:
                    asked.append((file_id, pool.submit(self.find_meta, file_id)))
                except RuntimeError:
                    # The interpreter is exiting, or no more threads can be started: yield the earlier results, then
                    # read this one here.
                    while asked:
                        yield from _answer(*asked.popleft())
                    yield from super().read_metas([file_id])
                # Twice as many as there are threads, so that threads need not wait for the consumer.
                if len(asked) >= 2 * self._readers:
                    yield from _answer(*asked.popleft())
            while asked:
                yield from _answer(*asked.popleft())
        finally:
            for _, future in asked:
                future.cancel()

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        key = self.data_key(file_id)
        asking = self.asking("read", file_id)
        with asking:
            if start == stop:
                self.store.head(key)
                return io.BytesIO()
            options: Any = {}
            if start or stop is not None:
                options = {"range": {"offset": start} if stop is None else (start, stop)}
            try:
                result = self.store.get(key, options=options)
            except GenericError as error:
                if is_past_the_end(error) and self.store.head(key)["size"] <= start:
                    return io.BytesIO()
                raise
            first, end = result.range
            # A small object is read in one call instead of repeated ones.
            if end - first <= _STREAM_BYTES:
                return io.BytesIO(result.bytes())
            return cast("BinaryIO", ObjectStream(result.stream(_STREAM_BYTES), asking))

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        if Capability.ORDERED_LISTING not in self.capabilities:
            names = {name for name, rest, _ in self._objects() if rest == _META and is_valid(name)}
            yield from sorted(n for n in names if (after is None or n > after) and (before is None or n < before))
            return
        offset = start_after(after)
        if offset is not None and (before is None or before > offset):
            # Names that are not ids are kept, to find out where the entries end.
            names_in_order = (n for n, rest, _ in self._objects(offset) if rest == _META or not is_valid(n))
            yield from in_order(names_in_order, after, before)

    def remove(self, file_id: str) -> None:
        self._remove_meta(file_id)
        try:
            self.remove_data(file_id)
        except StorageError as error:
            # The file is deleted, so reporting a failure would be wrong.
            _log.warning("could not give back the space of deleted %s; sweep will: %s", file_id, error)

    def discarded(self, file_id: str) -> None:
        """Called when a write of `file_id` was discarded, to remove what is not an object."""

    def remove_data(self, file_id: str) -> None:
        """Remove the data. Does nothing if there is none."""
        try:
            with self.asking("delete", file_id):
                self.store.delete(self.data_key(file_id))
        except FileNotFound:
            pass

    def debris(self) -> Iterator[Debris]:
        objects = self._objects(start_after(None))
        if Capability.ORDERED_LISTING not in self.capabilities:
            objects = iter(sorted(objects, key=lambda o: (o[0], o[1])))
        # The objects of an entry are adjacent in any order, because their keys share a prefix up to a slash.
        for file_id, group in itertools.groupby(objects, lambda o: o[0]):
            found = {rest: meta for _, rest, meta in group}
            if _DATA in found and _META not in found and is_valid(file_id) and not is_alive(file_id):
                data = found[_DATA]
                name, modified_at = f"{file_id}/{_DATA}", data["last_modified"].timestamp()
                yield Debris(name, "data without metadata", file_id, data["size"], modified_at)

    def discard_debris(self, debris: Debris) -> None:
        assert debris.file_id is not None
        # It may have been published since it was found.
        if self.find_meta(debris.file_id) is None:
            self.remove_data(debris.file_id)

    def close(self) -> None:
        with self._pool_lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    def _remove_meta(self, file_id: str) -> None:
        """Remove the metadata. Raises `FileNotFound` if there is none, as far as that can be determined."""
        # On these servers, a DELETE of an absent object succeeds.
        self.read_meta(file_id)
        self.delete_meta(file_id)

    def delete_meta(self, file_id: str) -> None:
        """Send the DELETE of the metadata."""
        with self.asking("delete", file_id):
            self.store.delete(self.meta_key(file_id))

    def _objects(self, offset: str | None = None) -> Iterator[tuple[str, str, ObjectMeta]]:
        """The objects below the prefix as first segment, rest of the key, and description, in the server's order."""
        ordered = Capability.ORDERED_LISTING in self.capabilities
        start = f"{self._prefix}{offset}" if ordered and offset else None
        asking = self.asking("list")
        with asking:
            stream = self.store.list(self._prefix.rstrip("/") or None, offset=start, chunk_size=_KEYS_A_LIST)
        while True:
            with asking:
                objects = next(stream, None)
            if objects is None:
                return
            for found in objects:
                name, _, rest = found["path"].removeprefix(self._prefix).partition("/")
                yield name, rest, found

    def _threads(self) -> ThreadPoolExecutor:
        with self._pool_lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._readers, thread_name_prefix="holdall-obstore")
            return self._pool


def _answer(file_id: str, future: Future[bytes | None]) -> Iterator[tuple[str, bytes]]:
    meta = future.result()
    if meta is not None:
        yield file_id, meta
