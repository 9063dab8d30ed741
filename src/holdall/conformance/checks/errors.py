"""Errors: their types, their texts, and no secrets. For temporary failures of the storage, see `_failures`."""

from __future__ import annotations

import contextlib
import errno
import io
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

from holdall.backend import Capability
from holdall.conformance._entries import minted, plant, quietly, same_ids
from holdall.conformance._kit import Kit, NotChecked, broken, expect, expect_error, raw_or_not_checked, show
from holdall.conformance._registry import check
from holdall.conformance._secrets import leaks, secrets_of
from holdall.conformance.checks import _failures  # noqa: F401 - registers its check
from holdall.errors import (
    AccessDenied,
    CorruptMetadata,
    FileNotFound,
    HoldallError,
    IntegrityError,
    InvalidFileId,
    InvalidRequest,
    StorageError,
)
from holdall.store import FileStore

# From a time in the past, at which no file of the suite was created.
ABSENT = minted(1_767_300_000_000, 7)


def _some_id(number: int) -> str:
    return minted(1_767_300_000_000, 100 + number)


def _read(store: FileStore, file_id: str, size: int = -1) -> bytes:
    with store.open(file_id) as stream:
        return stream.read(size)


def _calls(store: FileStore, file_id: str) -> dict[str, Callable[[], Any]]:
    return {
        "get": lambda: store.get(file_id),
        "get_content": lambda: store.get_content(file_id),
        "open": lambda: store.open(file_id),
        "delete": lambda: store.delete(file_id),
    }


@check("errors.missing_is_FileNotFound_everywhere")
def missing_is_file_not_found_everywhere(kit: Kit) -> None:
    """Ids that never existed and ids similar to one that does, in an empty location and in one that is not."""
    for state in ("an empty location", "a location with a file"):
        near: tuple[str, ...] = ()
        if state != "an empty location":
            there = kit.put(b"there").id
            near = (there[:-1] + ("0" if there[-1] != "0" else "1"), there[:-1], there + "0", there[:20], "file-there")
            plant(kit.store, "file-there-too")
        for store in (kit.store, kit.open()):
            backend = store.backend
            for file_id in (ABSENT, "file-a", "file-" + "a" * 128, *near):
                calls = _calls(store, file_id) | {
                    "get_content(0, 0)": lambda: store.get_content(file_id, 0, 0),
                    "get_content(5, 10)": lambda: store.get_content(file_id, 5, 10),
                    "backend.read_meta": lambda: backend.read_meta(file_id),
                    "backend.open_data": lambda: backend.open_data(file_id).read(),
                    "backend.open_data(id, 3, 9)": lambda: backend.open_data(file_id, 3, 9).read(),
                    "backend.remove": lambda: backend.remove(file_id),
                }
                if Capability.LOCAL_PATHS in store.capabilities:
                    calls["backend.local_path"] = lambda: backend.local_path(file_id)
                for way, call in calls.items():
                    did = f"{way} of {file_id!r}, which is not there, in {state}"
                    error = expect_error(FileNotFound, did, call)
                    if isinstance(error, InvalidFileId):
                        raise broken(did, "FileNotFound, since this is an id", show(error))
                found = list(backend.read_metas([file_id]))
                expect(found, [], f"backend.read_metas([{file_id!r}]), which is not there, in {state}")


def _raised(call: Callable[[], Any]) -> Exception | None:
    """The error of a call, of any type; other checks verify that it is raised, and its type."""
    try:
        call()
    except Exception as error:
        return error
    return None


@check("errors.FileNotFound_is_also_FileNotFoundError")
def file_not_found_is_also_file_not_found_error(kit: Kit) -> None:
    """The errors for an id that never existed, a deleted one, an expired one, and a text that is not an id."""
    deleted = kit.put(b"deleted").id
    kit.store.delete(deleted)
    expired = plant(kit.store, _some_id(0), expires_at=1).id
    for what, file_id in (("never seen", ABSENT), ("deleted", deleted), ("expired", expired), ("no id", "../x")):
        calls = _calls(kit.store, file_id)
        if what in {"never seen", "deleted"}:
            backend = kit.store.backend
            calls["backend.read_meta"] = lambda: backend.read_meta(file_id)
            calls["backend.remove"] = lambda: backend.remove(file_id)
        for way, call in calls.items():
            did = f"{way} of {file_id!r} ({what})"
            error = _raised(call)
            if error is None:
                continue
            if not isinstance(error, FileNotFound):
                raise broken(did, "holdall's FileNotFound", show(error))
            if not isinstance(error, FileNotFoundError):
                raise broken(did, "an error that is a FileNotFoundError", show(error))
            expect(error.errno, errno.ENOENT, f"errno of the FileNotFound of {did}")


