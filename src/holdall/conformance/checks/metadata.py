"""Metadata: every value as it was given, from every method, through every handle."""

from __future__ import annotations

import copy
import datetime as dt
import decimal
import json
import math
from collections.abc import Iterator
from typing import Any

from holdall.conformance._entries import plant
from holdall.conformance._kit import (
    Kit,
    broken,
    expect,
    expect_error,
    expect_exactly,
    fields_of,
    raw_or_not_checked,
)
from holdall.conformance._registry import check
from holdall.conformance._samples import FLOATS, FUTURES, INTEGERS, TEXTS, filenames, metadata_of
from holdall.conformance._sources import OnlyRead
from holdall.errors import InvalidRequest
from holdall.model import FileObject, FilePurpose, encode_meta
from holdall.store import FileStore

LIMIT_BYTES = 64 * 1024
LONGEST_TRIED = 4096


def _found(store: FileStore, file_id: str) -> FileObject | None:
    return next((f for f in store.list() if f.id == file_id), None)


def _same_everywhere(kit: Kit, file_id: str, metadata: Any, did: str) -> None:
    """Compares the metadata of a file as returned by get and list through a new handle."""
    kit.settle()
    other = kit.open()
    expect_exactly(other.get(file_id).metadata, metadata, f"{did}, get().metadata")
    listed = _found(other, file_id)
    if listed is None:
        raise broken(f"{did}, list()", "the file", "a listing without it")
    expect_exactly(listed.metadata, metadata, f"{did}, list(), metadata")


@check("metadata.json_roundtrip_types")
def json_roundtrip_types(kit: Kit) -> None:
    """Numbers beyond 2**53 and of both kinds, every constant, nesting, and texts that look like something else."""
    deep: Any = "the bottom"
    for n in range(40):
        deep = {"down": deep} if n % 2 else [deep]
    metadata = {
        "integers": list(INTEGERS),
        "floats": list(FLOATS),
        "constants": [True, False, None],
        "texts": list(TEXTS),
        "null": None,
        "nested": {"": {}, "null": None, "a": [[], [[]], {}, [None], {"b": {"c": [1, 1.0, True, "1"]}}]},
        "deep": deep,
        "": "an empty key",
        "\0": "a NUL key",
        "😀": "an emoji key",
        "a.b/c d$[0]": "a path-like key",
        "1": "a number-like key",
        "__proto__": {"x": 1},
        "k" * 1000: "a long key",
        **{name: f"a key named {name}" for name in ("id", "filename", "bytes", "metadata", "created_at", "expires_at")},
    }
    file = kit.put(metadata=copy.deepcopy(metadata))
    kit.settle()
    other = kit.open()
    for how, saw in (
        ("create()", file.metadata),
        ("get() through a new handle", other.get(file.id).metadata),
        ("list() through a new handle", (_found(other, file.id) or file).metadata),
    ):
        did = f"create(metadata={{…}}), {how}"
        expect(sorted(saw or {}), sorted(metadata), f"{did}: the keys")
        expect(list(saw or {}), list(metadata), f"{did}: the keys in their order")
        for key, value in metadata.items():
            did = f"create(metadata={{{key[:20]!r}: …}}), {how}"
            if isinstance(value, list) and isinstance(saw[key], list) and len(saw[key]) == len(value):  # type: ignore[index]
                for part, wanted in zip(saw[key], value, strict=True):  # type: ignore[index]
                    expect_exactly(part, wanted, did)
            expect_exactly(saw[key], value, did)  # type: ignore[index]
    _documents_are_opaque(kit)


def _documents_are_opaque(kit: Kit) -> None:
    """Equivalent JSON in other spellings, as other programs write it: stored verbatim, without reformatting."""
    for n, spelling in enumerate((b"%s\n", b"\r\n%s\r\n\r\n", b"  %s\t")):
        file_id = f"file-document-{n}"
        meta = spelling % encode_meta(plant(kit.store, f"{file_id}-plain")).replace(b"-plain", b"")
        plant(kit.store, file_id, meta=meta)
        did = f"backend publish(meta), where meta is JSON between {spelling!r}"
        expect(kit.open().backend.read_meta(file_id), meta, f"{did}; then read_meta")
        expect(list(kit.open().backend.read_metas([file_id])), [(file_id, meta)], f"{did}; then read_metas")


