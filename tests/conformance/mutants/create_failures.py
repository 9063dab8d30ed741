"""Mutants of the create checks: what failed is stored, or stays behind, or fails with another error, or does not fail."""

from __future__ import annotations

import os
import sys
from typing import Any

from tests.conformance.mutants._base import LocalBackend, MemoryBackend, StagedWrapper, mutant

from holdall.errors import FileNotFound, FileTooLarge, HoldallError, IntegrityError, StorageError
from holdall.model import FileObject, encode_meta
from holdall.store import FileStore

PUBLISHES_FAILED = (
    "create.source_error_leaves_nothing",
    "create.base_exception_cleans_up",
    "create.declared_size_enforced",
    "create.declared_checksum_enforced",
    "create.error_means_not_stored",
    "create.limit_refused_while_streaming",
)


class _ClosePublishes(StagedWrapper):
    """A handle whose close makes an object of what was written, as those of object stores do."""

    def __init__(self, inner: Any, file_id: str) -> None:
        super().__init__(inner)
        self.file_id, self.size, self.done = file_id, 0, False

    def write(self, chunk: Any) -> None:
        self.size += len(chunk)
        self.inner.write(chunk)

    def publish(self, meta: bytes) -> None:
        self.done = True
        self.inner.publish(meta)

    def wanted(self) -> bool:
        return True

    def discard(self) -> None:
        if not self.done and self.wanted():
            file = FileObject(id=self.file_id, filename="?", purpose="batch", bytes=self.size, created_at=1)
            self.publish(encode_meta(file))


@mutant(*PUBLISHES_FAILED)
class ClosePublishes(MemoryBackend):
    """Closes the handle of a failed upload, which publishes it."""

    def stage(self, file_id: str) -> Any:
        return _ClosePublishes(super().stage(file_id), file_id)


class _LargeClosePublishes(_ClosePublishes):
    def wanted(self) -> bool:
        return self.size == 300_000


@mutant(
    "create.source_error_leaves_nothing",
    "create.base_exception_cleans_up",
    "create.declared_size_enforced",
    "create.declared_checksum_enforced",
    "create.error_means_not_stored",
)
class CompleteIsGood(MemoryBackend):
    """Publishes on discard if the last full part has arrived."""

    def stage(self, file_id: str) -> Any:
        return _LargeClosePublishes(super().stage(file_id), file_id)


def _read_until_error(data: Any) -> Any:
    chunks = iter(lambda: data.read(65_536), b"") if hasattr(data, "read") else iter(data)
    while True:
        try:
            yield next(chunks)
        except StopIteration:
            return
        except OSError:
            return


@mutant(
    "create.source_error_leaves_nothing",
    "create.source_error_leaves_no_residue",
    "create.source_error_is_the_callers_error",
)
class ErrorIsTheEnd(FileStore):
    """Takes a connection that was reset for the end of the file."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        if hasattr(data, "read") or hasattr(data, "__next__"):
            data = _read_until_error(data)
        return super().create(filename, data, **options)


class _Keeps(StagedWrapper):
    def discard(self) -> None:
        pass


@mutant("create.source_error_leaves_no_residue", "create.base_exception_cleans_up")
class DiscardsNothing(LocalBackend):
    """Leaves the files of failed writes to a sweep."""

    def stage(self, file_id: str) -> Any:
        return _Keeps(super().stage(file_id))


class _KeepsOpen(StagedWrapper):
    def __init__(self, inner: Any, held: list[int]) -> None:
        super().__init__(inner)
        self.held = held

    def discard(self) -> None:
        self.held.append(os.open(os.devnull, os.O_RDONLY))
        self.inner.discard()


@mutant("create.source_error_leaves_no_residue")
class KeepsOpen(LocalBackend):
    """Unlinks the file of a failed write and leaves it open."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._devices: list[int] = []

    def stage(self, file_id: str) -> Any:
        return _KeepsOpen(super().stage(file_id), self._devices)

    def close(self) -> None:
        while self._devices:
            os.close(self._devices.pop())
        super().close()


@mutant("create.source_error_is_the_callers_error")
class WrapsErrors(FileStore):
    """Turns whatever the source raises into its own error."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        try:
            return super().create(filename, data, **options)
        except HoldallError:
            raise
        except Exception as error:
            raise StorageError("cannot create") from error


@mutant("create.source_error_is_the_callers_error")
class TakesErrorForItsOwn(FileStore):
    """Means that only its own files can be missing."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        try:
            return super().create(filename, data, **options)
        except FileNotFoundError as error:
            raise FileNotFound("no such file") from error


class _ForgetsOthers(StagedWrapper):
    def discard(self) -> None:
        # What `except Exception` around the write comes to.
        if sys.exc_info()[0] is None or isinstance(sys.exc_info()[1], Exception):
            self.inner.discard()


@mutant("create.base_exception_cleans_up")
class CleansUpAfterExceptions(LocalBackend):
    """Cleans up in `except Exception`."""

    def stage(self, file_id: str) -> Any:
        return _ForgetsOthers(super().stage(file_id))


