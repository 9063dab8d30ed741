"""Mutants of the crash checks: what a killed process leaves half done."""

from __future__ import annotations

import ctypes
import dataclasses
import datetime as dt
import os
import shutil
import time
import types
from typing import Any, ClassVar

from tests.conformance.mutants._base import LocalBackend, mutant
from tests.conformance.mutants._disk import DiskMutant, PlainStagedFile

from holdall.backend import Debris
from holdall.errors import StorageError


class _MetadataFirst(PlainStagedFile):
    def publish(self, meta: bytes) -> None:
        self.data.close()
        os.mkdir(self.final)
        self.write_meta(self.final, meta)
        os.rename(os.path.join(self.folder, "data.bin"), os.path.join(self.final, "data.bin"))
        os.rmdir(self.folder)


@mutant("crash.create_killed_anywhere_is_all_or_nothing")
class PublishesMetadataFirst(DiskMutant):
    """The metadata is there a moment before the data."""

    staged = _MetadataFirst


# A client library whose calls no profile function sees: those of ctypes are none of C to Python.
_LIBC = ctypes.CDLL(None)
_CLIENT: Any = types.ModuleType("compiled_client")
vars(_CLIENT).update(c_mkdir=_LIBC.mkdir, c_rename=_LIBC.rename)
exec(  # so that its functions are of another package than ours
    """
def mkdir(path):
    c_mkdir(path, 0o700)
def rename(old, new):
    c_rename(old, new)
""",
    vars(_CLIENT),
)


class _TwoStatements(PlainStagedFile):
    def publish(self, meta: bytes) -> None:
        self.data.close()
        self.write_meta(self.folder, meta)
        folder, final = self.folder.encode(), self.final.encode()
        _CLIENT.mkdir(final)
        _CLIENT.rename(folder + b"/meta.json", final + b"/meta.json")
        _CLIENT.rename(folder + b"/data.bin", final + b"/data.bin")
        os.rmdir(self.folder)


@mutant("crash.create_killed_anywhere_is_all_or_nothing")
class CommitsEachStatement(DiskMutant):
    """Two statements of a compiled client, without a transaction around them."""

    staged = _TwoStatements


class _InPlace(PlainStagedFile):
    def publish(self, meta: bytes) -> None:
        self.data.close()
        os.mkdir(self.final)
        os.rename(os.path.join(self.folder, "data.bin"), os.path.join(self.final, "data.bin"))
        os.rmdir(self.folder)
        with open(os.path.join(self.final, "meta.json"), "xb", buffering=0) as file:
            file.write(meta[:20])
            file.write(meta[20:])


@mutant("crash.create_killed_anywhere_is_all_or_nothing")
class WritesMetadataInPlace(DiskMutant):
    """The metadata is written where it is read, in two parts."""

    staged = _InPlace


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "crash.delete_killed_anywhere_is_all_or_nothing")
class NeverFindsDebris(LocalBackend):
    """What dead processes leave stays for ever."""

    def debris(self) -> Any:
        return iter(())


class _Buffered(PlainStagedFile):
    """Writes through a buffer, and syncs the file without it."""

    def __init__(self, root: str, file_id: str) -> None:
        super().__init__(root, file_id)
        self.data.close()
        self.data = open(os.path.join(self.folder, "data.bin"), "wb")  # type: ignore[assignment]  # noqa: SIM115


class _RenamesBeforeItFlushes(_Buffered):
    def publish(self, meta: bytes) -> None:
        self.sync_data()
        self.write_meta(self.folder, meta)
        self.sync_folder(self.folder)
        os.rename(self.folder, self.final)
        self.data.close()
        self.sync_folder(self.root)


@mutant("crash.create_killed_anywhere_is_all_or_nothing")
class RenamesBeforeItFlushes(DiskMutant):
    """The end of the bytes is in a buffer when the file appears, and is written a moment later."""

    staged = _RenamesBeforeItFlushes


class _LinksBeforeItFlushes(_Buffered):
    def publish(self, meta: bytes) -> None:
        self.sync_data()
        self.write_meta(self.folder, meta)
        os.mkdir(self.final)
        try:
            os.link(os.path.join(self.folder, "data.bin"), os.path.join(self.final, "data.bin"))
            os.rename(os.path.join(self.folder, "meta.json"), os.path.join(self.final, "meta.json"))
            self.data.close()
            os.unlink(os.path.join(self.folder, "data.bin"))
            os.rmdir(self.folder)
            self.sync_folder(self.final)
            self.sync_folder(self.root)
        except BaseException:
            shutil.rmtree(self.final, ignore_errors=True)
            raise


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "durability.fsync_order")
class LinksBeforeItFlushes(DiskMutant):
    """The same by a hard link, whose first name is then removed."""

    staged = _LinksBeforeItFlushes


class _SharedScratch(PlainStagedFile):
    def __init__(self, root: str, file_id: str) -> None:
        super().__init__(root, file_id)
        self.log = os.path.join(root, ".index")

    def publish(self, meta: bytes) -> None:
        ids = self._ids()
        os.truncate(self.log, 0) if os.path.exists(self.log) else None
        super().publish(meta)
        with open(self.log, "w", encoding="utf-8") as file:
            file.write("\n".join([*ids, os.path.basename(self.final)]))

    def _ids(self) -> list[str]:
        try:
            with open(self.log, encoding="utf-8") as file:
                return file.read().split()
        except FileNotFoundError:
            return []


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "crash.delete_killed_anywhere_is_all_or_nothing")
class RewritesItsIndex(DiskMutant):
    """Keeps the ids in a file that is emptied and written again: a kill between loses every other file."""

    staged = _SharedScratch

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        try:
            with open(os.path.join(self._root, ".index"), encoding="utf-8") as file:
                known = set(file.read().split())
        except FileNotFoundError:
            known = set()
        return (i for i in super().list_ids(after, before) if i in known)


