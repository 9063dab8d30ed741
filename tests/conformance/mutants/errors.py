"""Mutants of the error checks: faults that look like absence, absence that looks like a fault, secrets told."""

from __future__ import annotations

import io
import json
import threading
from typing import Any, ClassVar

from tests.conformance.mutants._base import MUTANTS, LocalBackend, MemoryBackend, MutantTarget, mutant

from holdall.conformance import Target
from holdall.errors import (
    CorruptMetadata,
    FileNotFound,
    HoldallError,
    IntegrityError,
    StorageError,
)
from holdall.model import FileObject, FilePage
from holdall.store import FileStore


@mutant(
    "errors.missing_is_FileNotFound_everywhere",
    "errors.FileNotFound_is_also_FileNotFoundError",
    "errors.corrupt_is_not_missing",
)
class LetsKeyErrorOut(MemoryBackend):
    """The dictionary's own error for what is not there: to the store, a failing storage."""

    def _entry(self, file_id: str) -> tuple[bytes, bytes]:
        return self._space.entries[file_id]


@mutant("errors.missing_is_FileNotFound_everywhere")
class EmptyBytesForAbsent(MemoryBackend):
    """The bytes of what is not there are none."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        try:
            return super().open_data(file_id, start, stop)
        except FileNotFound:
            return io.BytesIO()


@mutant("errors.missing_is_FileNotFound_everywhere")
class EmptyRangeOfAbsent(FileStore):
    """An empty range needs no look at the storage."""

    def get_content(self, file_id: str, start: int = 0, stop: int | None = None) -> bytes:
        return b"" if start == stop == 0 else super().get_content(file_id, start, stop)


@mutant("errors.missing_is_FileNotFound_everywhere")
class FindsByPrefix(MemoryBackend):
    """The first entry whose name begins with the id will do."""

    def read_meta(self, file_id: str) -> bytes:
        found = next((i for i in self._space.ids if i.startswith(file_id)), file_id)
        return super().read_meta(found)


@mutant("errors.missing_is_FileNotFound_everywhere")
class RemoveNeverFails(MemoryBackend):
    """Removing what is not there does nothing."""

    def remove(self, file_id: str) -> None:
        if file_id in self._space.entries:
            super().remove(file_id)


class _Gone(FileNotFound):
    """An error of the backend's own, without the number."""

    def __init__(self, message: str) -> None:
        HoldallError.__init__(self, message)


@mutant("errors.FileNotFound_is_also_FileNotFoundError")
class OwnErrorWithoutErrno(MemoryBackend):
    """Its own class of FileNotFound, which forgets `errno`."""

    def _entry(self, file_id: str) -> tuple[bytes, bytes]:
        try:
            return super()._entry(file_id)
        except FileNotFound as error:
            raise _Gone(str(error)) from None


@mutant("errors.FileNotFound_is_also_FileNotFoundError", "errors.missing_is_FileNotFound_everywhere")
class OwnErrorOfDelete(FileStore):
    """Deleting what is not there is a wrong request."""

    def delete(self, file_id: str) -> None:
        try:
            super().delete(file_id)
        except FileNotFound as error:
            if isinstance(error, ValueError) or "expired" in str(error):
                raise
            raise StorageError(str(error), operation="delete", file_id=file_id, backend="here") from error


@mutant("errors.corrupt_is_not_missing")
class UnreadableIsAbsent(MemoryBackend):
    """Metadata that is no JSON object is taken for none."""

    def read_meta(self, file_id: str) -> bytes:
        meta = super().read_meta(file_id)
        try:
            assert isinstance(json.loads(meta), dict)
        except (ValueError, AssertionError):
            raise FileNotFound(f"no metadata of {file_id}") from None
        return meta


@mutant("errors.corrupt_is_not_missing")
class EmptyIsAbsent(MemoryBackend):
    """`if not meta`."""

    def read_meta(self, file_id: str) -> bytes:
        meta = super().read_meta(file_id)
        if not meta:
            raise FileNotFound(f"no metadata of {file_id}")
        return meta


@mutant("errors.corrupt_is_not_missing")
class CorruptCannotBeDeleted(FileStore):
    """What cannot be read cannot be deleted either."""

    def delete(self, file_id: str) -> None:
        self.get(file_id)
        super().delete(file_id)


@mutant("errors.one_corrupt_record_does_not_hide_the_others")
class ListingReadsStrictly(FileStore):
    """A damaged entry fails the listing."""

    def list(self, **options: Any) -> FilePage:
        for file_id in self.backend.list_ids():
            self._get(file_id, "list")
        return super().list(**options)


@mutant("errors.one_corrupt_record_does_not_hide_the_others")
class ListingEndsAtDamage(MemoryBackend):
    """The listing ends where it meets a damaged entry."""

    def read_metas(self, file_ids: Any) -> Any:
        for file_id, meta in super().read_metas(file_ids):
            if not meta.startswith(b"{\n"):
                return
            yield file_id, meta


