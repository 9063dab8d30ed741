"""Mutants of the metadata checks: stores that share objects, answer from memory, or take what is no JSON."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from tests.conformance.mutants._base import MemoryBackend, mutant

from holdall.errors import FileNotFound, InvalidRequest
from holdall.model import FileObject, FilePage
from holdall.store import FileStore


class _Remembers(FileStore):
    """Answers a part of what is known from its own memory."""

    field = ""

    def __init__(self, backend: Any, **options: Any) -> None:
        super().__init__(backend, **options)
        self._known: dict[str, Any] = {}

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        file = super().create(filename, data, **options)
        self._known[file.id] = getattr(file, self.field)
        return file

    def get(self, file_id: str) -> FileObject:
        file = super().get(file_id)
        return file.model_copy(update={self.field: self._known.get(file_id)})

    def _walk(self, **options: Any) -> Any:
        for files in super()._walk(**options):
            yield [file.model_copy(update={self.field: self._known.get(file.id)}) for file in files]


@mutant("metadata.survives_reopen", "metadata.list_equals_get_equals_create")
class RemembersExpiry(_Remembers):
    """Knows when its own files expire."""

    field = "expires_at"


@mutant("metadata.survives_reopen", "metadata.list_equals_get_equals_create")
class RemembersContentType(_Remembers):
    """Knows the type of its own files."""

    field = "content_type"


@mutant("metadata.list_equals_get_equals_create", "metadata.survives_reopen")
class ListsWithoutType(FileStore):
    """Lists what its index holds."""

    def list(self, **options: Any) -> Any:
        page = super().list(**options)
        return page.model_copy(update={"data": [f.model_copy(update={"content_type": None}) for f in page]})


@mutant("metadata.list_equals_get_equals_create")
class WalksWithoutExpiry(FileStore):
    """Iterates over less than it lists."""

    def __iter__(self) -> Any:
        return (f.model_copy(update={"expires_at": None}) for f in super().__iter__())


@mutant("metadata.list_equals_get_equals_create")
class DefaultPurpose(FileStore):
    """Gives a purpose that it does not know as the default one."""

    def get(self, file_id: str) -> FileObject:
        file = super().get(file_id)
        return file.model_copy(update={"purpose": "user_data"}) if file.purpose == "other-purpose" else file


@mutant("metadata.no_aliasing")
class KeepsObjects(FileStore):
    """Returns the same object every time."""

    def __init__(self, backend: Any, **options: Any) -> None:
        super().__init__(backend, **options)
        self._objects: dict[str, FileObject] = {}

    def get(self, file_id: str) -> FileObject:
        file = super().get(file_id)
        return self._objects.setdefault(file.id, file)


@mutant("metadata.no_aliasing")
class CopiesTheSurface(KeepsObjects):
    """Returns copies of its objects that share what is in them."""

    def get(self, file_id: str) -> FileObject:
        file = super().get(file_id)
        return file.model_copy(update={"metadata": file.metadata and dict(file.metadata)})


@mutant("metadata.no_aliasing")
class KeepsPages(FileStore):
    """Returns the same page as long as nothing was stored."""

    _page: FilePage | None = None

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        self._page = None
        return super().create(filename, data, **options)

    def delete(self, file_id: str) -> None:
        self._page = None
        super().delete(file_id)

    def list(self, **options: Any) -> Any:
        if options:
            return super().list(**options)
        if self._page is None:
            self._page = super().list()
        return self._page


@mutant("metadata.caller_dict_not_kept_or_mutated")
class AddsToCallers(FileStore):
    """Notes something of its own in the caller's object once it is stored."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        file = super().create(filename, data, **options)
        if isinstance(options.get("metadata"), dict):
            options["metadata"]["uploaded"] = True
        return file


@mutant("metadata.caller_dict_not_kept_or_mutated")
class SortsCallers(FileStore):
    """Sorts the caller's object while it is at it."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        file = super().create(filename, data, **options)
        if isinstance(metadata := options.get("metadata"), dict):
            ordered = sorted(metadata.items())
            metadata.clear()
            metadata.update(ordered)
        return file


@mutant("metadata.caller_dict_not_kept_or_mutated")
class AnswersWithCallers(FileStore):
    """Puts the caller's object into its answer."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        file = super().create(filename, data, **options)
        return file.model_copy(update={"metadata": options.get("metadata")})