@mutant("crash.delete_killed_anywhere_is_all_or_nothing")
class RemovesDataFirst(LocalBackend):
    """A delete that is killed half-way leaves metadata without bytes."""

    def remove(self, file_id: str) -> None:
        self.read_meta(file_id)
        os.unlink(os.path.join(self._root, file_id, "data.bin"))
        os.unlink(os.path.join(self._root, file_id, "meta.json"))
        os.rmdir(os.path.join(self._root, file_id))


@mutant("crash.delete_killed_anywhere_is_all_or_nothing")
class RemovesTheTree(LocalBackend):
    """`rmtree`, in whatever order the directory has."""

    def remove(self, file_id: str) -> None:
        self.read_meta(file_id)
        shutil.rmtree(os.path.join(self._root, file_id))


class _KeepsTheTail(PlainStagedFile):
    def __init__(self, root: str, file_id: str) -> None:
        super().__init__(root, file_id)
        self.size = 0
        self.tail: list[bytes] = []

    def write(self, chunk: Any) -> None:
        self.size += len(chunk)
        if self.size > 1_000_000:
            self.tail.append(bytes(chunk))
        else:
            super().write(chunk)


@mutant("crash.acknowledged_create_is_there")
class WritesTheTailOnClose(DiskMutant):
    """What is over a megabyte stays in memory until the store is closed."""

    staged = _KeepsTheTail

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.pending: list[_KeepsTheTail] = []

    def stage(self, file_id: str) -> Any:
        staged = super().stage(file_id)
        self.pending.append(staged)
        return staged

    def close(self) -> None:
        for staged in self.pending:
            path = os.path.join(staged.final, "data.bin")
            if staged.tail and os.path.exists(path):
                with open(path, "ab") as file:
                    file.writelines(staged.tail)
        self.pending = []
        super().close()


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "crash.delete_killed_anywhere_is_all_or_nothing")
class SweepsEmptyFiles(LocalBackend):
    """Takes a file without bytes for one whose writer died."""

    def debris(self) -> Any:
        yield from super().debris()
        for file_id in self.list_ids():
            if os.path.getsize(os.path.join(self._root, file_id, "data.bin")) == 0:
                yield Debris(f"empty {file_id}", "data without bytes", file_id, 0, modified_at=0)

    def discard_debris(self, debris: Debris) -> None:
        if debris.file_id is not None and debris.name.startswith("empty "):
            shutil.rmtree(os.path.join(self._root, debris.file_id), ignore_errors=True)
        else:
            super().discard_debris(debris)


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "crash.delete_killed_anywhere_is_all_or_nothing")
class ClearsTheWholeScratch(LocalBackend):
    """Clears the place where writes go on when it is asked to take away one leftover in it."""

    def discard_debris(self, debris: Debris) -> None:
        scratch = os.path.join(self._root, ".staging")
        for name in os.listdir(scratch):
            shutil.rmtree(os.path.join(scratch, name), ignore_errors=True)


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "crash.delete_killed_anywhere_is_all_or_nothing")
class LeftoverMustBeThere(LocalBackend):
    """A leftover that somebody else has taken away already is an error."""

    def discard_debris(self, debris: Debris) -> None:
        if not os.path.lexists(os.path.join(self._root, debris.name)):
            raise StorageError("there is no such leftover")
        super().discard_debris(debris)


class _Misdescribes(LocalBackend):
    """Tells of leftovers what is not so."""

    told: ClassVar[dict[str, Any]] = {}

    def debris(self) -> Any:
        for debris in super().debris():
            yield dataclasses.replace(debris, **self.told)


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "crash.delete_killed_anywhere_is_all_or_nothing")
class LeftoversAreAlwaysNew(_Misdescribes):
    """Every leftover changed just now: none ever gets old enough for a sweep."""

    @property
    def told(self) -> dict[str, Any]:
        return {"modified_at": time.time()}


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "crash.delete_killed_anywhere_is_all_or_nothing")
class LeftoversAreAlwaysOld(_Misdescribes):
    """No leftover is too young for a sweep, which then takes what another machine is writing."""

    told: ClassVar[dict[str, Any]] = {"modified_at": 0.0}


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "crash.delete_killed_anywhere_is_all_or_nothing")
class LeftoversInMilliseconds(_Misdescribes):
    """The time of a leftover in another unit."""

    @property
    def told(self) -> dict[str, Any]:
        return {"modified_at": time.time() // 60 * 60_000}


@mutant("crash.create_killed_anywhere_is_all_or_nothing")
class LeftoversTakeNoSpace(_Misdescribes):
    """An unfinished write of any length is 0 bytes."""

    told: ClassVar[dict[str, Any]] = {"bytes": 0}


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "crash.delete_killed_anywhere_is_all_or_nothing")
class LeftoversInLocalTime(LocalBackend):
    """Takes a time in UTC that does not say so for one of the place where it runs."""

    def debris(self) -> Any:
        for debris in super().debris():
            naive = dt.datetime.fromtimestamp(debris.modified_at, dt.UTC).replace(tzinfo=None)
            yield dataclasses.replace(debris, modified_at=naive.timestamp())


@mutant("crash.create_killed_anywhere_is_all_or_nothing", "crash.delete_killed_anywhere_is_all_or_nothing")
class LeftoversOfTheNextZone(LocalBackend):
    """The time of a leftover by a clock that is an hour behind: old enough for a sweep as soon as it is written."""

    def debris(self) -> Any:
        for debris in super().debris():
            yield dataclasses.replace(debris, modified_at=debris.modified_at - 3600)
