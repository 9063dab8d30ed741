"""Declared capabilities work, others are refused, and limits are as declared."""

from __future__ import annotations

import itertools
import math
import os
import shutil
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from holdall.backend import Capability
from holdall.conformance._entries import minted_ago, plant, same_ids
from holdall.conformance._kit import (
    LARGEST_TRIED_BYTES,
    Kit,
    NotDeclared,
    broken,
    expect,
    expect_error,
    raw_or_not_checked,
    show,
)
from holdall.conformance._process import Nursery
from holdall.conformance._registry import check
from holdall.conformance._sources import Endless, OnlyRead, Pattern
from holdall.conformance._target import directory_of
from holdall.errors import FileNotFound, FileTooLarge, InvalidRequest, NotSupported
from holdall.ids import lower_bound
from holdall.model import decode_meta

MIB = 1024 * 1024
LARGEST_TRIED_WHEN_LARGE_BYTES = 1024 * MIB
LONGEST_TRIED_CHARS = 1_000_000


@check("caps.undeclared_operation_refused")
def undeclared_operation_refused(kit: Kit) -> None:
    """Each capability with methods of its own: they work if it is declared, and raise NotSupported otherwise."""
    saw = kit.capabilities
    if not isinstance(saw, Capability):
        raise broken("look at backend.capabilities", "a holdall.Capability", show(saw))
    for capability, works in (
        (Capability.SIGNED_URLS, _signed_urls),
        (Capability.LOCAL_PATHS, _local_paths),
        (Capability.RANGED_READS, _ranged_reads),
        (Capability.ORDERED_LISTING, _ordered_listing),
    ):
        if capability in saw:
            works(kit)
    backend = kit.store.backend
    file_id = kit.put(b"some bytes").id
    refused: dict[Capability, tuple[str, Callable[[], Any]]] = {
        Capability.SIGNED_URLS: ("backend.signed_url(id, 60)", lambda: backend.signed_url(file_id, 60)),
        Capability.LOCAL_PATHS: ("backend.local_path(id)", lambda: backend.local_path(file_id)),
    }
    for capability, (did, call) in refused.items():
        if capability not in saw:
            expect_error(NotSupported, f"{did}, though {capability.name} is not declared", call)
    # Last, because without raw access the check ends here as not checked.
    if Capability.PORTABLE_LAYOUT in saw:
        _portable_layout(kit)


def _signed_urls(kit: Kit) -> None:
    data = kit.noise(100_000)
    file_id = kit.put(data).id
    url = kit.store.backend.signed_url(file_id, 300)
    did = "backend.signed_url(id, 300)"
    if not isinstance(url, str) or urlsplit(url).scheme not in {"http", "https"}:
        raise broken(did, "an http:// or https:// URL", show(url))
    try:
        with urllib.request.urlopen(url, timeout=30) as response:
            expect(response.read(), data, f"{did}, then read the URL without credentials")
    except OSError as error:
        raise broken(f"{did}, then read the URL without credentials", "the bytes", show(error)) from error
    # A URL contains its lifetime, or is signed with it; if both are created within the same second, the rest is equal.
    for _ in range(3):
        if kit.store.backend.signed_url(file_id, 60) == kit.store.backend.signed_url(file_id, 3600):
            raise broken("backend.signed_url(id, 60) and signed_url(id, 3600)", "two URLs", "the same one twice")


def _local_paths(kit: Kit) -> None:
    for size in (0, 100_000):
        data = kit.noise(size)
        path = kit.store.backend.local_path(kit.put(data).id)
        did = f"backend.local_path of a file of {size} bytes"
        if not isinstance(path, str) or not os.path.isabs(path) or not os.path.isfile(path):
            raise broken(did, "the absolute path of a file", show(path))
        with open(path, "rb") as file:
            expect(file.read(), data, f"{did}, then read that file")
    expect_error(
        FileNotFound, "backend.local_path of an absent file", lambda: kit.store.backend.local_path("file-absent")
    )


def _ranged_reads(kit: Kit) -> None:
    size = 300_000
    data = kit.noise(size)
    file_id = kit.put(data).id
    backend = kit.open().backend
    edges = (0, 1, 4096, 65_535, 65_536, 65_537, 262_144, size - 1, size)
    for start, stop in itertools.product(edges, (*edges, size + 1, 10**9, None)):
        if stop is None or stop >= start:
            with backend.open_data(file_id, start, stop) as stream:
                saw = b"".join(iter(lambda: stream.read(100_000), b""))
            expect(saw, data[start:stop], f"backend.open_data(id, {start}, {stop}) of {size} bytes, read to its end")
    with backend.open_data(file_id, 1000, 200_000) as stream:
        saw = b"".join(stream.read(n) for n in (1, 10, 70_000))
    expect(saw, data[1000:71_011], "backend.open_data(id, 1000, 200000), read(1), read(10), read(70000)")