@check("metadata.survives_reopen")
def survives_reopen(kit: Kit) -> None:
    """Stored through handles that are closed before a new one reads; in between, other files are stored and deleted."""
    files = []
    for n in range(6):
        store = kit.open()
        files.append(
            kit.put(
                b"%d" % n,
                filename=f"name {n} é.txt",
                store=store,
                purpose="evals",
                content_type="text/x-any; a=b",
                expires_after=1000 + n,
                metadata={"n": n, "nested": {"list": [1, None, "ü"]}, "large": "x" * (n * 5000)},
            )
        )
        kit.put(b"other", store=store)
        store.delete(kit.put(b"deleted", store=store).id)
        store.close()
    kit.settle()
    other = kit.open()
    listed = {f.id: f for f in other.list()}
    for file in files:
        expect_exactly(fields_of(other.get(file.id)), fields_of(file), "create, close, open a new handle, get")
        if file.id not in listed:
            raise broken("create, close, open a new handle, list", file.id, "a listing without it")
        expect_exactly(fields_of(listed[file.id]), fields_of(file), "create, close, open a new handle, list")


@check("metadata.filename_verbatim")
def filename_verbatim(kit: Kit) -> None:
    """Over fifty names: composed and decomposed, controls, quotes, slashes, spaces at the ends, the longest."""
    longest = min(kit.store.backend.limits.max_filename_chars, LONGEST_TRIED)
    stored = [(n, kit.put(filename=n)) for n in filenames(longest)]
    kit.settle()
    other = kit.open()
    listed = {f.id: f.filename for f in other.list()}
    for name, file in stored:
        expect(file.filename, name, f"create(filename={name[:60]!r}).filename")
        expect(other.get(file.id).filename, name, f"create(filename={name[:60]!r}), get().filename")
        expect(listed.get(file.id), name, f"create(filename={name[:60]!r}), list(), filename")


@check("metadata.list_equals_get_equals_create")
def list_equals_get_equals_create(kit: Kit) -> None:
    """Files with and without each field; by get, list, single pages, a filter and iteration, through two handles."""
    files = [
        kit.put(b"", filename=""),
        kit.put(b"1", filename="with type", content_type="text/plain; charset=utf-8"),
        kit.put(b"22", filename="with metadata", metadata={"a": [1, 2.0, None], "é": "😀"}),
        kit.put(b"333", filename="with expiry", expires_after=3600),
        kit.put(b"4444", "with all", purpose="batch", content_type="a/b", expires_after=7200, metadata={"x": {}}),
        kit.put(b"55555", filename="with empty metadata", metadata={}),
        *(kit.put(b"666666", filename=f"for {p}", purpose=p) for p in (*FilePurpose, "other-purpose")),
    ]
    kit.settle()
    for name, store in (("the same handle", kit.store), ("a new handle", kit.open())):
        page = {f.id: f for f in store.list()}
        walked = {f.id: f for f in store}
        backwards = {f.id: f for f in store.list(limit=len(files), order="desc")}
        filtered = {f.id: f for p in {str(f.purpose) for f in files} for f in store.list(purpose=p)}
        for file in files:
            for how, saw in (
                ("get", store.get(file.id)),
                ("list", page.get(file.id)),
                ("list(order='desc')", backwards.get(file.id)),
                ("list(purpose=…)", filtered.get(file.id)),
                ("iteration", walked.get(file.id)),
            ):
                did = f"create({file.filename!r}), {how} through {name}"
                if saw is None:
                    raise broken(did, "the file", "it is missing")
                expect_exactly(fields_of(saw), fields_of(file), did)


@check("metadata.no_aliasing")
def no_aliasing(kit: Kit) -> None:
    """The results of create, get, list and iteration are modified deeply; then all are requested again."""
    metadata = {"list": [1, 2, {"deep": [3]}], "dict": {"a": "b"}, "text": "t"}
    data = bytearray(b"the bytes")
    created = kit.put(data, metadata=copy.deepcopy(metadata))
    data[:] = b"not those"
    other = kit.open()
    caching = kit.open(remembering=True)  # as applications use it: what is cached must not be what is returned
    kit.settle()
    for name, store in (("the same handle", kit.store), ("another handle", other), ("a caching handle", caching)):
        page = store.list()
        for how, file in (
            ("create", created),
            ("get", store.get(created.id)),
            ("list", next(iter(page))),
            ("iteration", next(iter(store))),
        ):
            held = file.metadata or {}
            expect_exactly(held, metadata, f"{how} through {name}, metadata")
            held["list"][2]["deep"].append("changed")
            held["dict"]["a"] = "changed"
            held["new"] = "changed"
            del held["text"]
            did = f"change the metadata that {how} returned, then (through {name})"
            for again in (store, other, kit.store):
                expect_exactly(again.get(created.id).metadata, metadata, f"{did} get().metadata")
                expect_exactly(next(iter(again.list())).metadata, metadata, f"{did} list(), metadata")
            if how == "create":
                created = store.get(created.id)
        page.data.clear()
        expect(len(store.list()), 1, "clear the data of a page, then list: how many")
    expect(other.get_content(created.id), b"the bytes", "change the bytearray given to create, then get_content")
    expect_exactly(
        kit.open().get(created.id).metadata, metadata, "change what was returned, then get from a new handle"
    )


