"""Mutants of the metadata checks: backends that keep or read another metadata document than they were given."""

from __future__ import annotations

import json
import os
import unicodedata
from typing import Any, ClassVar

from tests.conformance.mutants._base import LocalBackend, MemoryBackend, StagedWrapper, mutant

from holdall.errors import CorruptMetadata, StorageError
from holdall.model import FileObject


class _ChangesDocument(StagedWrapper):
    def __init__(self, inner: Any, backend: _Changes) -> None:
        super().__init__(inner)
        self.backend = backend

    def publish(self, meta: bytes) -> None:
        document = json.loads(meta, **self.backend.reading)
        self.backend.change(document)
        self.inner.publish(json.dumps(document, ensure_ascii=False).encode())


class _Changes(MemoryBackend):
    """Keeps another metadata document than it was given."""

    reading: ClassVar[dict[str, Any]] = {}

    def stage(self, file_id: str) -> Any:
        return _ChangesDocument(super().stage(file_id), self)

    def change(self, document: dict[str, Any]) -> None:
        """Change the document in place."""


def _deep(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return change({k: _deep(v, change) for k, v in value.items()})
    if isinstance(value, list):
        return [_deep(v, change) for v in value]
    return change(value)


class _ChangesMetadata(_Changes):
    """Changes every value of the caller's metadata."""

    def change(self, document: dict[str, Any]) -> None:
        if document.get("metadata"):
            document["metadata"] = _deep(document["metadata"], self.value)

    def value(self, value: Any) -> Any:
        raise NotImplementedError


def _long(text: str) -> Any:
    number = int(text)
    return number if abs(number) <= 2**53 else float(number)


@mutant("metadata.json_roundtrip_types")
class NumbersOfJavascript(_Changes):
    """Has one kind of number, exact up to 2**53."""

    reading: ClassVar[dict[str, Any]] = {"parse_int": _long}


@mutant("metadata.json_roundtrip_types", "metadata.list_equals_get_equals_create", "metadata.empty_vs_absent")
class WholeFloatsAreIntegers(_ChangesMetadata):
    """Writes 1.0 as 1."""

    def value(self, value: Any) -> Any:
        whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
        return int(value) if whole else value


@mutant("metadata.json_roundtrip_types", "metadata.caller_dict_not_kept_or_mutated", "metadata.empty_vs_absent")
class DropsNulls(_ChangesMetadata):
    """Leaves out keys whose value is null."""

    def value(self, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


@mutant("metadata.json_roundtrip_types")
class CutsAtNul(_ChangesMetadata):
    """Has texts that end at a NUL."""

    def value(self, value: Any) -> Any:
        return value.partition("\0")[0] if isinstance(value, str) else value


class _Renames(_Changes):
    """Keeps another filename."""

    def change(self, document: dict[str, Any]) -> None:
        document["filename"] = self.name(document["filename"])

    def name(self, name: str) -> str:
        raise NotImplementedError


@mutant("metadata.filename_verbatim", "metadata.json_roundtrip_types")
class NormalisesNames(_Renames):
    """Composes the characters of names."""

    def name(self, name: str) -> str:
        return unicodedata.normalize("NFC", name)


@mutant("metadata.filename_verbatim", "metadata.json_roundtrip_types")
class StripsNames(_Renames):
    """Forgives white space around names."""

    def name(self, name: str) -> str:
        return name.strip()


@mutant("metadata.filename_verbatim", "metadata.json_roundtrip_types")
class NamesOf255Bytes(_Renames):
    """Keeps what a file system would."""

    def name(self, name: str) -> str:
        return name.encode()[:255].decode(errors="ignore")


@mutant("metadata.filename_verbatim", "metadata.json_roundtrip_types")
class OneLineNames(_Renames):
    """Makes names fit for a header."""

    def name(self, name: str) -> str:
        return name.replace("\r", "").replace("\n", " ")


@mutant("metadata.limit_exact", "metadata.json_roundtrip_types")
class AttributesOf32KiB(_Changes):
    """Keeps metadata where there is a limit."""

    def change(self, document: dict[str, Any]) -> None:
        metadata = document.get("metadata")
        if metadata and len(json.dumps(metadata)) > 32_768 and "large" not in metadata:
            document["metadata"] = dict(list(metadata.items())[:-1])


@mutant("metadata.key_case_preserved", "metadata.json_roundtrip_types")
class LowersKeys(_ChangesMetadata):
    """Keeps metadata in headers."""

    def value(self, value: Any) -> Any:
        return {k.lower(): v for k, v in value.items()} if isinstance(value, dict) else value


@mutant("metadata.key_case_preserved", "metadata.json_roundtrip_types")
class NormalisesKeys(_ChangesMetadata):
    """Composes the characters of keys."""

    def value(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {unicodedata.normalize("NFC", k): v for k, v in value.items()}


@mutant("metadata.key_case_preserved", "metadata.json_roundtrip_types")
class StripsKeys(_ChangesMetadata):
    """Forgives white space around keys."""

    def value(self, value: Any) -> Any:
        return {k.strip(" "): v for k, v in value.items()} if isinstance(value, dict) else value


@mutant("metadata.empty_vs_absent", "metadata.list_equals_get_equals_create", "metadata.json_roundtrip_types")
class EmptyMetadataIsAbsent(_Changes):
    """Keeps metadata if there is any."""

    def change(self, document: dict[str, Any]) -> None:
        if not document.get("metadata"):
            document.pop("metadata", None)


_KNOWN = {*FileObject.model_fields}


@mutant("metadata.unknown_future_fields_preserved_or_refused")
class KnowsAllFields(LocalBackend):
    """Refuses documents with fields that it does not know."""

    def read_meta(self, file_id: str) -> bytes:
        meta = super().read_meta(file_id)
        if not _KNOWN.issuperset(json.loads(meta)):
            raise CorruptMetadata(file_id)
        return meta


@mutant("metadata.unknown_future_fields_preserved_or_refused", "metadata.json_roundtrip_types")
class RewritesDocuments(LocalBackend):
    """Brings documents into its own form when it reads them."""

    def read_meta(self, file_id: str) -> bytes:
        meta = super().read_meta(file_id)
        document = {k: v for k, v in json.loads(meta).items() if k in _KNOWN}
        with open(os.path.join(self._root, file_id, "meta.json"), "w", encoding="utf-8") as file:
            json.dump(document, file)
        return meta


@mutant("metadata.unknown_future_fields_preserved_or_refused")
class DocumentsOf16KiB(LocalBackend):
    """Reads a document into a buffer of its own."""

    def read_meta(self, file_id: str) -> bytes:
        meta = super().read_meta(file_id)
        return meta[:16_384] if b'"new"' in meta else meta


@mutant("metadata.json_roundtrip_types")
class SortsKeys(_Changes):
    """A column of parsed JSON, which keeps keys in an order of its own."""

    def change(self, document: dict[str, Any]) -> None:
        if document.get("metadata"):
            document["metadata"] = dict(sorted(document["metadata"].items()))


class _Strips(StagedWrapper):
    def publish(self, meta: bytes) -> None:
        self.inner.publish(meta.strip())


@mutant("metadata.json_roundtrip_types")
class StripsDocument(MemoryBackend):
    """Space around a document means nothing to it."""

    def stage(self, file_id: str) -> Any:
        return _Strips(super().stage(file_id))


class _OneRow(StagedWrapper):
    def publish(self, meta: bytes) -> None:
        if len(meta) > 128 * 1024:
            raise StorageError("value too long for the column")
        self.inner.publish(meta)


@mutant("metadata.limit_exact")
class DocumentsOf128KiB(MemoryBackend):
    """A column for twice the metadata that a caller may give."""

    def stage(self, file_id: str) -> Any:
        return _OneRow(super().stage(file_id))
