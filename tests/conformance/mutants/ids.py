"""Mutants of the id checks: guessable ids, ids that lead elsewhere, names that become paths."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import time
import unicodedata
import uuid
from collections.abc import Callable
from typing import Any, ClassVar

from tests.conformance.mutants._base import LocalBackend, MemoryBackend, StagedWrapper, mutant

from holdall.backend import Debris
from holdall.errors import FileNotFound, InvalidFileId, StorageError
from holdall.model import FileObject
from holdall.store import FileStore


class _Mints(FileStore):
    """Mints ids of its own."""

    def __init__(self, backend: Any, **options: Any) -> None:
        super().__init__(backend, **options)
        self._minter = self  # type: ignore[assignment]

    def mint(self) -> tuple[str, int]:
        return self.new_id(), int(time.time())

    def new_id(self) -> str:
        raise NotImplementedError


@mutant("ids.entropy_and_no_loss")
class TwentyFourBits(_Mints):
    """Takes three random bytes for enough."""

    def new_id(self) -> str:
        # One byte of the clock keeps this mutant from losing files by chance.
        return f"file-{uuid.UUID(int=int.from_bytes(os.urandom(3)) << 8 | time.monotonic_ns() & 0xFF).hex}"


@mutant("ids.entropy_and_no_loss")
class CountsUp(_Mints):
    """Numbers its files."""

    _numbers = itertools.count(10**9)

    def new_id(self) -> str:
        return f"file-{next(self._numbers):032x}"


class _Lost(StagedWrapper):
    def publish(self, meta: bytes) -> None:
        self.inner.discard()


@mutant("ids.entropy_and_no_loss")
class LosesSome(MemoryBackend):
    """Loses every 120th file."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._numbers = itertools.count(1)

    def stage(self, file_id: str) -> Any:
        staged = super().stage(file_id)
        return _Lost(staged) if next(self._numbers) % 120 == 0 else staged


@mutant("ids.match_published_pattern")
class DashedIds(_Mints):
    """Writes its ids as UUIDs are written elsewhere."""

    def new_id(self) -> str:
        return f"file-{uuid.uuid4()}"


@mutant("ids.match_published_pattern")
class MixedCaseIds(_Mints):
    """Mints ids as OpenAI does."""

    def new_id(self) -> str:
        return f"file-{uuid.uuid4().hex[:30]}Zz"


class _Reads(FileStore):
    """Reads ids its own way."""

    def _get(self, file_id: Any, operation: str) -> FileObject:
        return super()._get(self.understood(file_id), operation)

    def understood(self, file_id: Any) -> Any:
        raise NotImplementedError


@mutant("ids.hostile_rejected_everywhere", "ids.unicode_lookalike_rejected")
class StripsIds(_Reads):
    """Forgives white space."""

    def understood(self, file_id: Any) -> Any:
        return file_id.strip() if isinstance(file_id, str) else file_id


@mutant("ids.hostile_rejected_everywhere")
class AllowsLineBreak(_Reads):
    """Checks its ids with a pattern that ends in a dollar sign."""

    def understood(self, file_id: Any) -> Any:
        return file_id.removesuffix("\n") if isinstance(file_id, str) else file_id


@mutant("ids.hostile_rejected_everywhere", "ids.unicode_lookalike_rejected")
class SecondDoor(FileStore):
    """Deletes without looking at the id."""

    def delete(self, file_id: str) -> None:
        self.backend.remove(file_id)


@mutant("ids.hostile_rejected_everywhere")
class AnyCursor(FileStore):
    """Begins at the beginning if it does not understand a cursor."""

    def list(self, *, after: Any = None, **options: Any) -> Any:
        try:
            return super().list(after=after, **options)
        except ValueError:
            return super().list(**options)


@mutant("ids.hostile_rejected_everywhere", "ids.unicode_lookalike_rejected")
class SaysMissing(FileStore):
    """Asks its backend for whatever it is given."""

    def get(self, file_id: str) -> FileObject:
        try:
            return super().get(file_id)
        except InvalidFileId:
            self.backend.read_meta(file_id)
            raise


@mutant("ids.hostile_rejected_everywhere", "ids.case_variant_is_not_the_file")
class LowersIds(_Reads):
    """Takes ids in any case."""

    def understood(self, file_id: Any) -> Any:
        return file_id.lower() if isinstance(file_id, str) else file_id


@mutant("ids.case_variant_is_not_the_file")
class FoldsKeys(MemoryBackend):
    """Has a storage that does not tell capitals from small letters."""

    def read_meta(self, file_id: str) -> bytes:
        return super().read_meta(self._actual(file_id))

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        return super().open_data(self._actual(file_id), start, stop)

    def remove(self, file_id: str) -> None:
        super().remove(self._actual(file_id))

    def _actual(self, file_id: str) -> str:
        return next((i for i in self.list_ids() if i.lower() == file_id.lower()), file_id)


@mutant("ids.unicode_lookalike_rejected")
class NormalisesIds(_Reads):
    """Brings ids into the usual form."""

    def understood(self, file_id: Any) -> Any:
        return unicodedata.normalize("NFKC", file_id) if isinstance(file_id, str) else file_id


@mutant("ids.unicode_lookalike_rejected")
class DropsMarks(_Reads):
    """Leaves out what cannot be seen."""

    def understood(self, file_id: Any) -> Any:
        if not isinstance(file_id, str):
            return file_id
        return "".join(c for c in file_id if unicodedata.category(c) != "Cf")