@check("metadata.caller_dict_not_kept_or_mutated")
def caller_dict_not_kept_or_mutated(kit: Kit) -> None:
    """Compared after create; modified deeply after and during create; used again for another file."""
    mine: dict[str, Any] = {"list": [3, 1, 2], "dict": {"z": 1, "a": None}, "n": 1}
    before = copy.deepcopy(mine)
    file = kit.put(metadata=mine, expires_after=100, content_type="a/b")
    expect_exactly(mine, before, "create(metadata=mine), then look at mine")
    expect(list(mine), list(before), "create(metadata=mine), then the order of its keys")
    mine["list"].append("changed")
    mine["dict"]["a"] = "changed"
    mine["new"] = "changed"
    second = kit.put(metadata=mine)
    did = "create(metadata=mine), change mine"
    expect_exactly(file.metadata, before, f"{did}, then the metadata of what create returned")
    expect_exactly(kit.store.get(file.id).metadata, before, f"{did}, get().metadata")
    _same_everywhere(kit, file.id, before, did)
    _same_everywhere(kit, second.id, mine, "create(metadata=mine) a second time")
    theirs: dict[str, Any] = {"list": [1]}

    def changing() -> Iterator[bytes]:
        yield b"one"
        theirs["list"].append("changed")
        theirs["new"] = {1, 2}
        yield b"two"

    third = kit.put(changing(), metadata=theirs)
    _same_everywhere(kit, third.id, {"list": [1]}, "create(metadata=mine) from a source that changes mine")


@check("metadata.non_json_rejected_before_reading_source")
def non_json_rejected_before_reading_source(kit: Kit) -> None:
    """Values that some encoders accept and change, and values that none accepts, at the top level and nested."""
    circular: dict[str, Any] = {}
    circular["self"] = circular
    wrong: list[Any] = [math.nan, math.inf, -math.inf, b"bytes", bytearray(b"x"), {1, 2}, frozenset(), (1, 2), object()]
    wrong += [dt.datetime.now(dt.UTC), dt.date.today(), decimal.Decimal(1), 1j, range(3), iter([]), Exception, "\ud800"]  # noqa: DTZ011
    wrong += [{1: "a"}, {None: "a"}, {True: "a"}, {1.5: "a"}, {(1,): "a"}, {b"k": "a"}, {"\udfff": 1}, circular]
    cases: list[Any] = [value if isinstance(value, dict) else {"key": value} for value in wrong]
    cases += [{"a": [{"b": value}]} for value in wrong]
    cases += [["a", "list"], "text", 7, True, b"{}", [("a", 1)], ()]
    for metadata in cases:
        source = OnlyRead(b"never read")
        did = f"create(metadata={metadata!r:.80})"
        expect_error(InvalidRequest, did, lambda m=metadata, s=source: kit.put(s, metadata=m))  # type: ignore[misc]
        expect(source.given, 0, f"{did}: how many bytes of the source were read")
    expect(kit.listed(), [], "create with metadata that is no JSON, then list")