@mutant("metadata.caller_dict_not_kept_or_mutated", "metadata.non_json_rejected_before_reading_source")
class StoresMetadataLast(FileStore):
    """Looks at the metadata when the bytes have arrived."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        if not hasattr(data, "read") and not isinstance(data, bytes | bytearray):
            data = b"".join(data)
        elif hasattr(data, "read") and not _within_limit(options.get("metadata")):
            data = data.read()
        return super().create(filename, data, **options)


def _within_limit(metadata: Any) -> bool:
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


@mutant("metadata.non_json_rejected_before_reading_source")
class WritesAnything(FileStore):
    """Writes as text whatever JSON has no form for."""

    def create(self, filename: str, data: Any, *, metadata: Any = None, **options: Any) -> FileObject:
        if isinstance(metadata, dict):
            try:
                metadata = json.loads(json.dumps(metadata, default=str))
            except (TypeError, ValueError):
                return super().create(filename, data, metadata=metadata, **options)
        return super().create(filename, data, metadata=metadata, **options)


@mutant("metadata.non_json_rejected_before_reading_source", "metadata.limit_exact")
class ValidatesLast(FileStore):
    """Reads the bytes before it looks at anything else."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        return super().create(filename, data.read() if hasattr(data, "read") else data, **options)


@mutant("metadata.limit_exact")
class MetadataLimitExcluded(FileStore):
    """Refuses metadata of exactly the limit."""

    def create(self, filename: str, data: Any, *, metadata: Any = None, **options: Any) -> FileObject:
        if isinstance(metadata, dict) and metadata.get("k", "") == "x" * (65_536 - 8):
            raise InvalidRequest("too large")
        return super().create(filename, data, metadata=metadata, **options)


@mutant("metadata.limit_exact")
class CountsEscapes(FileStore):
    """Measures metadata as ASCII."""

    def create(self, filename: str, data: Any, *, metadata: Any = None, **options: Any) -> FileObject:
        if isinstance(metadata, dict) and "é" in str(metadata) and len(str(metadata)) * 3 > 65_536:
            raise InvalidRequest("too large")
        return super().create(filename, data, metadata=metadata, **options)


@mutant("metadata.empty_vs_absent")
class AbsentIsEmpty(FileStore):
    """Answers with an object where there is none."""

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        return _with_metadata(super().create(filename, data, **options))

    def get(self, file_id: str) -> FileObject:
        return _with_metadata(super().get(file_id))

    def _walk(self, **options: Any) -> Any:
        return ([_with_metadata(file) for file in files] for files in super()._walk(**options))


def _with_metadata(file: FileObject) -> FileObject:
    return file.model_copy(update={"metadata": file.metadata or {}})


@mutant("metadata.survives_reopen")
class RollsBackAtClose(MemoryBackend):
    """Nobody commits: everybody reads what was written, until its connection is closed."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self._written: list[str] = []

    def stage(self, file_id: str) -> Any:
        self._written.append(file_id)
        return super().stage(file_id)

    def close(self) -> None:
        for file_id in self._written:
            with contextlib.suppress(FileNotFound):
                self.remove(file_id)
        super().close()


@mutant("metadata.no_aliasing")
class KeepsTheCallersBytes(FileStore):
    """Answers with the caller's own memory as long as it is there."""

    def __init__(self, backend: Any, **options: Any) -> None:
        super().__init__(backend, **options)
        self._kept = SHARED.setdefault(str(self.url), {})

    def create(self, filename: str, data: Any, **options: Any) -> FileObject:
        file = super().create(filename, data, **options)
        if isinstance(data, bytearray):
            self._kept[file.id] = data
        return file

    def get_content(self, file_id: str, start: int = 0, stop: int | None = None) -> bytes:
        if file_id in self._kept:
            return bytes(self._kept[file_id])[start:stop]
        return super().get_content(file_id, start, stop)


SHARED: dict[str, dict[str, bytearray]] = {}
