"""Maintenance of a store: finding damaged files, removing expired ones and leftovers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from holdall._guard import Guard
from holdall._sources import CHUNK_BYTES
from holdall.backend import Backend, Debris
from holdall.errors import CorruptMetadata, FileNotFound, HoldallError, StorageError
from holdall.model import FileObject, decode_meta, has_expired

__all__ = ["DEFAULT_GRACE_SECONDS", "Problem", "SweepReport", "VerifyReport", "sweep_store", "verify_store"]

DEFAULT_GRACE_SECONDS = 3600.0

ProblemKind = Literal["unreadable metadata", "missing data", "wrong size", "wrong sha256", "unreadable data"]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one entry."""

    file_id: str
    kind: ProblemKind
    detail: str
    """A sentence for a person."""


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `FileStore.verify` found."""

    files: int
    """How many entries were checked."""
    bytes: int
    """How many bytes were read."""
    problems: tuple[Problem, ...]
    leftovers: tuple[Debris, ...]
    """Bytes that belong to no entry. They do not count as damage; `sweep` removes them."""
    unread: tuple[str, ...] = ()
    """What could not be examined, each in a sentence for a person; `leftovers` may then lack some."""

    @property
    def ok(self) -> bool:
        """Whether everything could be examined, and no entry is damaged."""
        return not (self.problems or self.unread)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What `FileStore.sweep` removed, or with `dry_run` would have removed."""

    expired: tuple[str, ...]
    """Ids of files that had expired."""
    leftovers: tuple[Debris, ...]
    dry_run: bool


def verify_store(
    backend: Backend,
    name: str,
    *,
    now: float,
    grace_seconds: float,
    on_file: Callable[[str, int], None] | None,
) -> VerifyReport:
    """See `FileStore.verify`. Expired files that are still there are verified too."""
    files = size = 0
    problems: list[Problem] = []
    guard = Guard(name, "verify")
    with guard:
        file_ids = iter(backend.list_ids())
    while True:
        with guard:
            file_id = next(file_ids, None)
        if file_id is None:
            break
        read, problem = _verify_entry(backend, name, file_id)
        if read is None:
            continue
        files += 1
        size += read
        if problem is not None:
            problems.append(problem)
        if on_file is not None:
            # Outside of the guard, because an error of the caller's function is not a storage error.
            on_file(file_id, read)
    leftovers: list[Debris] = []
    unread: tuple[str, ...] = ()
    try:
        with guard:
            for debris in _old_debris(backend, now, grace_seconds):
                leftovers.append(debris)  # noqa: PERF402 - keeps those before an error
    except StorageError as error:
        unread = (str(error),)
    return VerifyReport(files, size, tuple(problems), tuple(leftovers), unread)


def _verify_entry(backend: Backend, name: str, file_id: str) -> tuple[int | None, Problem | None]:
    """The number of bytes read, and the problem found, if any. None bytes if the entry no longer exists."""
    try:
        with Guard(name, "verify", file_id):
            file = decode_meta(backend.read_meta(file_id), file_id)
    except FileNotFound:
        return None, None
    except HoldallError as error:
        return 0, Problem(file_id, "unreadable metadata", str(error))
    try:
        with Guard(name, "verify", file_id):
            size, digest = _hash(backend, file_id)
    except FileNotFound:
        return _verify_without_data(backend, name, file_id)
    except HoldallError as error:
        return 0, Problem(file_id, "unreadable data", str(error))
    return size, _compare(file, size, digest)


def _verify_without_data(backend: Backend, name: str, file_id: str) -> tuple[int | None, Problem | None]:
    """Whether the entry was deleted, or has lost its data."""
    try:
        with Guard(name, "verify", file_id):
            backend.read_meta(file_id)
    except FileNotFound:
        return None, None
    except HoldallError as error:
        return 0, Problem(file_id, "unreadable metadata", str(error))
    return 0, Problem(file_id, "missing data", "the metadata exists, but the data is missing")


def _compare(file: FileObject, size: int, digest: str) -> Problem | None:
    if size != file.bytes:
        return Problem(file.id, "wrong size", f"the data has {size} bytes, the metadata says {file.bytes}")
    if file.sha256 is not None and digest != file.sha256:
        return Problem(file.id, "wrong sha256", f"the data's SHA-256 is {digest}, the metadata says {file.sha256}")
    return None


def _hash(backend: Backend, file_id: str) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    with backend.open_data(file_id) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            size += len(chunk)
            digest.update(chunk)
    return size, digest.hexdigest()


def sweep_store(backend: Backend, name: str, *, now: float, grace_seconds: float, dry_run: bool) -> SweepReport:
    """See `FileStore.sweep`. Corrupt entries are kept: only a person can decide what they were."""
    expired: list[str] = []
    swept: list[Debris] = []
    with Guard(name, "sweep"):
        for file_id in _expired(backend, now):
            if not dry_run:
                try:
                    backend.remove(file_id)
                except FileNotFound:
                    continue  # already removed by another process or thread
            expired.append(file_id)
        for debris in _old_debris(backend, now, grace_seconds):
            if not dry_run:
                backend.discard_debris(debris)
            swept.append(debris)
    return SweepReport(tuple(expired), tuple(swept), dry_run)


def _expired(backend: Backend, now: float) -> Iterator[str]:
    for file_id, raw in backend.read_metas(backend.list_ids()):
        try:
            file = decode_meta(raw, file_id)
        except (CorruptMetadata, FileNotFound):
            continue
        if has_expired(file, now):
            yield file_id


def _old_debris(backend: Backend, now: float, grace_seconds: float) -> Iterator[Debris]:
    return (d for d in backend.debris() if now - d.modified_at >= grace_seconds)
