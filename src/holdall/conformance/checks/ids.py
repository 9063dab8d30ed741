"""Ids: unguessable, unique, and never a way to access anything but their file."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holdall.backend import Capability
from holdall.conformance._kit import Kit, broken, expect, expect_error, raw_or_not_checked
from holdall.conformance._registry import check
from holdall.conformance._samples import hostile_ids, lookalike_ids
from holdall.conformance._sources import OnlyRead
from holdall.errors import FileNotFound, HoldallError, InvalidFileId, InvalidRequest
from holdall.ids import DEFAULT_MINTER
from holdall.model import FileObject, FilePurpose, encode_meta
from holdall.store import FileStore

MANY = 300
FEWEST_BITS = 48
PUBLISHED = re.compile(r"file-[0-9a-f]{32}").fullmatch


@check("ids.entropy_and_no_loss")
def entropy_and_no_loss(kit: Kit) -> None:
    """300 small files from two handles in turn, as fast as possible; every one is listed and has its own content."""
    handles = (kit.store, kit.open())
    stored = {}
    for n in range(MANY):
        file = kit.put(b"%d" % n, filename=f"{n}", store=handles[n % 2])
        if file.id in stored:
            raise broken(f"create {n + 1} files", "a new id for each", f"{file.id} a second time")
        stored[file.id] = n
    numbers = [int(re.sub("[^0-9a-f]", "", i[5:]) or "0", 16) for i in stored]
    varying = 0
    for number in numbers:
        varying |= number ^ numbers[0]
    if varying.bit_count() < FEWEST_BITS:
        seen = f"{varying.bit_count()} bits: {', '.join(list(stored)[:3])} …"
        raise broken(f"create {MANY} files", f"ids that differ in {FEWEST_BITS} bits or more", seen)
    listed = set(kit.listed())
    expect(len(set(stored) - listed), 0, f"create {MANY} files, then list through a new handle: how many are missing")
    expect(len(listed - set(stored)), 0, f"create {MANY} files, then list through a new handle: how many are unknown")
    other = kit.open()
    for file_id, n in stored.items():
        expect(other.get_content(file_id), b"%d" % n, f"create {MANY} files, then get_content of number {n}")


@check("ids.match_published_pattern")
def match_published_pattern(kit: Kit) -> None:
    """For files of all kinds, as returned by create, get, a listing, and a page's first_id and last_id."""
    files = [kit.put(purpose=purpose) for purpose in FilePurpose]
    files += [kit.put(b""), kit.put(OnlyRead(bytes(100_000))), kit.put(filename="file-1.txt", expires_after=100)]
    other = kit.open()
    kit.settle()
    page = other.list()
    given: dict[str, list[str | None]] = {
        "create().id": [f.id for f in files],
        "get().id": [other.get(f.id).id for f in files],
        "the ids of list()": [f.id for f in page],
        "first_id and last_id of list()": [page.first_id, page.last_id],
    }
    for did, file_ids in given.items():
        for file_id in file_ids:
            if type(file_id) is not str or not PUBLISHED(file_id):
                raise broken(did, "file- and 32 lower-case hexadecimal digits", repr(file_id))


def _ways_in(store: FileStore, file_id: Any) -> dict[str, Any]:
    return {
        "get": lambda: store.get(file_id),
        "get_content": lambda: store.get_content(file_id),
        "open": lambda: store.open(file_id).close(),
        "delete": lambda: store.delete(file_id),
    }


@contextlib.contextmanager
def _watched(store: FileStore) -> Iterator[list[str]]:
    """Records the calls to the backend of this handle."""
    asked: list[str] = []
    backend = store.backend

    def watch(name: str, verb: Any) -> Any:
        def watching(*args: Any, **options: Any) -> Any:
            asked.append(f"{name}{args!r}")
            return verb(*args, **options)

        return watching

    # An object that does not allow setting attributes cannot be watched; its results are still checked.
    with contextlib.suppress(AttributeError, TypeError):
        for name in ("stage", "read_meta", "open_data", "remove", "read_metas", "list_ids"):
            setattr(backend, name, watch(name, getattr(backend, name)))
    try:
        yield asked
    finally:
        with contextlib.suppress(AttributeError, TypeError):
            for name in ("stage", "read_meta", "open_data", "remove", "read_metas", "list_ids"):
                delattr(backend, name)