class _InterruptPublishes(_ClosePublishes):
    def wanted(self) -> bool:
        return isinstance(sys.exc_info()[1], KeyboardInterrupt)


@mutant("create.base_exception_cleans_up")
class InterruptPublishes(MemoryBackend):
    """Saves what it has at Ctrl-C."""

    def stage(self, file_id: str) -> Any:
        return _InterruptPublishes(super().stage(file_id), file_id)


@mutant("create.declared_size_enforced")
class IgnoresExpectedBytes(FileStore):
    """Has the argument and does nothing with it."""

    def create(self, filename: str, data: Any, *, expected_bytes: Any = None, **options: Any) -> Any:
        return super().create(filename, data, **options)


@mutant("create.declared_size_enforced")
class ZeroIsUnknown(FileStore):
    """Takes an expected size of 0 for none."""

    def create(self, filename: str, data: Any, *, expected_bytes: Any = None, **options: Any) -> Any:
        return super().create(filename, data, expected_bytes=expected_bytes or None, **options)


class _Checks(FileStore):
    """Compares the size after the file was stored."""

    def create(self, filename: str, data: Any, *, expected_bytes: Any = None, **options: Any) -> Any:
        file = super().create(filename, data, **options)
        if expected_bytes is not None and self.wrong(file.bytes, expected_bytes):
            self.delete(file.id)
            raise IntegrityError("another size")
        return file

    def wrong(self, size: int, expected: int) -> bool:
        raise NotImplementedError


@mutant("create.declared_size_enforced")
class ExpectsAtLeast(_Checks):
    """Notices only what is missing."""

    def wrong(self, size: int, expected: int) -> bool:
        return size < expected


@mutant("create.declared_size_enforced", "create.error_means_not_stored")
class ChecksAndKeeps(FileStore):
    """Compares the size after the file was stored, and leaves it there."""

    def create(self, filename: str, data: Any, *, expected_bytes: Any = None, **options: Any) -> Any:
        file = super().create(filename, data, **options)
        if expected_bytes not in {None, file.bytes}:
            raise IntegrityError("another size")
        return file


@mutant("create.declared_checksum_enforced")
class IgnoresExpectedSha256(FileStore):
    """Has the argument and does nothing with it."""

    def create(self, filename: str, data: Any, *, expected_sha256: Any = None, **options: Any) -> Any:
        return super().create(filename, data, **options)


@mutant("create.declared_checksum_enforced", "create.error_means_not_stored")
class ChecksTooLate(FileStore):
    """Compares the checksum after the file was stored, and leaves it there."""

    def create(self, filename: str, data: Any, *, expected_sha256: Any = None, **options: Any) -> Any:
        file = super().create(filename, data, **options)
        if expected_sha256 not in {None, file.sha256}:
            raise IntegrityError("another SHA-256")
        return file


class _DiscardRemoves(StagedWrapper):
    def __init__(self, inner: Any, backend: MemoryBackend, file_id: str) -> None:
        super().__init__(inner)
        self.backend, self.file_id = backend, file_id

    def discard(self) -> None:
        self.inner.discard()
        try:
            self.backend.remove(self.file_id)
        except FileNotFound:
            return


@mutant("create.error_means_not_stored")
class DiscardRemoves(MemoryBackend):
    """Makes sure on discard that no such entry is there, published or not."""

    def stage(self, file_id: str) -> Any:
        return _DiscardRemoves(super().stage(file_id), self, file_id)


@mutant("create.limit_refused_while_streaming")
class MeasuresAfterwards(FileStore):
    """Reads all, then looks how much it was."""

    def create(self, filename: str, data: Any, *, max_bytes: int | None = None, **options: Any) -> Any:
        file = super().create(filename, data, **options)
        if max_bytes is not None and file.bytes > max_bytes:
            self.delete(file.id)
            raise FileTooLarge("too large")
        return file


@mutant("create.limit_refused_while_streaming")
class LimitPlusOne(FileStore):
    """Allows a byte more."""

    def create(self, filename: str, data: Any, *, max_bytes: int | None = None, **options: Any) -> Any:
        return super().create(filename, data, max_bytes=None if max_bytes is None else max_bytes + 1, **options)


@mutant("create.limit_refused_while_streaming")
class LimitExcluded(FileStore):
    """Refuses a file of exactly the limit."""

    def create(self, filename: str, data: Any, *, max_bytes: int | None = None, **options: Any) -> Any:
        if max_bytes is not None:
            max_bytes = max(1, max_bytes - 1)
        return super().create(filename, data, max_bytes=max_bytes, **options)


class _DiscardsOnce(StagedWrapper):
    discarded = False

    def discard(self) -> None:
        if self.discarded:
            raise StorageError("this write was discarded already")
        self.discarded = True
        self.inner.discard()


@mutant("create.error_means_not_stored")
class DiscardsOnce(MemoryBackend):
    """Discarding a second time is an error, which then hides the one that mattered."""

    def stage(self, file_id: str) -> Any:
        return _DiscardsOnce(super().stage(file_id))
