"""Mutants of the error checks: of all that an error should tell, one thing is missing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tests.conformance.mutants._base import MemoryBackend, mutant

from holdall.errors import CorruptMetadata, FileNotFound, HoldallError, InvalidFileId, StorageError
from holdall.model import FileObject
from holdall.store import FileStore


class _Edits(FileStore):
    """Takes something out of the errors of get."""

    def get(self, file_id: str) -> FileObject:
        try:
            return super().get(file_id)
        except HoldallError as error:
            self.edit(error, file_id)
            raise

    def edit(self, error: HoldallError, file_id: str) -> None:
        raise NotImplementedError


@mutant("errors.name_operation_id_and_backend_and_chain_cause")
class ForgetsTheOperation(_Edits):
    """Says which file and where, and not what was tried."""

    def edit(self, error: HoldallError, file_id: str) -> None:
        error.operation = None


@mutant("errors.name_operation_id_and_backend_and_chain_cause")
class ForgetsTheFile(_Edits):
    """Says what was tried and where, and not on which file."""

    def edit(self, error: HoldallError, file_id: str) -> None:
        error.file_id = None
        error.args = (str(error).replace(file_id, "a file"),)


@mutant("errors.name_operation_id_and_backend_and_chain_cause")
class ForgetsTheStore(_Edits):
    """Says what was tried and on which file, and not in which store."""

    def edit(self, error: HoldallError, file_id: str) -> None:
        error.backend = None
        error.args = (str(error).replace(str(self.url), "the store"),)


class _TextOnly(FileNotFound):
    """Is its text once it is pickled."""

    def __reduce__(self) -> Any:
        return _TextOnly, (str(self),)


@mutant("errors.picklable_and_repr_has_no_secret")
class PicklesTheText(FileStore):
    """From another process, an error comes back as its text, without its fields."""

    def get(self, file_id: str) -> FileObject:
        try:
            return super().get(file_id)
        except FileNotFound as error:
            fields = {"operation": error.operation, "file_id": error.file_id, "backend": error.backend}
            raise _TextOnly(str(error), **fields) from None


@mutant("errors.corrupt_is_not_missing", "errors.one_corrupt_record_does_not_hide_the_others")
class DamageIsAnyFault(FileStore):
    """Damaged metadata is as any fault of the storage: try again later."""

    def get(self, file_id: str) -> FileObject:
        try:
            return super().get(file_id)
        except CorruptMetadata as error:
            fields = {"operation": error.operation, "file_id": error.file_id, "backend": error.backend}
            raise StorageError(str(error), **fields) from error


@mutant("errors.missing_is_FileNotFound_everywhere")
class ShortIdsAreNone(FileStore):
    """Takes an id that is shorter than its own for none."""

    def get(self, file_id: str) -> FileObject:
        try:
            return super().get(file_id)
        except FileNotFound as error:
            if len(file_id) < 7:
                raise InvalidFileId(str(error), operation="get", file_id=file_id) from None
            raise


@mutant("errors.missing_is_FileNotFound_everywhere", "list.delete_during_walk_no_error")
class GapsAreEmpty(MemoryBackend):
    """Many at once are answered in one array, in which what is absent is an empty text."""

    def read_metas(self, file_ids: Iterable[str]) -> Iterator[tuple[str, bytes]]:
        for file_id in file_ids:
            try:
                yield file_id, self.read_meta(file_id)
            except FileNotFound:
                yield file_id, b""