def _ordered_listing(kit: Kit) -> None:
    ids = [plant(kit.store, i, created_at=at).id for i, at in reversed(minted_ago())]
    ids += [plant(kit.store, i).id for i in ("file-abc", "file-abc-1", "file-abc_1", "file-Z", "file-0")]
    ids = sorted([*ids, *(kit.put(b"%d" % n).id for n in range(5))])
    kit.settle()
    backend = kit.open().backend
    middle = ids[len(ids) // 2]
    bounds: list[str | None] = [
        None,
        "",
        "a",
        "file-",
        "file-~",
        "zzz",
        lower_bound(0),
        lower_bound(int(time.time() * 1000)),
    ]
    bounds += [ids[0], ids[-1], middle, middle[:-1], middle + "0", middle[:9], ids[3], ids[3] + "-"]
    for after, before in itertools.product(bounds, bounds):
        did = f"backend.list_ids(after={after!r}, before={before!r})"
        found = backend.list_ids(after=after, before=before)
        if not isinstance(found, Iterator):
            raise broken(did, "an iterator", show(found))
        expected = [i for i in ids if (after is None or i > after) and (before is None or i < before)]
        same_ids((i for i in found if i in ids or not _within(i, after, before)), expected, did)


def _within(file_id: str, after: str | None, before: str | None) -> bool:
    """The id of a file that was just deleted may still be listed, but never outside of the bounds."""
    return (after is None or file_id > after) and (before is None or file_id < before)


def _portable_layout(kit: Kit) -> None:
    """`<id>/data.bin` and `<id>/meta.json`: as read by raw access, and as a copy of the directory."""
    from holdall import open_store

    data = kit.noise(100_000)
    file = kit.put(data, "ünï.txt", metadata={"n": 1, "ü": [None, 2.5]})
    with raw_or_not_checked():
        meta = kit.raw.read_meta(file.id)
    expect(decode_meta(meta, file.id), file, "the document in meta.json, as raw access reads it")
    directory = directory_of(kit.store)
    if directory is None:
        return
    found = sorted(os.listdir(os.path.join(directory, file.id)))
    expect(found, ["data.bin", "meta.json"], f"what is in the directory {file.id}")
    with open(os.path.join(directory, file.id, "data.bin"), "rb") as opened:
        expect(opened.read(), data, "the bytes of data.bin")
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(os.path.join(directory, file.id), os.path.join(folder, file.id))
        with open_store(f"file://{folder}?fsync=false") as local:
            did = "copy the entry's directory, open the copy as a file:// store"
            expect(local.get(file.id), file, f"{did}, get")
            expect(local.get_content(file.id), data, f"{did}, get_content")
            back = local.create("back.txt", data, purpose="user_data")
        shutil.copytree(os.path.join(folder, back.id), os.path.join(directory, back.id))
    did = "copy an entry's directory from a file:// store into this one"
    kit.settle()
    store = kit.open()
    expect(store.get(back.id), back, f"{did}, get")
    expect(store.get_content(back.id), data, f"{did}, get_content")
    same_ids([f.id for f in store.list() if f.id == back.id], [back.id], f"{did}, list")


@check("caps.limits_are_real")
def limits_are_real(kit: Kit) -> None:
    """The largest file, the longest name, and the settling time of listings: at the limit, and beyond it."""
    limits = kit.store.backend.limits
    _check_values(limits)
    _longest_name(kit, limits.max_filename_chars)
    if limits.max_file_bytes is not None:
        _largest_file(kit, limits.max_file_bytes)
    _settling(kit, limits.settle_seconds)


def _check_values(limits: Any) -> None:
    for name, lowest, optional in (
        ("max_file_bytes", 1, True),
        ("max_filename_chars", 1, False),
        ("settle_seconds", 0, False),
    ):
        value = getattr(limits, name)
        if optional and value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not lowest <= value < math.inf:
            raise broken(f"look at backend.limits.{name}", f"a number, {lowest} or more", show(value))


def _longest_name(kit: Kit, most: int) -> None:
    kept = []
    # A limit in characters must also apply to those with four bytes, and to those that JSON escapes to six.
    for character in ("a", "\N{GRINNING FACE}", "\x01", '"'):
        count = min(most, LONGEST_TRIED_CHARS)
        name = character * count
        file = kit.put(b"named", name)
        kept.append(file.id)
        did = f"a file name of {count} times {character!r}, where max_filename_chars is {most}"
        expect(kit.open().get(file.id).filename == name, True, f"create with {did}: get().filename is the same")
        if count == most:
            did = f"create with a file name of {most + 1} times {character!r}, where max_filename_chars is {most}"
            expect_error(InvalidRequest, did, lambda: kit.put(b"named", character * (most + 1)))
    same_ids(sorted(kit.listed()), sorted(kept), "list() after file names of the longest kind and one longer")


def _largest_file(kit: Kit, most: int) -> None:
    tried = LARGEST_TRIED_WHEN_LARGE_BYTES if kit.settings.large else LARGEST_TRIED_BYTES
    before = kit.listed()
    past = f"create {most + 1} bytes, where max_file_bytes is {most}"
    expect_error(
        FileTooLarge,
        f"{past}, with expected_bytes and a larger max_bytes",
        lambda: kit.put(OnlyRead(b""), expected_bytes=most + 1, max_bytes=most + 10),
    )
    if most <= tried:
        expect_error(
            FileTooLarge, f"{past}, with a larger max_bytes", lambda: kit.put(Pattern(most + 1), max_bytes=most + 10)
        )
        expect_error(
            FileTooLarge, f"create from an endless source, where max_file_bytes is {most}", lambda: kit.put(Endless())
        )
        same_ids(sorted(kit.listed()), sorted(before), f"list() after {past}")
        did = f"create {most} bytes, where max_file_bytes is {most}"
        file = kit.put(Pattern(most), max_bytes=most)
        expect(file.bytes, most, f"{did}: its size")
        with kit.open().open(file.id) as stream:
            at = 0
            while chunk := stream.read(MIB):
                expect(chunk, Pattern.bytes_at(at, len(chunk)), f"{did}, then read at {at}")
                at += len(chunk)
        expect(at, most, f"{did}, then read to the end")


def _settling(kit: Kit, seconds: float) -> None:
    other = kit.open()
    for n in range(3):
        other.list()
        file = kit.put(b"%d" % n)
        time.sleep(seconds)
        if file.id not in [f.id for f in other.list()]:
            raise broken(f"create, wait {seconds} s (settle_seconds), list", "the file", "it is not listed")
        if file.id not in list(other.backend.list_ids()):
            raise broken(f"create, wait {seconds} s (settle_seconds), backend.list_ids", "the file", "it is not listed")
        kit.store.delete(file.id)
        time.sleep(seconds)
        if file.id in [f.id for f in other.list()]:
            raise broken(f"delete, wait {seconds} s (settle_seconds), list", "the file is gone", "it is listed")


@check("caps.exact_listing", needs=Capability.EXACT_LISTING)
def exact_listing(kit: Kit) -> None:
    """Through the backend itself, whichever handle removed the entry, and through a handle that caches metadata."""
    other, remembering = kit.open(), kit.open(remembering=True)
    files = [kit.put(b"%d" % n) for n in range(12)]
    kit.settle()
    expected = [f.id for f in files]
    for n, file in enumerate(kit.random.sample(files, len(files))):
        same_ids([f.id for f in remembering.list()], expected, "list() by a handle that has listed before")
        (kit.store, other, remembering)[n % 3].delete(file.id)
        expected.remove(file.id)
        kit.settle()
        did = f"delete file number {n} of {len(files)}"
        for store in (kit.store, other, kit.open()):
            if file.id in list(store.backend.list_ids()):
                raise broken(f"{did}, then backend.list_ids()", "not its id", "its id")
        same_ids([f.id for f in remembering.list()], expected, f"{did}, then list() by a handle that has listed before")


@check("caps.persistent_means_new_process")
def persistent_means_new_process(kit: Kit) -> None:
    """A new process reads what this one stored, and this one reads what another process stored that has ended."""
    declared = kit.capabilities & (Capability.PERSISTENT | Capability.SHARED)
    if not declared:
        raise NotDeclared("neither PERSISTENT nor SHARED is declared")
    # Before anything is stored: if the nursery is a fork of this process, it has a copy of the current memory.
    with Nursery(kit.target) as nursery:
        files = [(kit.put(data, "n.txt", metadata={"size": len(data)}), data) for data in (b"", kit.noise(200_000))]
        kit.settle()
        if Capability.SHARED not in declared:
            # Without SHARED, another process can only be expected to see what was closed.
            kit.store.close()
        for file, data in files:
            did = f"create {len(data)} bytes, then read them in a new process"
            outcome = nursery.one("read", kit.url, file_id=file.id)
            if outcome.error is not None:
                raise broken(did, "no error", outcome.error)
            expect(outcome.value("file"), file.model_dump(mode="json"), f"{did}: get")
            expect(bytes.fromhex(outcome.value("content") or ""), data, f"{did}: get_content")
            expect(outcome.value("listed"), True, f"{did}: whether it is listed")
        outcome = nursery.one("create", kit.url, count=3, size=100_000)
        if outcome.error is not None:
            raise broken("create three files in a new process", "no error", outcome.error)
    kit.settle()
    stores = [kit.open()] if Capability.SHARED not in declared else [kit.store, kit.open()]
    expected = sorted([f.id for f, _ in files] + [str(said["id"]) for said in outcome.said])
    for store in stores:
        same_ids(sorted(f.id for f in store.list()), expected, "list() of files of which three are another process's")
        for said in outcome.said:
            did = "get_content of a file that another process stored: its SHA-256"
            expect(store.get(said["id"]).sha256, said["sha256"], did)
            expect(len(store.get_content(said["id"])), 100_000, "its length")