DAMAGED = {
    "half a JSON document": b'{"id": "',
    "nothing": b"",
    "another kind of JSON": b"[1, 2]",
    "bytes that are no text": b"\xff\xfe\x00{}",
    "JSON without the fields": b"{}",
    "zeros": bytes(300),
}


def _damaged(kit: Kit) -> Iterator[tuple[str, str]]:
    """Entries with damaged metadata, through raw access where available: a description and the id."""
    good = kit.store.backend.read_meta(kit.put(b"another").id)
    documents = {**DAMAGED, "the metadata of another file": good}
    with contextlib.suppress(NotChecked, NotImplementedError):
        raw = kit.raw
        for what, document in documents.items():
            file_id = kit.put(b"some bytes").id
            kit.store.get(file_id)
            raw.write_meta(file_id, document)
            yield f"metadata overwritten by {what}", file_id
        file_id = kit.put(b"some bytes").id
        raw.corrupt(file_id)
        yield "metadata made unreadable", file_id
    # A backend stores the document that it is given, whatever it is.
    for n, (what, document) in enumerate(documents.items()):
        yield f"metadata that is {what}", plant(kit.store, _some_id(n), meta=document).id


@check("errors.corrupt_is_not_missing")
@quietly()
def corrupt_is_not_missing(kit: Kit) -> None:
    """Seven kinds of damage; each file exists, is reported as corrupt, and can be deleted."""
    for what, file_id in list(_damaged(kit)):
        store = kit.open()
        for way, call in _calls(store, file_id).items():
            if way != "delete":
                expect_error(CorruptMetadata, f"{way} of a file with {what}", call)
        store.delete(file_id)
        expect_error(FileNotFound, f"get of a file with {what}, after deleting it", lambda: kit.open().get(file_id))


@check("errors.one_corrupt_record_does_not_hide_the_others")
@quietly()
def one_corrupt_record_does_not_hide_the_others(kit: Kit) -> None:
    """Damage at the beginning, in the middle and at the end of the list, which is requested in every way."""
    first = list(_damaged(kit))
    good = [kit.put(b"1").id]
    middle = kit.put(b"damaged")
    with contextlib.suppress(NotChecked, NotImplementedError):
        kit.raw.corrupt(middle.id)
    good += [kit.put(b"2").id, kit.put(b"3").id]
    plant(kit.store, minted(int(time.time() * 1000) + 1000), meta=b"{", created_at=0)
    bad = {file_id for _, file_id in first}
    # Without raw access the middle one stays intact; so does the file whose metadata was copied.
    kit.settle()
    store = kit.open()
    whole = [i for i in store.backend.list_ids() if i not in bad and _is_whole(store, i)]
    if not set(good) <= set(whole):
        raise broken("get of whole files beside damaged ones", "each of them", [i for i in good if i not in whole])
    same_ids([f.id for f in store.list()], whole, "list() with damaged files")
    same_ids([f.id for f in store], whole, "iterating a store with damaged files")
    same_ids([f.id for f in store.list(order="desc")], whole[::-1], 'list(order="desc") with damaged files')
    filtered = [f.id for f in store.list(purpose="user_data")]
    same_ids(filtered, whole, 'list(purpose="user_data") with damaged files')
    for limit in (1, 2, 3):
        saw: list[str] = []
        after = None
        for _ in range(len(whole) + 1):
            page = store.list(limit=limit, after=after)
            saw += [f.id for f in page]
            if not page.has_more:
                break
            after = page.last_id
        same_ids(saw, whole, f"list(limit={limit}) page by page with damaged files")


def _is_whole(store: FileStore, file_id: str) -> bool:
    try:
        store.get(file_id)
    except (CorruptMetadata, FileNotFound):
        return False
    return True