@mutant("errors.truncated_bytes_detected_on_read")
class PadsWithZeros(MemoryBackend):
    """What is missing at the end is filled up with zeros."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        data = super().open_data(file_id, start, stop).read()
        return io.BytesIO(data.ljust((stop or 0) - start, b"\0"))


@mutant("errors.truncated_bytes_detected_on_read", base=LocalBackend)
class ShortIsShort(FileStore):
    """Delivers what there is."""

    def get_content(self, file_id: str, start: int = 0, stop: int | None = None) -> bytes:
        try:
            return super().get_content(file_id, start, stop)
        except IntegrityError:
            with self.backend.open_data(file_id, start, stop) as stream:
                return stream.read()


@mutant("errors.truncated_bytes_detected_on_read")
class DamageIsAbsence(FileStore):
    """A stream that ends early is a file that is not there."""

    def open(self, file_id: str) -> Any:
        stream = super().open(file_id)
        try:
            data = stream.read()
        except IntegrityError:
            raise FileNotFound(f"{file_id} is incomplete", file_id=file_id, operation="open", backend="x") from None
        return io.BytesIO(data)


@mutant("errors.name_operation_id_and_backend_and_chain_cause")
class SaysNothing(FileStore):
    """An error without a word about what it was."""

    def get(self, file_id: str) -> FileObject:
        try:
            return super().get(file_id)
        except FileNotFound as error:
            if isinstance(error, ValueError):
                raise
            raise FileNotFound("not found") from error


@mutant("errors.name_operation_id_and_backend_and_chain_cause")
class DropsTheCause(FileStore):
    """The storage's own error is lost."""

    def get(self, file_id: str) -> FileObject:
        try:
            return super().get(file_id)
        except StorageError as error:
            error.__cause__ = None
            raise


class _Locked(FileNotFound):
    def __init__(self, message: str, **context: Any) -> None:
        super().__init__(message, **context)
        self.client = threading.Lock()


@mutant("errors.picklable_and_repr_has_no_secret")
class ErrorHoldsTheClient(MemoryBackend):
    """An error that carries the connection."""

    def _entry(self, file_id: str) -> tuple[bytes, bytes]:
        try:
            return super()._entry(file_id)
        except FileNotFound as error:
            raise _Locked(str(error), file_id=file_id) from None


class _TwoArguments(FileNotFound):
    def __init__(self, file_id: str, place: str) -> None:
        super().__init__(f"{file_id} is not in {place}", file_id=file_id)


@mutant("errors.picklable_and_repr_has_no_secret")
class ErrorOfTwoArguments(MemoryBackend):
    """An error that cannot be made again from its text."""

    def _entry(self, file_id: str) -> tuple[bytes, bytes]:
        try:
            return super()._entry(file_id)
        except FileNotFound:
            raise _TwoArguments(file_id, "memory") from None


class _WithToken(MemoryBackend):
    """A memory backend that takes a token."""

    class Options(MemoryBackend.Options):
        """One secret."""

        token: str = ""

    @classmethod
    def from_url(cls, url: Any, options: Any) -> Any:
        backend = super().from_url(url, options)
        backend.token = options.token
        return backend


def _token_target(name: str) -> Any:
    def make(_: str) -> Target:
        return MutantTarget("memory://mutants?token=a-secret-token", MUTANTS[name])

    return make


@mutant("errors.picklable_and_repr_has_no_secret", target=_token_target("TellsTheToken"))
class TellsTheToken(_WithToken):
    """The token stands in the text of an error."""

    def _entry(self, file_id: str) -> tuple[bytes, bytes]:
        try:
            return super()._entry(file_id)
        except FileNotFound:
            raise FileNotFound(f"no {file_id} with token {self.token}", file_id=file_id) from None


class DeniesRaw:
    """Raw access that can do nothing but deny an entry, which the backends here honour."""

    denied: ClassVar[set[str]] = set()

    def __getattr__(self, name: str) -> Any:
        raise NotImplementedError(name)

    def deny(self, file_id: str) -> None:
        self.denied.add(file_id)

    def allow(self, file_id: str) -> None:
        self.denied.discard(file_id)


def _denying_target(name: str) -> Any:
    class Denying(MutantTarget):
        raw: Any = DeniesRaw()

    return lambda url: Denying(url, MUTANTS[name])


class _Private(MemoryBackend):
    """Refuses what raw access denied, as a file system does."""

    def _entry(self, file_id: str) -> tuple[bytes, bytes]:
        if file_id in DeniesRaw.denied:
            raise self.refusal(file_id)
        return super()._entry(file_id)


@mutant("errors.permission_is_not_missing", target=_denying_target("DeniedIsAbsent"))
class DeniedIsAbsent(_Private):
    """Every error of the storage means that there is nothing."""

    def refusal(self, file_id: str) -> Exception:
        return FileNotFound(f"cannot find {file_id}", file_id=file_id)


@mutant("errors.permission_is_not_missing", target=_denying_target("DeniedIsSomeFault"))
class DeniedIsSomeFault(_Private):
    """A refusal is a failure like any other."""

    def refusal(self, file_id: str) -> Exception:
        return StorageError(f"cannot read {file_id}", file_id=file_id)


@mutant("errors.permission_is_not_missing", target=_denying_target("DeniedIsDamaged"))
class DeniedIsDamaged(_Private):
    """What cannot be read is damaged."""

    def refusal(self, file_id: str) -> Exception:
        return CorruptMetadata(f"cannot read {file_id}", file_id=file_id)


@mutant("errors.use_after_close", "errors.one_corrupt_record_does_not_hide_the_others")
class ClosesForAll(MemoryBackend):
    """Closing one handle closes what all of them use."""

    def close(self) -> None:
        self._space.entries = {}
        self._space.ids = []


@mutant("errors.use_after_close")
class ClosesOnce(MemoryBackend):
    """Closing a second time is an error."""

    def close(self) -> None:
        del self._open

    _open = True

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._open = True


@mutant("errors.use_after_close")
class WorksAfterClose(FileStore):
    """A closed store still lists."""

    def list(self, **options: Any) -> FilePage:
        self._closed, closed = False, self._closed
        try:
            return super().list(**options)
        finally:
            self._closed = closed


@mutant("errors.use_after_close")
class ReadsBeforeItLooks(FileStore):
    """Takes the source before it sees that the store is closed."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        if hasattr(data, "read"):
            data = data.read()
        return super().create(filename, data, **options)
