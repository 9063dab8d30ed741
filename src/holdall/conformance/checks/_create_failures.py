"""Failing creates: what is refused, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from holdall.conformance._kit import NO_RAW_ACCESS, Kit, NotChecked, broken, expect, expect_error
from holdall.conformance._registry import check
from holdall.conformance._sources import Dying, Endless, OnlyRead, dying_iterator, kinds_of
from holdall.conformance._target import RawAccess
from holdall.errors import FileNotFound, FileTooLarge, HoldallError, IntegrityError, InvalidRequest, StorageError
from holdall.ids import DEFAULT_MINTER
from holdall.model import FileObject, encode_meta
from holdall.store import FileStore

KIB, MIB = 1024, 1024 * 1024
SIZE = 300_000
DEATHS = (0, 1, 4096, 65_536, 150_000, 262_144, SIZE)
LIMIT = 1 * MIB
SOON = LIMIT + 16 * MIB


class _Stop(BaseException):
    """A `BaseException` that is not an `Exception`, and unknown to the store."""


class _TooFar(Exception):
    """An endless source was read far beyond the limit."""


class _Bounded(Endless):
    """Endless for a store that stops in time; otherwise it raises before memory is exhausted."""

    def read(self, size: int = -1) -> bytes:
        if self.given > 2 * SOON:
            raise _TooFar(f"{self.given} bytes were read")
        return super().read(size)


@check("create.source_error_leaves_nothing")
def source_error_leaves_nothing(kit: Kit) -> None:
    """Readers and iterators that fail at the first byte, in every chunk, and after the last byte."""
    kept = kit.put(b"was here before", filename="kept")
    data = kit.noise(SIZE)
    for after in DEATHS:
        error = OSError(errno.EIO, "the source failed")
        _fails(kit.store, f"reader, after {after}", Dying(data, after, error), error)
        _fails(kit.store, f"iterator, after {after}", dying_iterator(data, after, error), error)
    small = ValueError("the source failed")
    _fails(kit.store, "10 bytes, after 5", Dying(data[:10], 5, small), small)
    did = f"create from sources that raise after so many of {SIZE} bytes (the filename says), then list"
    _only_listed(kit, [kept], did)
    expect(kit.open().get_content(kept.id), b"was here before", "get_content of the file that was there before")


def _fails(store: FileStore, name: str, source: Any, error: BaseException, **options: Any) -> None:
    did = f"create from a source that raises {type(error).__name__} ({name})"
    # Another check verifies which error is raised.
    expect_error(BaseException, did, lambda: store.create(name, source, purpose="user_data", **options))


def _only_listed(kit: Kit, files: list[FileObject], did: str) -> None:
    """Raises `Broken` unless exactly these files are listed, by the first handle and by a new one."""
    kit.settle()
    known = {f.id for f in files}
    for name, store in (("a new handle", kit.open()), ("the same handle", kit.store)):
        found = list(store)
        extra = [f"{f.filename!r}: {f.bytes} bytes" for f in found if f.id not in known]
        if extra:
            raise broken(f"{did} ({name})", "no file of a failed create", f"{len(extra)} more: {', '.join(extra)}")
        expect(len(found), len(known), f"{did} ({name}): how many files")


@check("create.source_error_leaves_no_residue")
def source_error_leaves_no_residue(kit: Kit) -> None:
    """Failed creates of every size; then checks descriptors, the backend's debris, and the storage itself."""
    data = kit.noise(SIZE)
    store = kit.open()

    def fail() -> None:
        for after in (0, 1, 65_536, SIZE):
            error = OSError(errno.EIO, "the source failed")
            _fails(store, f"after {after}", Dying(data, after, error), error)

    fail()  # so that whatever is created only once (a connection, a staging directory) exists
    # Space may be freed in the background, or when the last handle is closed, so it is measured after that.
    kit.close_handles()
    raw, before, used = None, set[str](), 0
    with contextlib.suppress(NotChecked, NotImplementedError):
        before, used = set(kit.raw.leftovers()), _used_bytes(kit.raw)
        raw = kit.raw
    store = kit.open()
    with _few_descriptors("24 failed creates"):
        for _ in range(6):
            fail()
    expect([d.kind for d in store.backend.debris()], [], "24 failed creates, then backend.debris()")
    kit.close_handles()
    if raw is None:
        raise NotChecked(NO_RAW_ACCESS)
    expect(sorted(set(raw.leftovers()) - before), [], "24 failed creates, close, then look into the storage")
    if (grown := _used_bytes(raw) - used) > 64 * KIB:
        raise broken("24 failed creates, close, then add up the storage", "no more bytes", f"{grown} more bytes")