@check("errors.truncated_bytes_detected_on_read")
@quietly()
def truncated_bytes_detected_on_read(kit: Kit) -> None:
    """Data truncated to nothing, by one byte, by half, and missing; and metadata that claims more data."""
    for size in (10, 300_000):
        cut: list[tuple[str, str]] = []
        with contextlib.suppress(NotChecked, NotImplementedError):
            for left in (0, 1, size // 2, size - 1):
                file_id = kit.put(kit.noise(size)).id
                kit.raw.truncate(file_id, left)
                cut.append((f"cut to {left} of {size} bytes", file_id))
            file_id = kit.put(kit.noise(size)).id
            kit.raw.drop_data(file_id)
            cut.append((f"whose {size} bytes are gone", file_id))
        for n, left in enumerate((0, 1, size // 2, size - 1)):
            file_id = _some_id(n + size % 1000)
            plant(kit.store, file_id, kit.noise(left), bytes=size)
            cut.append((f"of {left} bytes whose metadata says {size}", file_id))
        for what, file_id in cut:
            store = kit.open()
            for way, call in {
                "get_content": lambda: store.get_content(file_id),
                f"get_content(0, {size})": lambda: store.get_content(file_id, 0, size),
                f"get_content({size - 1})": lambda: store.get_content(file_id, size - 1),
                "open().read()": lambda: _read(store, file_id),
                f"open().read({size})": lambda: _read(store, file_id, size),
            }.items():
                expect_error(IntegrityError, f"{way} of a file {what}", call)


@check("errors.name_operation_id_and_backend_and_chain_cause")
@quietly()
def name_operation_id_and_backend_and_chain_cause(kit: Kit) -> None:
    """Missing, damaged and truncated files; then a backend whose storage fails."""
    corrupt = plant(kit.store, _some_id(1), meta=b"{").id
    cut = plant(kit.store, _some_id(2), b"123", bytes=10).id
    store = kit.open()
    cut_ways: dict[str, Callable[[], Any]] = {
        "get_content": lambda: store.get_content(cut),
        "open().read()": lambda: _read(store, cut),
        "open().read(9)": lambda: _read(store, cut, 9),
    }
    for file_id, calls in (
        (ABSENT, _calls(store, ABSENT)),
        (cut, cut_ways),
        (corrupt, {way: call for way, call in _calls(store, corrupt).items() if way != "delete"}),
    ):
        for way, call in calls.items():
            if isinstance(error := _raised(call), HoldallError):
                _names(store, way, file_id, error)
    file = kit.put(b"there")
    for cause in (OSError(errno.EIO, "Input/output error"), PermissionError(errno.EACCES, "no"), ValueError("odd")):
        store = kit.open()
        if not _sabotage(store, cause):
            return
        for way, call in _calls(store, file.id).items():
            did = f"{way} while backend.read_meta raises {show(cause)}"
            error = expect_error(StorageError, did, call)
            _names(store, way, file.id, error)
            if error.__cause__ is not cause:
                raise broken(did, "the backend's exception as __cause__", show(error.__cause__))


def _sabotage(store: FileStore, error: Exception) -> bool:
    """Make the backend of this handle fail to read metadata. Returns False if it cannot be patched."""

    def fail(_: str) -> bytes:
        raise error

    try:
        store.backend.read_meta = fail  # type: ignore[method-assign,assignment]
    except (AttributeError, TypeError):
        return False
    return True


def _names(store: FileStore, way: str, file_id: str, error: HoldallError) -> None:
    did = f"the {type(error).__name__} of {way}({file_id!r}): {str(error)!r}"
    text = str(error)
    if not error.operation:
        raise broken(did, "the operation, in error.operation", error.operation)
    if file_id not in (error.file_id or text):
        raise broken(did, "the id, in error.file_id or the text", error.file_id)
    if not error.backend and str(store.url) not in text:
        raise broken(did, "the store, in error.backend or the text", error.backend)


def _errors(kit: Kit) -> Iterator[tuple[str, HoldallError]]:
    """One error of each kind that a user can cause."""
    store = kit.store
    corrupt = plant(store, _some_id(1), meta=b"{").id
    cut = plant(store, _some_id(2), b"123", bytes=10).id
    closed = kit.open()
    closed.close()
    failing = kit.open()
    cause = OSError(errno.EIO, "Input/output error")
    calls: dict[str, Callable[[], Any]] = {
        "get of an absent file": lambda: store.get(ABSENT),
        "get_content of an absent file": lambda: store.get_content(ABSENT),
        "open of an absent file": lambda: store.open(ABSENT),
        "delete of an absent file": lambda: store.delete(ABSENT),
        "backend.read_meta of an absent file": lambda: store.backend.read_meta(ABSENT),
        "backend.remove of an absent file": lambda: store.backend.remove(ABSENT),
        "get of no id": lambda: store.get("../x"),
        "get of a damaged file": lambda: store.get(corrupt),
        "get_content of a file that was cut": lambda: store.get_content(cut),
        "create over max_bytes": lambda: kit.put(io.BytesIO(b"12345"), max_bytes=3),
        "create with another size": lambda: kit.put(b"12345", expected_bytes=3),
        "list(limit=0)": lambda: store.list(limit=0),
        "get after close": lambda: closed.get(ABSENT),
    }
    if _sabotage(failing, cause):
        calls["get while backend.read_meta raises OSError(EIO)"] = lambda: failing.get(ABSENT)
    for did, call in calls.items():
        if isinstance(error := _raised(call), HoldallError):
            yield did, error


@check("errors.picklable_and_repr_has_no_secret")
@quietly()
def picklable_and_repr_has_no_secret(kit: Kit) -> None:
    """One error of each kind, pickled and unpickled; none shows a password or a secret option of the location's URL."""
    secrets = secrets_of(kit.url)
    for did, error in _errors(kit):
        try:
            back = pickle.loads(pickle.dumps(error))
        except Exception as failure:
            raise broken(f"pickle the error of {did}", "no error", show(failure)) from failure
        expect(type(back), type(error), f"the type of the error of {did}, after pickling")
        for name, of in (("text", str), ("fields", _fields)):
            expect(of(back), of(error), f"the {name} of the error of {did}, after pickling")
        leaks(secrets, did, error)
        leaks(secrets, f"{did}, after pickling", back)


def _fields(error: HoldallError) -> tuple[Any, ...]:
    return error.operation, error.file_id, error.backend, getattr(error, "errno", None)


@check("errors.permission_is_not_missing")
def permission_is_not_missing(kit: Kit) -> None:
    """A file is made unreadable, requested through a new handle, and made readable again."""
    file = kit.put(b"private")
    with raw_or_not_checked():
        kit.raw.deny(file.id)
    try:
        for store in (kit.open(), kit.open()):
            for way, call in _calls(store, file.id).items():
                if way != "delete":
                    expect_error(AccessDenied, f"{way} of a file that this user may not read", call)
    finally:
        kit.raw.allow(file.id)
    expect(kit.open().get_content(file.id), b"private", "get_content once it may be read again")


@check("errors.use_after_close")
def use_after_close(kit: Kit) -> None:
    """Every method of a closed handle; closing twice; another handle keeps working."""
    other = kit.open()
    file = kit.put(b"there")
    for closing in ("close()", "close() through with"):
        store = kit.open()
        store.get(file.id)
        if closing == "close()":
            store.close()
        else:
            with store:
                pass
        source = io.BytesIO(b"unread")
        for way, call in {
            **_calls(store, file.id),
            "create": lambda: kit.put(source, store=store),
            "list": store.list,
            "iterating": lambda: list(store),
            "sweep": store.sweep,
            "verify": store.verify,
        }.items():
            expect_error(InvalidRequest, f"{way} after {closing}", call)
        expect(source.tell(), 0, f"bytes that create read from its source after {closing}")
        for again in ("store.close()", "store.backend.close()"):
            try:
                (store if again == "store.close()" else store.backend).close()
            except Exception as error:
                raise broken(f"{again} after {closing}", "no error", show(error)) from error
        expect(other.get_content(file.id), b"there", f"get_content through another handle after {closing} of the first")
        expect(
            kit.open().get_content(file.id), b"there", f"get_content through a new handle after {closing} of the first"
        )
    kept = kit.put(b"more", store=other)
    same_ids(sorted(kit.listed()), sorted([file.id, kept.id]), "list() after other handles were closed")
