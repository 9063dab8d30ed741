"""A plain, right writer of entries on disk, in small steps, for mutants to get one of them wrong."""

from __future__ import annotations

import os
import shutil
import uuid
from typing import Any

from tests.conformance.mutants._base import LocalBackend

from holdall.backend import Capability, StagedFile

__all__ = ["DiskMutant", "PlainStagedFile"]


class PlainStagedFile(StagedFile):
    """Writes in `.staging`, syncs, renames, syncs."""

    def __init__(self, root: str, file_id: str) -> None:
        self.root = root
        self.final = os.path.join(root, file_id)
        self.folder = os.path.join(root, ".staging", f"{file_id}.{uuid.uuid4().hex[:12]}.new")
        os.makedirs(self.folder)
        self.data = open(os.path.join(self.folder, "data.bin"), "xb", buffering=0)  # noqa: SIM115

    def write(self, chunk: Any) -> None:
        view = memoryview(chunk)
        while view:
            view = view[self.data.write(view) :]

    def publish(self, meta: bytes) -> None:
        self.sync_data()
        self.data.close()
        self.write_meta(self.folder, meta)
        self.sync_folder(self.folder)
        os.rename(self.folder, self.final)
        try:
            self.sync_folder(self.root)
        except OSError:
            self.undo()
            raise

    def undo(self) -> None:
        os.rename(self.final, self.folder)

    def sync_data(self) -> None:
        os.fsync(self.data.fileno())

    def write_meta(self, folder: str, meta: bytes) -> None:
        with open(os.path.join(folder, "meta.json"), "xb", buffering=0) as file:
            view = memoryview(meta)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())

    def sync_folder(self, folder: str) -> None:
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def discard(self) -> None:
        self.data.close()
        shutil.rmtree(self.folder, ignore_errors=True)


class DiskMutant(LocalBackend):
    """The local backend with another writer; declares what the right writer would keep."""

    staged: type[PlainStagedFile] = PlainStagedFile

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.capabilities |= Capability.DURABLE

    def stage(self, file_id: str) -> StagedFile:
        return self.staged(self._root, file_id)