def _used_bytes(raw: RawAccess) -> int:
    """The space used in the location; 0, and thus no growth, if it cannot be determined."""
    try:
        return raw.used_bytes()
    except NotImplementedError:
        return 0


@contextlib.contextmanager
def _few_descriptors(did: str) -> Iterator[None]:
    """An unlinked file that stays open also uses space. A client may keep a few connections."""
    if not os.path.isdir("/proc/self/fd"):
        yield
        return
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    if (grown := len(os.listdir("/proc/self/fd")) - before) > 10:
        raise broken(did, "no descriptors left open", f"{grown} more open")


@check("create.source_error_is_the_callers_error")
def source_error_is_the_callers_error(kit: Kit) -> None:
    """Errors that a store could mistake for its own: errors of files and values, errors of holdall; and a path that
    does not exist.
    """
    data = kit.noise(SIZE)
    for error in (
        OSError(errno.EIO, "mine"),
        FileNotFoundError(errno.ENOENT, "mine"),
        FileNotFound("mine: the source is a file of another store"),
        ConnectionResetError(errno.ECONNRESET, "mine"),
        TimeoutError("mine"),
        EOFError("mine"),
        ValueError("mine"),
        KeyError("mine"),
        KeyboardInterrupt(),
        asyncio.CancelledError(),
        _TooFar("mine"),
    ):
        for after in (0, 100_000):
            for name, source in (
                ("read", Dying(data, after, error)),
                ("iterator", dying_iterator(data, after, error)),
            ):
                did = f"create from a source whose {name} raises {error!r} after {after} bytes"
                saw = expect_error(BaseException, did, lambda source=source: kit.put(source))  # type: ignore[misc]
                if saw is not error:
                    raise broken(did, "that same exception", saw)
    with tempfile.TemporaryDirectory() as folder:
        did = "create from a path that does not exist"
        saw = expect_error(FileNotFoundError, did, lambda: kit.put(Path(folder) / "absent"))
        if isinstance(saw, HoldallError):
            raise broken(did, "Python's own FileNotFoundError", saw)


@check("create.base_exception_cleans_up")
def base_exception_cleans_up(kit: Kit) -> None:
    """Errors raised by Ctrl-C, a cancelled task, an exit, and an exception class of the caller."""
    kept = kit.put(b"was here before", filename="kept")
    data = kit.noise(SIZE)
    store = kit.open()
    raw, before = None, set[str]()
    with contextlib.suppress(NotChecked, NotImplementedError):
        before = set(kit.raw.leftovers())
        raw = kit.raw
    for after in (0, 1, 150_000, SIZE):
        for error in (KeyboardInterrupt(), asyncio.CancelledError(), SystemExit(3), _Stop()):
            _fails(store, f"{type(error).__name__} after {after}", Dying(data, after, error), error)
            if after:
                _fails(store, f"{type(error).__name__} after {after}", dying_iterator(data, after, error), error)
    names = "KeyboardInterrupt, CancelledError, SystemExit and a BaseException in the source"
    _only_listed(kit, [kept], f"{names} (the filename says which), then list")
    expect([d.kind for d in store.backend.debris()], [], f"{names}, then backend.debris()")
    store.close()
    if raw is not None:
        expect(sorted(set(raw.leftovers()) - before), [], f"{names}, close, then look into the storage")


