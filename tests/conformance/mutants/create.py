"""Mutants of the create checks: what was stored is answered wrongly, equal files are one, sources are maltreated."""

from __future__ import annotations

import calendar
import datetime as dt
import hashlib
import io
import itertools
import json
import mimetypes
import time
from typing import Any

from tests.conformance.mutants._base import MemoryBackend, StagedWrapper, mutant

from holdall.errors import FileNotFound
from holdall.model import FileObject, FilePurpose
from holdall.store import FileStore


class _Answers(FileStore):
    """Answers create with other than was stored."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        file = super().create(filename, data, **options)
        return file.model_copy(update=self.change(file))

    def change(self, file: FileObject) -> dict[str, Any]:
        raise NotImplementedError


@mutant("create.returns_complete_info")
class ForgetsContentType(_Answers):
    """Answers without the content type; get has it."""

    def change(self, _: FileObject) -> dict[str, Any]:
        return {"content_type": None}


class _DropsExpiry(StagedWrapper):
    def publish(self, meta: bytes) -> None:
        document = json.loads(meta)
        document.pop("expires_at", None)
        self.inner.publish(json.dumps(document).encode())


@mutant("create.returns_complete_info")
class DropsExpiry(MemoryBackend):
    """Keeps those fields of the metadata document that it knows."""

    def stage(self, file_id: str) -> Any:
        return _DropsExpiry(super().stage(file_id))


@mutant("create.checksum_matches")
class HashesFirstChunk(_Answers):
    """Hashes what came first."""

    def change(self, file: FileObject) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(self.get_content(file.id)[:65_536]).hexdigest()}


class _FlipsBit(StagedWrapper):
    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.size = 0

    def write(self, chunk: Any) -> None:
        chunk = bytearray(chunk)
        if self.size < 65_537 <= self.size + len(chunk) and self.size + len(chunk) < 200_000:
            chunk[65_536 - self.size] ^= 1
        self.size += len(chunk)
        self.inner.write(chunk)


@mutant("create.checksum_matches")
class FlipsBit(MemoryBackend):
    """Damages a file of 65 537 bytes on its way."""

    def stage(self, file_id: str) -> Any:
        return _FlipsBit(super().stage(file_id))


@mutant("create.same_bytes_two_ids", "delete.only_that_one")
class SharesContent(MemoryBackend):
    """Keeps equal contents once, and deletes them with the first file that had them."""

    def remove(self, file_id: str) -> None:
        space = self._space
        data = space.entries[file_id][1] if file_id in space.entries else None
        super().remove(file_id)
        for other, (meta, content) in list(space.entries.items()):
            if content is not None and content == data:
                space.entries[other] = (meta, None)  # type: ignore[assignment]

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        if file_id in self._space.entries and self._space.entries[file_id][1] is None:
            raise FileNotFound("the content is gone")
        return super().open_data(file_id, start, stop)


@mutant("create.same_bytes_two_ids")
class KnowsTheBytes(FileStore):
    """Answers a second upload of the same large content with the first file."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        file = super().create(filename, data, **options)
        if options.get("metadata") == {"same": 1}:
            for other in self.list():
                if other.sha256 == file.sha256 and other.id != file.id and other.metadata == file.metadata:
                    self.delete(file.id)
                    return other
        return file


@mutant("create.does_not_close_or_rewind_source")
class ClosesSource(FileStore):
    """Closes what it was given."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        try:
            return super().create(filename, data, **options)
        finally:
            if hasattr(data, "close"):
                data.close()


@mutant("create.does_not_close_or_rewind_source")
class RewindsSource(FileStore):
    """Begins at the beginning."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        if hasattr(data, "seek"):
            data.seek(0)
        return super().create(filename, data, **options)


class _HoldsViews(StagedWrapper):
    held: tuple[Any, ...] = ()

    def write(self, chunk: Any) -> None:
        type(self).held = (*self.held[-3:], memoryview(chunk))
        self.inner.write(chunk)


@mutant("create.does_not_close_or_rewind_source")
class HoldsViews(MemoryBackend):
    """Holds on to the caller's memory."""

    def stage(self, file_id: str) -> Any:
        return _HoldsViews(super().stage(file_id))


@mutant("create.created_at_is_utc_and_monotone_enough")
class LocalTime(FileStore):
    """Counts its seconds in local time."""

    def __init__(self, backend: Any, **options: Any) -> None:
        super().__init__(backend, clock=lambda: calendar.timegm(time.localtime()), **options)


@mutant("create.created_at_is_utc_and_monotone_enough")
class OwnClocks(FileStore):
    """Has a clock a handle, and every other is two seconds slow."""

    _numbers = itertools.count()

    def __init__(self, backend: Any, **options: Any) -> None:
        slow = 2 * (next(self._numbers) % 2)
        super().__init__(backend, clock=lambda: time.time() - slow, **options)