@check("metadata.limit_exact")
def limit_exact(kit: Kit) -> None:
    """Around the usual limits of storages for attributes (255 bytes, 2 to 32 KiB), and around the store's own limit."""
    sizes = [n + d for n in (255, 2048, 4096, 8192, 16_384, 32_768) for d in (0, 1)] + [LIMIT_BYTES - 1, LIMIT_BYTES]
    longest = min(kit.store.backend.limits.max_filename_chars, LONGEST_TRIED)
    stored = []
    for size in sizes:
        for kind in ("one text", "two-byte characters", "many keys"):
            metadata = metadata_of(size, kind)
            # The longest document also has the longest filename.
            name = "😀" * longest if size == LIMIT_BYTES else "a.txt"
            file = kit.put(filename=name, metadata=dict(metadata))
            stored.append((file, metadata, f"create with {size} bytes of metadata ({kind})"))
    kit.settle()
    other = kit.open()
    listed = {f.id: f for f in other.list()}
    for file, metadata, did in stored:
        expect_exactly(other.get(file.id).metadata, metadata, f"{did}, get().metadata")
        expect_exactly(listed[file.id].metadata if file.id in listed else None, metadata, f"{did}, list(), metadata")
    # In the document, each of many values is on its own line, which makes it four times as long.
    lines = {"k": [0] * ((LIMIT_BYTES - 8) // 2)}
    file = kit.put(metadata=dict(lines))
    expect_exactly(kit.open().get(file.id).metadata, lines, f"create with {len(lines['k'])} zeros as metadata, get()")
    kit.store.delete(file.id)
    for size in (LIMIT_BYTES + 1, LIMIT_BYTES + 2, 1_000_000):
        for kind in ("one text", "two-byte characters", "many keys"):
            source, metadata = OnlyRead(b"never read"), metadata_of(size, kind)
            did = f"create with {size} bytes of metadata ({kind})"
            expect_error(InvalidRequest, did, lambda s=source, m=metadata: kit.put(s, metadata=m))  # type: ignore[misc]
            expect(source.given, 0, f"{did}: how many bytes of the source were read")
    expect(len(kit.listed()), len(stored), "create with too much metadata, then list: how many")


@check("metadata.key_case_preserved")
def key_case_preserved(kit: Kit) -> None:
    """Keys that HTTP headers, environment variables or a database might merge."""
    keys = ["Key", "key", "KEY", "kEy", "Content-Type", "content-type", "X-Amz-Meta-A", "x_y", "x-y", "x.y", "X_Y"]
    keys += [" key", "key ", "Straße", "STRASSE", "\u0130", "i\u0307", "\u00e9", "e\u0301", "\u00c9"]
    metadata = {key: n for n, key in enumerate(keys)}
    metadata_below = {"Outer": {**metadata}, "OUTER": [metadata]}
    for given in (metadata, metadata_below, {"OnlyCapitals": "Value"}, {"CamelCaseKey": 1, "camelCaseKey": 2}):
        file = kit.put(metadata=dict(given))
        did = "create(metadata with keys that differ in case or form)"
        expect_exactly(file.metadata, given, f"{did}.metadata")
        _same_everywhere(kit, file.id, given, did)


@check("metadata.empty_vs_absent")
def empty_vs_absent(kit: Kit) -> None:
    """None, {}, and values that are falsy in Python; through create, get and list."""
    false: list[Any] = [None, {}, [], "", 0, False, 0.0]
    cases: list[dict[str, Any] | None] = [None, {}, {"": ""}, *({"a": value} for value in false)]
    for given in cases:
        file = kit.put(b"", metadata=copy.deepcopy(given))
        did = f"create(metadata={given!r})"
        expect_exactly(file.metadata, given, f"{did}.metadata")
        _same_everywhere(kit, file.id, given, did)
    bare = kit.open().get(kit.put(b"", filename="").id)
    expect(bare.filename, "", "create(filename=''), get().filename")
    expect(bare.content_type, None, "create() without content_type, get().content_type")
    expect(bare.expires_at, None, "create() without expires_after, get().expires_at")


@check("metadata.unknown_future_fields_preserved_or_refused")
def unknown_future_fields_preserved_or_refused(kit: Kit) -> None:
    """Documents as a newer version may write them are put in place; they are read, listed, and stay the same."""
    raw = kit.raw
    written = {}
    with raw_or_not_checked():
        for name, meta_of in FUTURES.items():
            file = kit.put(name.encode(), filename=name, metadata={"a": 1}, content_type="a/b")
            meta = meta_of(json.loads(raw.read_meta(file.id)))
            raw.write_meta(file.id, meta)
            written[file.id] = (name, file, meta)
    other = kit.open()
    kit.settle()
    listed = {f.id: f for f in other.list()}
    for file_id, (name, file, _) in written.items():
        did = f"put a document with {name} in place, then"
        expect_exactly(_without_change(other.get(file_id)), _without_change(file), f"{did} get")
        expect(other.get_content(file_id), name.encode(), f"{did} get_content")
        if file_id not in listed:
            raise broken(f"{did} list", "the file", "a listing without it")
        expect_exactly(_without_change(listed[file_id]), _without_change(file), f"{did} list")
    kit.put(b"another")
    other.sweep(older_than=0)
    for file_id, (name, _, meta) in written.items():
        with raw_or_not_checked():
            expect(raw.read_meta(file_id), meta, f"read, list and sweep where a document has {name}: the document")
        kit.open().delete(file_id)
    expect(len(kit.listed()), 1, "delete the files with documents of a newer version, then list: how many")


def _without_change(file: FileObject) -> dict[str, Any]:
    return {k: v for k, v in fields_of(file).items() if k not in {"purpose", "status"}}