@mutant("ids.symlink_in_root_not_followed")
class FollowsLinks(LocalBackend):
    """Opens paths."""

    def read_meta(self, file_id: str) -> bytes:
        try:
            with open(os.path.join(self._root, file_id, "meta.json"), "rb") as file:
                return file.read()
        except FileNotFoundError:
            raise FileNotFound(file_id) from None
        except NotADirectoryError:
            raise FileNotFound(file_id) from None

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        self.read_meta(file_id)
        return _opened(os.path.join(self._root, file_id, "data.bin"), start)


def _opened(path: str, start: int) -> Any:
    stream = open(path, "rb")  # noqa: SIM115 - the store closes it
    stream.seek(start)
    return stream


@mutant("ids.symlink_in_root_not_followed")
class FollowsFileLinks(LocalBackend):
    """Looks at the entry's directory for links, and not at what is in it."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        super().read_meta(file_id)
        return _opened(os.path.join(self._root, file_id, "data.bin"), start)


@mutant("ids.symlink_in_root_not_followed")
class DeletesThroughLinks(LocalBackend):
    """Empties the directory that an entry leads to."""

    def remove(self, file_id: str) -> None:
        path = os.path.join(self._root, file_id)
        if not os.path.isdir(path):
            raise FileNotFound(file_id)
        shutil.rmtree(os.path.realpath(path))

    def read_meta(self, file_id: str) -> bytes:
        if os.path.islink(os.path.join(self._root, file_id)):
            return b""
        return super().read_meta(file_id)


class _Names(FileStore):
    """Does something with filenames."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        return super().create(self.name(filename), data, **options)

    def name(self, filename: str) -> str:
        raise NotImplementedError


class _KeepsNames(FileStore):
    """Writes an empty file by the name of each upload."""

    where: Callable[[str, str], str]

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        if "holdall-" in filename:
            with contextlib.suppress(OSError, ValueError), open(self.where(self.backend._root, filename), "wb"):  # type: ignore[attr-defined]
                pass
        return super().create(filename, data, **options)


@mutant("ids.filename_never_becomes_a_path", base=LocalBackend)
class NamesFromRoot(_KeepsNames):
    """Keeps uploads below its root by their names."""

    where = staticmethod(os.path.join)


@mutant("ids.filename_never_becomes_a_path", base=LocalBackend)
class NamesBelowRoot(_KeepsNames):
    """Strips what leads a path to the top, and not what leads it up."""

    where = staticmethod(lambda root, name: os.path.join(root, name.lstrip("/")))


@mutant("ids.filename_never_becomes_a_path")
class SanitisesNames(_Names):
    """Makes names safe to be paths."""

    def name(self, filename: str) -> str:
        return os.path.basename(filename) or "unnamed"


@mutant("ids.filename_never_becomes_a_path")
class NameIsTheKey(FileStore):
    """Replaces a file of the same name."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        same = [f.id for f in self if f.filename == filename and "/" in filename]
        file = super().create(filename, data, **options)
        for file_id in same:
            self.delete(file_id)
        return file


@mutant("ids.never_reused_after_delete")
class ReusesIds(_Mints):
    """Gives the id of a deleted file to the next one."""

    _free: ClassVar[dict[str, list[str]]] = {}

    def new_id(self) -> str:
        free = self._free.get(str(self.url))
        return free.pop() if free else f"file-{uuid.uuid4().hex}"

    def delete(self, file_id: str) -> None:
        super().delete(file_id)
        self._free.setdefault(str(self.url), []).append(file_id)


@mutant("ids.never_reused_after_delete", "ids.entropy_and_no_loss")
class NextAfterLast(_Mints):
    """Counts on from the greatest id that is there."""

    def new_id(self) -> str:
        greatest = max((int(i[5:], 16) for i in self.backend.list_ids() if len(i) == 37), default=10**9)
        return f"file-{greatest + 1:032x}"


@mutant("ids.foreign_entries_ignored")
class FailsOnStrangers(LocalBackend):
    """Knows everything that can be in its root."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        for name in os.listdir(self._root):
            if not name.startswith(("file-", ".staging")):
                raise StorageError(f"what is {name}?")
        return super().list_ids(after, before)


@mutant("ids.foreign_entries_ignored")
class ListsOrphans(LocalBackend):
    """Takes bytes for a file."""

    def read_meta(self, file_id: str) -> bytes:
        try:
            return super().read_meta(file_id)
        except FileNotFound:
            path = os.path.join(self._root, file_id)
            if os.path.islink(path) or not os.path.isfile(os.path.join(path, "data.bin")):
                raise
            return f'{{"id":"{file_id}","filename":"?","purpose":"batch","bytes":1,"created_at":1}}'.encode()


@mutant("ids.foreign_entries_ignored", "url.roundtrip")
class SweepsStrangers(LocalBackend):
    """Takes for a leftover whatever is no entry."""

    def debris(self) -> Any:
        yield from super().debris()
        entries = set(self.list_ids())
        for name in os.listdir(self._root):
            if name != ".staging" and name not in entries:
                yield Debris(f"stray {name}", "stray file", None, 0, modified_at=0)

    def discard_debris(self, debris: Debris) -> None:
        kind, _, name = debris.name.partition(" ")
        if kind != "stray":
            super().discard_debris(debris)
        elif os.path.isdir(path := os.path.join(self._root, name)):
            shutil.rmtree(path)
        else:
            os.unlink(path)
