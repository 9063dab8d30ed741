"""Mutants of the checks of ids: what is looked at too late, and links in the place of one file of an entry."""

from __future__ import annotations

import contextlib
import os
from typing import Any

from tests.conformance.mutants._base import LocalBackend, mutant

from holdall.errors import StorageError
from holdall.model import FileObject
from holdall.store import FileStore


@mutant("ids.hostile_rejected_everywhere")
class ChecksTheIdLast(FileStore):
    """Looks in its storage before it looks at the id."""

    def get(self, file_id: str) -> FileObject:
        with contextlib.suppress(Exception):
            self.backend.read_meta(str(file_id))
        return super().get(file_id)


@mutant("ids.symlink_in_root_not_followed")
class FollowsMetadataLinks(LocalBackend):
    """Takes only the bytes for something that must not be a link."""

    def read_meta(self, file_id: str) -> bytes:
        folder = os.path.join(self._root, file_id)
        path = os.path.join(folder, "meta.json")
        if os.path.islink(folder) or not os.path.islink(path):
            return super().read_meta(file_id)
        with open(path, "rb") as file:
            return file.read()


@mutant("ids.symlink_in_root_not_followed")
class ShredsBytes(LocalBackend):
    """Writes over the bytes of an entry before it removes them, wherever they are."""

    def remove(self, file_id: str) -> None:
        folder = os.path.join(self._root, file_id)
        path = os.path.join(folder, "data.bin")
        if os.path.isfile(path) and not os.path.islink(folder):
            with open(path, "r+b") as file:
                file.write(bytes(os.path.getsize(path)))
        super().remove(file_id)


@mutant("ids.symlink_in_root_not_followed")
class QuotesWhatIsThere(LocalBackend):
    """Refuses a link, and quotes in its error what it leads to."""

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        path = os.path.join(self._root, file_id, "data.bin")
        if os.path.realpath(path) != path and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                raise StorageError(f"{file_id} is no file, but a link to {file.read()!r}", file_id=file_id)
        return super().open_data(file_id, start, stop)