@check("ids.hostile_rejected_everywhere")
def hostile_rejected_everywhere(kit: Kit) -> None:
    """Over sixty strings and values, in every method that accepts an id, on a handle whose backend is watched."""
    file = kit.put(b"untouched")
    store = kit.open()
    with _watched(store) as asked:
        for hostile in hostile_ids(file.id):
            for name, call in _ways_in(store, hostile).items():
                expect_error(InvalidFileId, f"{name}({_short(hostile)})", call)
            if hostile is not None:
                did = f"list(after={_short(hostile)})"
                expect_error(InvalidRequest, did, lambda hostile=hostile: store.list(after=hostile))  # type: ignore[misc]
            expect(
                asked, [], f"get, get_content, open, delete, list(after=) of {_short(hostile)}: asked of the backend"
            )
    expect(kit.listed(), [file.id], "delete of texts that are no ids, then list")
    expect(
        kit.open().get_content(file.id), b"untouched", "delete of texts that are no ids, then get_content of the file"
    )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:40]}… ({len(text)} characters)"


def _unreachable(kit: Kit, file: FileObject, others: list[str], kind: type[BaseException]) -> None:
    """None of the other texts gives access to the file, and it still exists afterwards."""
    store = kit.open()
    for other in others:
        for name, call in _ways_in(store, other).items():
            expect_error(kind, f"{name}({other!r}) where {file.id} exists", call)
    expect(kit.listed(), [file.id], f"delete of other texts than {file.id}, then list")
    expect(kit.open().get_content(file.id), b"the file", f"delete of other texts than {file.id}, then get_content")


@check("ids.case_variant_is_not_the_file")
def case_variant_is_not_the_file(kit: Kit) -> None:
    """A generated id in capitals, entirely and in part; and an id of another program, which may contain capitals."""
    file = kit.put(b"the file")
    digits = file.id[5:]
    one = next(n for n, c in enumerate(digits) if c.isalpha())
    capital = digits[:one] + digits[one].upper() + digits[one + 1 :]
    variants = [file.id.upper(), f"File-{digits}", f"FILE-{digits}", f"file-{digits.upper()}", f"file-{capital}"]
    _unreachable(kit, file, variants, FileNotFound)
    kit.store.delete(file.id)
    foreign = _publish(kit.store, "file-AbCdEfGhJkMn", b"the file")
    variants = ["file-abcdefghjkmn", "file-ABCDEFGHJKMN", "file-aBcDeFgHjKmN"]
    _unreachable(kit, foreign, variants, FileNotFound)


def _publish(store: FileStore, file_id: str, data: bytes) -> FileObject:
    """An entry with a chosen id, as an import creates it."""
    file = FileObject(id=file_id, filename="x", purpose="batch", bytes=len(data), created_at=1_700_000_000)
    with store.backend.stage(file_id) as staged:
        staged.write(data)
        staged.publish(encode_meta(file))
    return file


@check("ids.unicode_lookalike_rejected")
def unicode_lookalike_rejected(kit: Kit) -> None:
    """Texts that become the id of an existing file if they are normalized, case-folded or stripped."""
    file = kit.put(b"the file")
    _unreachable(kit, file, lookalike_ids(file.id), InvalidFileId)


@check("ids.symlink_in_root_not_followed")
def symlink_in_root_not_followed(kit: Kit) -> None:
    """A link in place of an entry, to a directory that looks like an entry; then links in place of its two files."""
    secret = b"a secret outside the storage"
    template = kit.put(secret)
    raw = kit.raw
    with tempfile.TemporaryDirectory() as outside, raw_or_not_checked():
        file_id, _ = DEFAULT_MINTER.mint()
        meta = raw.read_meta(template.id).replace(template.id.encode(), file_id.encode())
        _fill(outside, meta, secret)
        raw.link(file_id, outside)
        _leads_nowhere(kit, file_id, secret, f"a link to a directory in the place of the entry {file_id}")
        expect(kit.listed(), [template.id], "put a link in the place of an entry, then list")
        with contextlib.suppress(HoldallError):
            kit.open().delete(file_id)
        with contextlib.suppress(HoldallError):
            kit.open().sweep(older_than=0)
        saw = sorted(os.listdir(outside))
        expect(
            saw, ["data.bin", "meta.json"], "put a link in the place of an entry, delete it, sweep: what it leads to"
        )
        expect(Path(outside, "data.bin").read_bytes(), secret, "delete of a link: the file outside")
    _links_inside(kit, secret)


