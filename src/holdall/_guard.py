"""Error translation around calls to a backend: every error becomes a holdall error that names operation and file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdall.errors import HoldallError, StorageError, attempted, storage_error

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Guard"]


class Guard:
    """A context manager around a call to a backend.

    Adds the operation, id and backend to holdall's own errors where these are missing; turns any other `Exception` into
    a `StorageError`, with the original as its cause. `KeyboardInterrupt` and the like pass unchanged.
    """

    # A class, because a context manager written with contextlib costs as much as a small read.
    __slots__ = ("_backend", "_file_id", "_operation")

    def __init__(self, backend: str, operation: str, file_id: str | None = None) -> None:
        self._backend = backend
        self._operation = operation
        self._file_id = file_id

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            self.translate(error)

    def translate(self, error: Exception) -> None:
        """Complete one of holdall's own errors, for the caller to raise again; for any other, raise `StorageError`."""
        if isinstance(error, HoldallError):
            error.operation = error.operation or self._operation
            error.file_id = error.file_id or self._file_id
            error.backend = error.backend or self._backend
            return
        context = {"file_id": self._file_id, "backend": self._backend}
        if isinstance(error, OSError):
            raise storage_error(error, self._operation, **context) from error
        what = attempted(self._operation, self._file_id)
        raise StorageError(
            f"cannot {what} on {self._backend}: {type(error).__name__} in the backend",
            operation=self._operation,
            **context,
        ) from error
