"""Mutants of the create checks: sizes, checksums and limits looked at too late, or too closely."""

from __future__ import annotations

import pathlib
import string
from typing import Any

from tests.conformance.mutants._base import mutant

from holdall.errors import FileNotFound, IntegrityError
from holdall.store import FileStore

MIB = 1024 * 1024


def _ahead(source: Any, most: int) -> bytes:
    """Up to so many bytes of the source, and a chunk."""
    data = bytearray()
    while len(data) <= most and (chunk := source.read(MIB)):
        data += chunk
    return bytes(data)


@mutant("create.declared_size_enforced")
class CountsAtTheEnd(FileStore):
    """Compares a size with what was expected once the source has ended; this one does not."""

    def create(self, filename: str, data: Any, *, expected_bytes: int | None = None, **options: Any) -> Any:
        if expected_bytes is not None and hasattr(data, "read"):
            data = _ahead(data, 64 * MIB)
        return super().create(filename, data, expected_bytes=expected_bytes, **options)


@mutant("create.limit_refused_while_streaming")
class ReadsFarAhead(FileStore):
    """Keeps a buffer between the source and the limit, twenty times as large."""

    def create(self, filename: str, data: Any, *, max_bytes: int | None = None, **options: Any) -> Any:
        if max_bytes is not None and hasattr(data, "read"):
            data = _ahead(data, 20 * MIB)
        return super().create(filename, data, max_bytes=max_bytes, **options)


@mutant("create.declared_checksum_enforced")
class LeavesOutOddChecksums(FileStore):
    """Does not compare with what is no SHA-256."""

    def create(self, filename: str, data: Any, *, expected_sha256: str | None = None, **options: Any) -> Any:
        if expected_sha256 is not None and (len(expected_sha256) != 64 or set(expected_sha256) - set(string.hexdigits)):
            expected_sha256 = None
        return super().create(filename, data, expected_sha256=expected_sha256, **options)


@mutant("create.declared_checksum_enforced")
class ComparesChecksumsAsText(FileStore):
    """The same digits in capitals are others."""

    def create(self, filename: str, data: Any, *, expected_sha256: str | None = None, **options: Any) -> Any:
        if expected_sha256 is not None and expected_sha256 != expected_sha256.lower():
            raise IntegrityError("the checksum differs")
        return super().create(filename, data, expected_sha256=expected_sha256, **options)


@mutant("create.source_error_is_the_callers_error")
class AbsentPathIsAbsentFile(FileStore):
    """A path to store that is not there is told like a file that is not stored."""

    def create(self, filename: str, data: Any, **options: Any) -> Any:
        if isinstance(data, pathlib.Path) and not data.exists():
            raise FileNotFound(f"there is no file {data}")
        return super().create(filename, data, **options)