def _fill(folder: str, meta: bytes, data: bytes) -> None:
    Path(folder, "meta.json").write_bytes(meta)
    Path(folder, "data.bin").write_bytes(data)


def _leads_nowhere(kit: Kit, file_id: str, secret: bytes, where: str) -> None:
    other = kit.open()
    for name, call in (
        ("get_content", lambda: other.get_content(file_id)),
        ("open().read", lambda: other.open(file_id).read()),
        ("get_content in part", lambda: other.get_content(file_id, 2, 10)),
    ):
        error = expect_error(HoldallError, f"plant {where}, then {name}", call)
        if secret.decode() in str(error):
            raise broken(f"plant {where}, then {name}", "an error without the secret", error)


def _links_inside(kit: Kit, secret: bytes) -> None:
    if Capability.LOCAL_PATHS not in kit.capabilities:
        return
    victim = kit.put(bytes(len(secret)))
    path = kit.store.backend.local_path(victim.id)
    with tempfile.TemporaryDirectory() as outside:
        _fill(outside, b"", secret)
        os.unlink(path)
        os.symlink(os.path.join(outside, "data.bin"), path)
        _leads_nowhere(kit, victim.id, secret, "a link to a file in the place of an entry's bytes")
        with contextlib.suppress(HoldallError):
            kit.open().delete(victim.id)
        expect(Path(outside, "data.bin").read_bytes(), secret, "delete of an entry whose bytes are a link: the file")
    if Capability.PORTABLE_LAYOUT not in kit.capabilities:
        return
    victim = kit.put(b"x", filename="inside")
    path = os.path.join(os.path.dirname(kit.store.backend.local_path(victim.id)), "meta.json")
    with tempfile.TemporaryDirectory() as outside:
        _fill(outside, Path(path).read_bytes().replace(b"inside", b"secret"), b"")
        os.unlink(path)
        os.symlink(os.path.join(outside, "meta.json"), path)
        did = "plant a link to a file in the place of an entry's metadata, then get"
        expect_error(HoldallError, did, lambda: kit.open().get(victim.id))


@check("ids.filename_never_becomes_a_path")
def filename_never_becomes_a_path(kit: Kit) -> None:
    """Each name twice, with different data: relative and absolute path traversals, names of the storage's own files."""
    marker = f"holdall-{uuid.uuid4().hex}"
    with tempfile.TemporaryDirectory() as outside:
        below = [f"../../{marker}", f"../{marker}", marker, f"x/../../{marker}", f"..\\..\\{marker}"]
        names = [*below, f"{outside}/{marker}", f"/{marker}", f"{outside}/{marker}\0.txt", f"file://{outside}/{marker}"]
        names += ["..", ".", "/", "~", "", "data.bin", "meta.json", ".staging", f"%2e%2e/{marker}", "a/b/c", "C:\\x"]
        names += ["file-0198", kit.put().id, f"{kit.put().id}/data.bin"]
        longest = kit.store.backend.limits.max_filename_chars
        names = [name for name in names if len(name) <= longest]
        stored = [
            (kit.put(f"{name} {n}".encode(), filename=name), f"{name} {n}".encode(), name)
            for name in names
            for n in range(2)
        ]
        other = kit.open()
        for file, data, name in stored:
            expect(other.get(file.id).filename, name, f"create(filename={name!r}), then get().filename")
            expect(other.get_content(file.id), data, f"create(filename={name!r}) twice, then get_content")
        expect(len(kit.listed()), len(stored) + 2, f"create {len(stored) + 2} files, then list: how many")
        found = _find(kit, marker, below, outside)
    expect(found, [], "create files with filenames such as '../../x', then look outside")