@mutant("create.checksum_matches")
class HashesFirstMebibyte(_Answers):
    """Hashes the first part of an upload in parts."""

    def change(self, file: FileObject) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(self.get_content(file.id)[: 1024 * 1024]).hexdigest()}


@mutant("create.returns_complete_info")
class LosesDaysOfALifetime(FileStore):
    """Takes the seconds of a timedelta, which are what is left over of its days."""

    def create(self, filename: str, data: Any, *, expires_after: Any = None, **options: Any) -> FileObject:
        if isinstance(expires_after, dt.timedelta):
            expires_after = expires_after.seconds
        return super().create(filename, data, expires_after=expires_after, **options)


@mutant("create.returns_complete_info")
class GuessesContentType(FileStore):
    """Fills in a content type that nobody gave, from the end of the name."""

    def create(self, filename: str, data: Any, *, content_type: str | None = None, **options: Any) -> FileObject:
        guessed = content_type or mimetypes.guess_type(filename)[0]
        return super().create(filename, data, content_type=guessed, **options)


@mutant("create.same_bytes_two_ids")
class ComparesTheEnds(MemoryBackend):
    """Files of one size that begin and end alike are taken for the same."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        data = self._entry(file_id)[1]
        for _, other in list(self._space.entries.values()):
            if len(other) == len(data) and (other[:1000], other[-1000:]) == (data[:1000], data[-1000:]):
                return io.BytesIO(other[start:stop])
        return super().open_data(file_id, start, stop)


class _Forgets(StagedWrapper):
    def publish(self, meta: bytes) -> None:
        document = json.loads(meta)
        document.pop("sha256", None)
        self.inner.publish(json.dumps(document).encode())


@mutant("create.checksum_matches", "create.returns_complete_info")
class ForgetsTheChecksum(MemoryBackend):
    """Answers the checksum once, and keeps no column for it."""

    def stage(self, file_id: str) -> Any:
        return _Forgets(super().stage(file_id))


@mutant("create.checksum_matches", "create.returns_complete_info")
class NothingHasNoChecksum(_Answers):
    """Takes an empty file for one whose checksum is not known."""

    def change(self, file: FileObject) -> dict[str, Any]:
        return {"sha256": file.sha256 if file.bytes else None}


@mutant("create.returns_complete_info")
class SecuresTheName(FileStore):
    """Replaces the spaces of a filename before it is stored."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        return super().create(filename.replace(" ", "_"), data, **options)


@mutant("create.returns_complete_info")
class KnowsItsPurposes(FileStore):
    """Stores what has a purpose that it does not know under another."""

    def create(self, filename: str, data: Any, *, purpose: Any, **options: Any) -> FileObject:
        known = purpose in set(FilePurpose)
        return super().create(filename, data, purpose=purpose if known else "user_data", **options)


@mutant("create.does_not_close_or_rewind_source")
class ClosesAfterAnError(FileStore):
    """Closes what it could not store."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        try:
            return super().create(filename, data, **options)
        except Exception:
            if hasattr(data, "close"):
                data.close()
            raise


def _on_disk(data: Any) -> bool:
    try:
        data.fileno()
    except (AttributeError, OSError):
        return False
    return True


@mutant("create.does_not_close_or_rewind_source")
class SendsFilesWhole(FileStore):
    """Lets the system send a file on disk: all of it."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        if _on_disk(data):
            data.seek(0)
        return super().create(filename, data, **options)


@mutant("create.does_not_close_or_rewind_source")
class ClosesFilesOnDisk(FileStore):
    """Takes a descriptor for its own."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        file = super().create(filename, data, **options)
        if _on_disk(data):
            data.close()
        return file


@mutant("create.does_not_close_or_rewind_source")
class PutsFilesBack(FileStore):
    """Sets a source back to where it stood."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        if not _on_disk(data):
            return super().create(filename, data, **options)
        at = data.tell()
        file = super().create(filename, data, **options)
        data.seek(at)
        return file


@mutant("create.created_at_is_utc_and_monotone_enough", "create.returns_complete_info")
class TimeOfAsking(FileStore):
    """Has no time of its own for a file, and answers get with the time of day."""

    def get(self, file_id: str) -> FileObject:
        return super().get(file_id).model_copy(update={"created_at": int(time.time()) + 1})


@mutant("create.created_at_is_utc_and_monotone_enough")
class ListsTimesOfAccess(FileStore):
    """Lists the time at which a file was read last."""

    def list(self, **options: Any) -> Any:
        page = super().list(**options)
        now = int(time.time())
        return page.model_copy(update={"data": [f.model_copy(update={"created_at": now}) for f in page.data]})
