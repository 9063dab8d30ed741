"""Deleting: exactly that file, completely, for every handle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from holdall.conformance._entries import plant, quietly, same_ids
from holdall.conformance._kit import Kit, NotChecked, broken, expect, expect_error, raw_or_not_checked, show
from holdall.conformance._registry import check
from holdall.errors import FileNotFound, HoldallError
from holdall.model import FileObject, encode_meta
from holdall.store import FileStore

MIB = 1024 * 1024
# What a file system or a database may use for a file in addition to its data.
SLACK_BYTES = 64 * 1024


def _ways(store: FileStore, file_id: str) -> dict[str, Callable[[], Any]]:
    """Every way to access a file by its id."""

    def read() -> bytes:
        with store.open(file_id) as stream:
            return stream.read()

    return {
        "get": lambda: store.get(file_id),
        "get_content": lambda: store.get_content(file_id),
        "get_content(0, 0)": lambda: store.get_content(file_id, 0, 0),
        "open": read,
        "delete": lambda: store.delete(file_id),
        "backend.read_meta": lambda: store.backend.read_meta(file_id),
        "backend.remove": lambda: store.backend.remove(file_id),
    }


def _raw_read(store: FileStore, file_id: str) -> Callable[[], bytes]:
    def read() -> bytes:
        with store.backend.open_data(file_id) as stream:
            return stream.read()

    return read


@check("delete.then_everything_is_missing")
def then_everything_is_missing(kit: Kit) -> None:
    """Three handles: the one that deletes, one that has read the file before, and one opened after."""
    warm = kit.open()
    kept = kit.put(b"kept")
    for size in (0, 5, 200_000):
        for who, deleter in (("the handle that created it", kit.store), ("another handle", kit.open())):
            file = kit.put(kit.noise(size))
            for store in (kit.store, warm):
                store.get(file.id)
                store.get_content(file.id)
            kit.settle()
            same_ids([f.id for f in warm.list()], [kept.id, file.id], "list() before the delete")
            deleter.delete(file.id)
            what = f"a file of {size} bytes that was deleted through {who}"
            for name, store in (
                ("that handle", deleter),
                ("a handle that had read it", warm),
                ("a new handle", kit.open()),
            ):
                for way, call in {**_ways(store, file.id), "backend.open_data": _raw_read(store, file.id)}.items():
                    expect_error(FileNotFound, f"{way} of {what}, through {name}", call)
            kit.settle()
            for store in (deleter, warm, kit.open()):
                same_ids([f.id for f in store.list()], [kept.id], f"list() after deleting {what}")
                same_ids([f.id for f in store], [kept.id], f"iterating the store after deleting {what}")
    expect(kit.open().get_content(kept.id), b"kept", "get_content of the file that was not deleted")


@check("delete.twice_is_FileNotFound")
def twice_is_file_not_found(kit: Kit) -> None:
    """Again through the same handle, another, and the backend itself."""
    other = kit.open()
    for size in (0, 100_000):
        file = kit.put(kit.noise(size))
        other.get(file.id)
        kit.store.delete(file.id)
        for name, store in (("the same handle", kit.store), ("another handle", other), ("a new handle", kit.open())):
            for _ in range(2):
                expect_error(FileNotFound, f"delete again through {name}", lambda: store.delete(file.id))
            expect_error(FileNotFound, f"backend.remove again through {name}", lambda: store.backend.remove(file.id))


@check("delete.only_that_one")
def only_that_one(kit: Kit) -> None:
    """Files with the same data and name, and with ids that share a prefix or contain wildcards; two are restored."""
    data = kit.noise(1000)
    files = [kit.put(data, "same.txt", metadata={"n": n}) for n in range(6)]
    kept = {f.id: (f, data) for f in files}
    for file_id in ("file-a", "file-a_c", "file-abc", "file-abcd", "file-a-c", "file-a_c_", "file-_", "file-a_"):
        kept[file_id] = (plant(kit.store, file_id, file_id.encode()), file_id.encode())
    # Almost as long as an id may be, differing in the last letter; there is room for a prefix.
    long = [f"file-{'a' * 89}{end}" for end in "bc"]
    for file_id in long:
        kept[file_id] = (plant(kit.store, file_id, file_id.encode()), file_id.encode())
    last = kit.put(data, "same.txt")
    kept[last.id] = (last, data)
    gone: dict[str, tuple[FileObject, bytes]] = {}
    for doomed in (files[0].id, files[3].id, last.id, "file-a_c", "file-a", "file-_", "file-abc", long[0]):
        kit.store.delete(doomed)
        gone[doomed] = kept.pop(doomed)
        kit.settle()
        other = kit.open()
        same_ids(sorted(f.id for f in other.list()), sorted(kept), f"list() after delete({doomed!r})")
        for file_id, (file, content) in kept.items():
            expect(other.get(file_id), file, f"get({file_id!r}) after delete({doomed!r})")
            expect(other.get_content(file_id), content, f"get_content({file_id!r}) after delete({doomed!r})")
    # Restored from a backup: the id must be free again, neither taken nor hidden.
    for file_id in (files[0].id, "file-a_c"):
        file, content = gone[file_id]
        did = f"delete({file_id!r}), publish it again as it was"
        try:
            plant(kit.store, file_id, content, meta=encode_meta(file))
        except HoldallError as error:
            raise broken(did, "no error", show(error)) from error
        kit.settle()
        for store in (kit.store, kit.open()):
            expect(store.get(file_id), file, f"{did}, get")
            expect(store.get_content(file_id), content, f"{did}, get_content")
            expect(file_id in [f.id for f in store.list()], True, f"{did}, list(): whether it is listed")


@check("delete.open_reader_defined")
def open_reader_defined(kit: Kit) -> None:
    """Readers at the start, in the middle, and one that seeks; the file is deleted, and another of its size created."""
    size = 2 * MIB
    for start, back in ((0, False), (100_000, False), (300_000, True)):
        data = kit.noise(size)
        file = kit.put(data)
        stream = kit.open().open(file.id)
        try:
            saw = stream.read(start)
            expect(saw, data[:start], f"reading {start} bytes before the delete")
            kit.open().delete(file.id)
            # Freed space may be reused by this file at once.
            kit.put(kit.noise(size))
            _read_on(stream, data, 0 if back else start)
        finally:
            _close(stream)


def _read_on(stream: Any, data: bytes, at: int) -> None:
    did = f"open a file of {len(data)} bytes, delete it, create another of that size, read on at {at}"
    try:
        stream.seek(at)
        while chunk := stream.read(100_000):
            expect(chunk, data[at : at + len(chunk)], did)
            at += len(chunk)
    except FileNotFound:
        return
    except Exception as error:
        raise broken(did, "the right bytes, or FileNotFound", show(error)) from error
    expect(at, len(data), f"{did}: where it ended")


def _close(stream: Any) -> None:
    try:
        stream.close()
    except FileNotFound:
        return
    except Exception as error:
        raise broken("close a reader whose file was deleted", "no error", show(error)) from error


@check("delete.frees_space")
def frees_space(kit: Kit) -> None:
    """3 MiB in five files, deleted through two handles; after both are closed, the used space is measured."""
    with raw_or_not_checked():
        before = kit.raw.used_bytes()
        stores = (kit.open(), kit.open())
        sizes = (MIB, MIB, MIB // 2, MIB // 2, 0)
        files = [kit.put(kit.noise(size), store=stores[n % 2]) for n, size in enumerate(sizes)]
        full = kit.raw.used_bytes()
        if full - before < sum(sizes):
            raise NotChecked(f"raw access sees {full - before} bytes of {sum(sizes)} that were stored")
        for n, file in enumerate(files):
            stores[n // 2 % 2].delete(file.id)
        for store in (*stores, kit.store):
            store.close()
        grown = kit.raw.used_bytes() - before
    if grown > SLACK_BYTES:
        did = f"create {sum(sizes)} bytes in {len(sizes)} files, delete them, close"
        raise broken(did, f"at most {SLACK_BYTES} bytes more than before", f"{grown} more")
    left = kit.leftovers()
    if left:
        raise broken("create files, delete them, close", "nothing left behind in the storage", left)


@check("delete.missing_directory_pieces_tolerated")
@quietly()
def missing_directory_pieces_tolerated(kit: Kit) -> None:
    """The data is missing; the data is missing and the metadata damaged; the metadata is missing."""
    kept = kit.put(b"kept")
    for what, damage in (
        ("whose bytes are gone", lambda file: kit.raw.drop_data(file.id)),
        ("whose bytes are gone and whose metadata is damaged", _drop_and_corrupt(kit)),
    ):
        file = kit.put(kit.noise(1000))
        with raw_or_not_checked():
            damage(file)
        store = kit.open()
        store.delete(file.id)
        for way, call in _ways(kit.open(), file.id).items():
            expect_error(FileNotFound, f"{way} of a file {what}, after deleting it", call)
    file = kit.put(kit.noise(1000))
    with raw_or_not_checked():
        kit.raw.drop_meta(file.id)
    for way, call in _ways(kit.open(), file.id).items():
        expect_error(FileNotFound, f"{way} of a file whose metadata is gone", call)
    same_ids(kit.listed(), [kept.id], "list() after deleting files that were half gone")
    expect(kit.open().get_content(kept.id), b"kept", "get_content of a file that was whole")


def _drop_and_corrupt(kit: Kit) -> Callable[[FileObject], None]:
    def damage(file: FileObject) -> None:
        kit.raw.drop_data(file.id)
        kit.raw.corrupt(file.id)

    return damage