def _find(kit: Kit, marker: str, below: list[str], outside: str) -> list[str]:
    """Files with the marker in the places where a store that used a filename as a path would put them."""
    bases = [os.getcwd(), tempfile.gettempdir(), os.path.expanduser("~")]
    if Capability.LOCAL_PATHS in kit.capabilities:
        entry = os.path.dirname(kit.store.backend.local_path(kit.put().id))
        bases += [entry, os.path.dirname(entry), os.path.join(os.path.dirname(entry), ".staging")]
    paths = {os.path.normpath(os.path.join(base, name)) for base in bases for name in below}
    found = [path for path in sorted({*paths, f"/{marker}"}) if os.path.lexists(path)]
    for path in found:
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    return found + [os.path.join(outside, name) for name in os.listdir(outside)]


@check("ids.never_reused_after_delete")
def never_reused_after_delete(kit: Kit) -> None:
    """The newest file is deleted, all handles are closed, and a new one creates another, while an older file stays."""
    kept = kit.put(b"kept")
    gone: list[str] = []
    for n in range(20):
        store = kit.open()
        file = kit.put(b"%d" % n, store=store)
        if file.id in (*gone, kept.id):
            raise broken("create, delete, open a new handle, create", "an id never used before", file.id)
        store.delete(file.id)
        gone.append(file.id)
        if n % 2:
            again = kit.put(b"in its place", store=store)
            store.delete(again.id)
            gone.append(again.id)
        store.close()
    other = kit.open()
    successor = kit.put(b"another")
    for file_id in gone:
        expect_error(FileNotFound, f"get({file_id}), deleted before", lambda file_id=file_id: other.get(file_id))  # type: ignore[misc]
    expect(sorted(kit.listed()), sorted([kept.id, successor.id]), "create and delete by turns, then list")
    expect(len(set(gone)), len(gone), "create and delete by turns: how many different ids")
    expect(kit.open().get_content(kept.id), b"kept", "create and delete others, then get_content of the one kept")


@check("ids.foreign_entries_ignored")
def foreign_entries_ignored(kit: Kit) -> None:
    """A file, directories and names that are not ids next to the entries; data without metadata; then usual operations,
    and a sweep.
    """
    files = [kit.put(b"%d" % n) for n in range(3)]
    wanted = [f.id for f in files]
    before = kit.leftovers() or []
    with raw_or_not_checked():
        kit.raw.stray()
        strangers = [name for name in kit.leftovers() or [] if name not in before and _is_a_strangers(name)]
        with contextlib.suppress(NotImplementedError):
            orphan = kit.raw.orphan()
            did = "leave bytes without metadata in the storage, then get"
            expect_error(FileNotFound, did, lambda: kit.open().get(orphan))
    kit.settle()
    for store in (kit.store, kit.open()):
        did = "put files and directories that are no entries beside the entries, then"
        expect(sorted(f.id for f in store.list()), sorted(wanted), f"{did} list")
        expect(sorted(f.id for f in store), sorted(wanted), f"{did} iterate")
        expect(_paged(store, "asc"), sorted(wanted), f"{did} list page by page")
        expect(_paged(store, "desc"), sorted(wanted), f"{did} list page by page backwards")
        expect(store.get_content(wanted[0]), b"0", f"{did} get_content")
        extra = kit.put(b"more", store=store)
        store.delete(extra.id)
    expect(sorted(kit.listed()), sorted(wanted), "list among things that are no entries, after create and delete")
    kit.store.sweep(older_than=0)
    did = "sweep(older_than=0) among things that are no entries, then"
    expect(sorted(kit.listed()), sorted(wanted), f"{did} list")
    left = kit.leftovers() or []
    expect([name for name in strangers if name not in left], [], f"{did} look for them: what was removed")


def _is_a_strangers(name: str) -> bool:
    """Whether no store could have created this: neither hidden, as a staging area may be, nor named like an id."""
    return not any(part.startswith((".", "file-")) for part in name.split("/"))


def _paged(store: FileStore, order: str) -> list[str]:
    seen: list[str] = []
    page = store.list(limit=1, order=order)
    while True:
        seen += [f.id for f in page]
        if not page.has_more or len(seen) > MANY:
            return sorted(seen)
        page = store.list(limit=1, order=order, after=page.last_id)
