"""A backend of your own, in one file and without packaging: entries in any mapping of bytes to bytes.

A class and FileStore are enough for a test, a cache, or a storage that one program alone uses. Here the mapping is a
`dbm` file; a dict does as well. It prints:

    stored notes.txt
    found again: b'kept in a mapping'
    in the mapping: data.bin, meta.json
    after deleting it: there is no file file-00000000000000000000000000000000
"""
# ruff: noqa: D102 - the methods are documented on Backend and StagedFile

from __future__ import annotations

import dbm.dumb
import io
import os
import tempfile
import threading
from collections.abc import Iterator, MutableMapping
from typing import Any, BinaryIO, Self

from holdall import Backend, Capability, FileNotFound, FileStore, InvalidStoreURL, StagedFile, StorageError, StoreURL


class MappingBackend(Backend):
    """Two keys an entry, `<id>/data.bin` and `<id>/meta.json`; the second is what makes it exist.

    It promises no more than a lock can: nothing about other processes, since dbm files and dicts know none, and nothing
    about this one's end, since both may hold what is not yet on the disk. Files are held in memory as a whole.
    """

    capabilities = Capability.ATOMIC_PUBLISH | Capability.EXCLUSIVE_REMOVE

    def __init__(self, mapping: MutableMapping[Any, bytes]) -> None:
        self.mapping = mapping
        self.lock = threading.Lock()

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Self:
        raise InvalidStoreURL(f"{url}: a mapping has no URL; use FileStore(MappingBackend(mapping))")

    def stage(self, file_id: str) -> StagedFile:
        return MappingStagedFile(self, file_id)

    def read_meta(self, file_id: str) -> bytes:
        return self._value(meta_key(file_id), file_id)

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> BinaryIO:
        # Without RANGED_READS the store asks for all of it, and cuts.
        return io.BytesIO(self._value(data_key(file_id), file_id))

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        with self.lock:
            keys = [bytes(key) for key in self.mapping]
        ids = sorted(key.decode().removesuffix("/meta.json") for key in keys if key.endswith(b"/meta.json"))
        return (i for i in ids if (after is None or i > after) and (before is None or i < before))

    def remove(self, file_id: str) -> None:
        with self.lock:
            if meta_key(file_id) not in self.mapping:
                raise FileNotFound(f"there is no file {file_id}")
            del self.mapping[meta_key(file_id)]
            self.mapping.pop(data_key(file_id), None)

    def _value(self, key: bytes, file_id: str) -> bytes:
        with self.lock:
            try:
                return self.mapping[key]
            except KeyError:
                raise FileNotFound(f"there is no file {file_id}") from None


class MappingStagedFile(StagedFile):
    """Collects the bytes; the assignment of the metadata is the commit."""

    def __init__(self, backend: MappingBackend, file_id: str) -> None:
        self.backend = backend
        self.file_id = file_id
        self.data = bytearray()

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self.data += chunk

    def publish(self, meta: bytes) -> None:
        mapping = self.backend.mapping
        with self.backend.lock:
            if meta_key(self.file_id) in mapping:
                raise StorageError(f"cannot create {self.file_id}: an entry with this id exists already")
            mapping[data_key(self.file_id)] = bytes(self.data)
            mapping[meta_key(self.file_id)] = bytes(meta)

    def discard(self) -> None:
        self.data = bytearray()


def data_key(file_id: str) -> bytes:
    return f"{file_id}/data.bin".encode()


def meta_key(file_id: str) -> bytes:
    return f"{file_id}/meta.json".encode()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "files")
        with dbm.dumb.open(path) as mapping, FileStore(MappingBackend(mapping)) as store:
            file = store.create("notes.txt", b"kept in a mapping", purpose="user_data")
            print("stored", file.filename)

        with dbm.dumb.open(path) as mapping, FileStore(MappingBackend(mapping)) as store:
            print("found again:", store.get_content(file.id))
            print("in the mapping:", ", ".join(sorted(key.decode().partition("/")[2] for key in mapping)))
            store.delete(file.id)
            try:
                store.get(file.id)
            except FileNotFound as error:
                print("after deleting it:", error)


if __name__ == "__main__":
    main()
