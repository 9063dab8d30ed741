"""Mutants of the capability checks: local paths that lead nowhere."""

from __future__ import annotations

import os

from tests.conformance.mutants._base import LocalBackend, mutant


@mutant("caps.undeclared_operation_refused")
class PathsOfAnything(LocalBackend):
    """Says where the bytes of a file would be, if there were one."""

    def local_path(self, file_id: str) -> str:
        return os.path.join(self._root, file_id, "data.bin")


@mutant("caps.undeclared_operation_refused")
class PathsFromHere(LocalBackend):
    """Its paths are those of the working directory, which is another where they are used."""

    def local_path(self, file_id: str) -> str:
        return os.path.relpath(super().local_path(file_id))