@check("create.declared_size_enforced")
def declared_size_enforced(kit: Kit) -> None:
    """Off by one, by a lot, and zero, in both directions, from every kind of source."""
    stored = []
    for size in (0, 1, 1000, SIZE):
        data = kit.noise(size)
        for name, make in kinds_of(data).items():
            for wrong in sorted({0, 1, size // 2, size - 1, size + 1, size + 65_536} - {size, -1}):
                expect_error(
                    IntegrityError,
                    f"create({size} bytes from {name}, expected_bytes={wrong})",
                    lambda make=make, wrong=wrong, name=name: kit.put(  # type: ignore[misc]
                        make(), filename=f"{size} of {wrong} from {name}", expected_bytes=wrong
                    ),
                )
            stored.append(kit.put(make(), expected_bytes=size))
            expect(stored[-1].bytes, size, f"create({size} bytes from {name}, expected_bytes={size}).bytes")
    source = _Bounded()
    did = "create from an endless source, expected_bytes=1000"
    expect_error(IntegrityError, did, lambda: kit.put(source, filename="endless", expected_bytes=1000))
    _only_listed(kit, stored, "create with an expected_bytes that is not the size (the filename says), then list")


@check("create.declared_checksum_enforced")
def declared_checksum_enforced(kit: Kit) -> None:
    """Of other data, of all but the last byte, of the first chunk, with one digit changed; and malformed checksums."""
    stored = []
    for size in (0, 1, SIZE):
        data = kit.noise(size)
        right = hashlib.sha256(data).hexdigest()
        wrong = {
            "other bytes": hashlib.sha256(data + b"x").hexdigest(),
            "a last byte that differs": hashlib.sha256(data[:-1] + bytes(b ^ 1 for b in data[-1:])).hexdigest(),
            "the first 64 KiB": hashlib.sha256(data[: 64 * KIB]).hexdigest(),
            "nothing": hashlib.sha256(b"").hexdigest(),
            "all, its first digit changed": f"{int(right[0], 16) ^ 1:x}{right[1:]}",
            "all, its last digit changed": f"{right[:-1]}{int(right[-1], 16) ^ 1:x}",
        }
        for name, make in kinds_of(data).items():
            for of, digest in wrong.items():
                if digest == right:
                    continue
                expect_error(
                    IntegrityError,
                    f"create({size} bytes from {name}, expected_sha256 of {of})",
                    lambda make=make, digest=digest, of=of: kit.put(  # type: ignore[misc]
                        make(), filename=f"{size} bytes, SHA-256 of {of}", expected_sha256=digest
                    ),
                )
            stored.append(kit.put(make(), expected_sha256=right))
        stored.append(kit.put(data, expected_sha256=right.upper()))
    for text in ("", "abc", "g" * 64, "0" * 63, "0" * 65, hashlib.md5(b"", usedforsecurity=False).hexdigest()):
        did = f"create(…, expected_sha256={text!r})"
        expect_error(InvalidRequest, did, lambda text=text: kit.put(b"", expected_sha256=text))  # type: ignore[misc]
    _only_listed(kit, stored, "create with an expected_sha256 of other bytes (the filename says), then list")


@check("create.error_means_not_stored")
def error_means_not_stored(kit: Kit) -> None:
    """Every kind of failure, each followed by a create that succeeds; and the backend's own staging."""
    files = [kit.put(b"was here before", filename="kept")]
    data = kit.noise(SIZE)
    attempts: dict[str, Callable[[], FileObject]] = {
        "over max_bytes": lambda: kit.put(OnlyRead(data), "over", max_bytes=SIZE - 1),
        "too short": lambda: kit.put(OnlyRead(data), "short", expected_bytes=SIZE + 1),
        "other bytes": lambda: kit.put(OnlyRead(data), "other", expected_sha256="0" * 64),
        "a source that raises": lambda: kit.put(Dying(data, SIZE, OSError(errno.EIO, "")), "dying"),
        "a source of text": lambda: kit.put(iter([data, "text"]), "text"),
        "a source of nothing known": lambda: kit.put(object(), "object"),
        "metadata that is no JSON": lambda: kit.put(data, "no json", metadata={"x": {1}}),
        "an empty purpose": lambda: kit.put(data, "no purpose", purpose=""),
        "a negative lifetime": lambda: kit.put(data, "negative", expires_after=-1),
    }
    for name, attempt in attempts.items():
        # Other checks verify that it fails; this one verifies the effect of the failure.
        with contextlib.suppress(Exception):
            files.append(attempt())
        files.append(kit.put(data, filename=f"after {name}"))
        expect(kit.store.get_content(files[-1].id), data, f"create({name}), then create, get_content")
    _only_listed(kit, files, "create that fails, then create that works, then list")
    _staging_keeps_its_word(kit, files)


def _staging_keeps_its_word(kit: Kit, files: list[FileObject]) -> None:
    backend = kit.store.backend
    file_id, created_at = DEFAULT_MINTER.mint()
    first, second = (
        FileObject(id=file_id, filename=name, purpose="batch", bytes=size, created_at=created_at)
        for name, size in (("first", 5), ("second", 9))
    )
    with backend.stage(file_id) as staged:
        # Longer than the next data under this id, so that remains of it would be visible after that data.
        staged.write(kit.noise(SIZE))
        # Leaving the block discards a second time, which has no effect.
        staged.discard()
    _only_listed(kit, files, "with backend.stage(id): write, no publish; then list")
    staged = backend.stage(file_id)
    staged.write(b"right")
    # Another attempt at the same upload is still in progress; a storage may also refuse to begin it.
    with contextlib.ExitStack() as others:
        with contextlib.suppress(StorageError):
            others.enter_context(backend.stage(file_id)).write(b"other")
        staged.publish(encode_meta(first))
        staged.discard()
        staged.discard()
        _whole(kit, first, b"right", "backend.stage(id), write, publish, discard")
    _whole(kit, first, b"right", "backend.stage(id) twice, publish the first, discard the second")
    try:
        with backend.stage(file_id) as again:
            again.write(b"the other")
            again.publish(encode_meta(second))
    except Exception:
        _whole(kit, first, b"right", "publish of an id that is taken, which raised")
    else:
        # If the storage cannot detect that the id is taken, publish must at least have done what it reported.
        _whole(kit, second, b"the other", "publish of an id that is taken, which returned")


def _whole(kit: Kit, file: FileObject, data: bytes, did: str) -> None:
    """Raises `Broken` unless the file exists with this metadata and data, and not those of another write; for a new
    handle, and for the one that wrote it.
    """
    for store in (kit.open(), kit.store):
        try:
            expect(store.get(file.id).filename, file.filename, f"{did}; then get(id).filename")
            content = store.get_content(file.id)
        except HoldallError as error:
            raise broken(f"{did}; then get_content(id)", data, error) from error
        expect(content, data, f"{did}; then get_content(id)")


@check("create.limit_refused_while_streaming")
def limit_refused_while_streaming(kit: Kit) -> None:
    """An endless source; a single chunk that is far too large; one byte too many; and exactly the limit."""
    source = _Bounded()
    did = f"create from an endless source, max_bytes={LIMIT}"
    expect_error(FileTooLarge, did, lambda: kit.put(source, "endless", max_bytes=LIMIT))
    if source.given > SOON:
        raise broken(did, f"to stop reading within {SOON} bytes", f"{source.given} bytes were read")
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        while taken <= 2 * SOON:
            taken += 100_000
            yield bytes(100_000)

    did = f"create from an endless iterator, max_bytes={LIMIT}"
    expect_error(FileTooLarge, did, lambda: kit.put(endless(), "endless iterator", max_bytes=LIMIT))
    if taken > SOON:
        raise broken(did, f"to stop reading within {SOON} bytes", f"{taken} bytes were taken")
    stored = []
    for limit in (1, 65_536, LIMIT):
        data = bytes(limit + 1)
        for name, make in kinds_of(data).items():
            did = f"create({limit + 1} bytes from {name}, max_bytes={limit})"
            attempt = lambda make=make, name=name, limit=limit: kit.put(make(), name, max_bytes=limit)  # noqa: E731
            expect_error(FileTooLarge, did, attempt)
        for make in kinds_of(data[:limit]).values():
            stored.append(kit.put(make(), max_bytes=limit))
            expect(stored[-1].bytes, limit, f"create({limit} bytes, max_bytes={limit}).bytes")
    _only_listed(kit, stored, "create of more than max_bytes, then list")
