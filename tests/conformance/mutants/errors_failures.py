"""Mutants of the check on failing storages: whatever went wrong, there was nothing."""

from __future__ import annotations

import socket
from typing import Any

from tests.conformance.mutants._base import LocalBackend, mutant

from holdall.errors import FileNotFound, HoldallError, StorageUnavailable

# What clients connect to: datagrams need nobody who accepts, or answers.
SERVER = socket.socket(type=socket.SOCK_DGRAM)
SERVER.bind(("127.0.0.1", 0))


class _Hides(LocalBackend):
    """Says of every error that means neither absence nor a refusal that it means absence."""

    def absence(self, file_id: str, call: Any) -> Any:
        try:
            return call()
        except (HoldallError, PermissionError):
            raise
        except OSError as error:
            raise FileNotFound(f"there is no file {file_id}", file_id=file_id) from error


@mutant("errors.failure_is_not_missing")
class UnreadableMetadataIsAbsent(_Hides):
    """`except OSError` where the metadata is read."""

    def read_meta(self, file_id: str) -> bytes:
        found: bytes = self.absence(file_id, lambda: super(_Hides, self).read_meta(file_id))
        return found


@mutant("errors.failure_is_not_missing")
class UnreadableBytesAreAbsent(_Hides):
    """`except OSError` where the bytes are opened."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        return self.absence(file_id, lambda: super(_Hides, self).open_data(file_id, start, stop))


@mutant("errors.failure_is_not_missing")
class FailedRemoveIsAbsence(_Hides):
    """`except OSError` where the entry is taken out."""

    def remove(self, file_id: str) -> None:
        self.absence(file_id, lambda: super(_Hides, self).remove(file_id))


@mutant("errors.failure_is_not_missing")
class UnreadableRootIsEmpty(LocalBackend):
    """A directory that cannot be listed holds nothing."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        try:
            return super().list_ids(after, before)
        except OSError:
            return iter(())


@mutant("errors.failure_is_not_missing")
class LeavesOutWhatItCannotRead(LocalBackend):
    """Of many entries, those that fail are skipped as those that are gone."""

    def read_metas(self, file_ids: Any) -> Any:
        for file_id in file_ids:
            try:
                yield file_id, self.read_meta(file_id)
            except OSError:
                continue


@mutant("errors.failure_is_not_missing")
class FailedRemoveIsDone(LocalBackend):
    """`ignore_errors=True` where the entry is taken out."""

    def remove(self, file_id: str) -> None:
        try:
            super().remove(file_id)
        except FileNotFound:
            raise
        except OSError:
            return


class Connected(LocalBackend):
    """Asks over a connection, which it opens anew if it broke."""

    connection: socket.socket | None = None

    def reach(self) -> None:
        if self.connection is None:
            self.connection = socket.socket(type=socket.SOCK_DGRAM)
            self.connection.connect(SERVER.getsockname())
        try:
            self.connection.send(b"?")
        except OSError as error:
            self.lost(error)

    def lost(self, error: OSError) -> None:
        self.close_connection()
        raise StorageUnavailable(f"the connection broke: {error}") from error

    def close_connection(self) -> None:
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()

    def read_meta(self, file_id: str) -> bytes:
        self.reach()
        return super().read_meta(file_id)

    def close(self) -> None:
        self.close_connection()
        super().close()


@mutant("errors.failure_is_not_missing")
class BrokenConnectionIsAbsence(Connected):
    """Whatever the server does not answer is not there; all that is asked goes over a connection that is open."""

    def lost(self, error: OSError) -> None:
        self.close_connection()
        raise FileNotFound(f"the connection broke: {error}")

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        self.reach()
        return super().open_data(file_id, start, stop)


@mutant("errors.failure_is_not_missing")
class KeepsBrokenConnection(Connected):
    """Connects when it is opened, and never again."""

    def lost(self, error: OSError) -> None:
        raise StorageUnavailable(f"the connection broke: {error}") from error
