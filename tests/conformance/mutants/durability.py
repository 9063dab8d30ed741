"""Mutants of the durability checks: syncs left out, out of order, or not believed."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from tests.conformance.mutants._base import mutant
from tests.conformance.mutants._disk import DiskMutant, PlainStagedFile


class _NoSync(PlainStagedFile):
    def sync_data(self) -> None:
        pass

    def sync_folder(self, folder: str) -> None:
        pass

    def write_meta(self, folder: str, meta: bytes) -> None:
        with open(os.path.join(folder, "meta.json"), "xb") as file:
            file.write(meta)


@mutant("durability.fsync_order")
class NeverSyncs(DiskMutant):
    """Declares DURABLE and hopes."""

    staged = _NoSync


class _NoDataSync(PlainStagedFile):
    def sync_data(self) -> None:
        pass


@mutant("durability.fsync_order")
class SyncsMetadataOnly(DiskMutant):
    """The bytes are left to the kernel."""

    staged = _NoDataSync


class _NoRootSync(PlainStagedFile):
    def sync_folder(self, folder: str) -> None:
        if folder != self.root:
            super().sync_folder(folder)


@mutant("durability.fsync_order")
class NeverSyncsTheRoot(DiskMutant):
    """Files are synced, the name they get is not."""

    staged = _NoRootSync


class _LateSync(PlainStagedFile):
    def publish(self, meta: bytes) -> None:
        self.write_meta(self.folder, meta)
        self.sync_folder(self.folder)
        os.rename(self.folder, self.final)
        try:
            self.sync_data()
            self.data.close()
            self.sync_folder(self.root)
        except OSError:
            self.undo()
            raise


@mutant("durability.fsync_order")
class RenamesBeforeSync(DiskMutant):
    """All is synced in the end; for a moment a name stands for bytes that are not on the disk."""

    staged = _LateSync


class _Deaf(PlainStagedFile):
    def sync_data(self) -> None:
        with contextlib.suppress(OSError):
            super().sync_data()


@mutant("durability.fsync_error_is_reported")
class IgnoresSyncErrors(DiskMutant):
    """A failed sync of the bytes is passed over."""

    staged = _Deaf


class _NoUndo(PlainStagedFile):
    def undo(self) -> None:
        pass


@mutant("durability.fsync_error_is_reported")
class LeavesWhatItReportsAsFailed(DiskMutant):
    """The last sync fails, create raises, the file stays."""

    staged = _NoUndo


class _IgnoresFullDisk(PlainStagedFile):
    def write(self, chunk: Any) -> None:
        with contextlib.suppress(OSError):
            super().write(chunk)


@mutant("durability.enospc_is_reported_and_clean")
class IgnoresAFullDisk(DiskMutant):
    """What does not fit is left out."""

    staged = _IgnoresFullDisk


class _KeepsFailedWrites(PlainStagedFile):
    def discard(self) -> None:
        self.data.close()


@mutant("durability.enospc_is_reported_and_clean")
class KeepsFailedWrites(DiskMutant):
    """What a full disk has refused goes on filling it."""

    staged = _KeepsFailedWrites

    def debris(self) -> Any:
        return iter(())


class _WritesOnce(PlainStagedFile):
    def write(self, chunk: Any) -> None:
        self.data.write(chunk)


@mutant("durability.enospc_is_reported_and_clean")
class TakesAShortWriteForAll(DiskMutant):
    """A write that the disk took in part counts as done."""

    staged = _WritesOnce


class _SyncsLarge(PlainStagedFile):
    def sync_data(self) -> None:
        if os.fstat(self.data.fileno()).st_size > 65_536:
            super().sync_data()


@mutant("durability.fsync_order")
class SyncsLargeFilesOnly(DiskMutant):
    """A small file is not worth the wait."""

    staged = _SyncsLarge


class _SyncsSmall(PlainStagedFile):
    def sync_data(self) -> None:
        if os.fstat(self.data.fileno()).st_size < 1_000_000:
            super().sync_data()


@mutant("durability.fsync_order")
class SyncsSmallFilesOnly(DiskMutant):
    """A large file takes too long to sync."""

    staged = _SyncsSmall


class _SyncsAgain(PlainStagedFile):
    def sync_data(self) -> None:
        try:
            super().sync_data()
        except OSError:
            super().sync_data()


@mutant("durability.fsync_error_is_reported")
class SyncsAgain(DiskMutant):
    """Tries again when a sync fails: it succeeds, for the kernel has dropped what it could not write."""

    staged = _SyncsAgain


class _WritesMetadataOnce(PlainStagedFile):
    def write_meta(self, folder: str, meta: bytes) -> None:
        with open(os.path.join(folder, "meta.json"), "xb", buffering=0) as file:
            file.write(meta)
            os.fsync(file.fileno())


@mutant("durability.enospc_is_reported_and_clean")
class TakesAShortWriteForAllMetadata(DiskMutant):
    """Metadata that the disk took in part counts as written."""

    staged = _WritesMetadataOnce
