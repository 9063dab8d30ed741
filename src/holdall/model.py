"""The models of a file and of a page of files, and the form a file's metadata has at rest."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterator
from typing import Annotated, Any, Final

import pydantic_core
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from holdall.errors import CorruptMetadata, FileNotFound

__all__ = [
    "FileObject",
    "FilePage",
    "FilePurpose",
    "assemble",
    "copied",
    "decode_meta",
    "encode_meta",
    "has_expired",
    "to_purpose",
]


class FilePurpose(enum.StrEnum):
    """What a file is for, in OpenAI's spelling. The last three are given to files that a service produced."""

    ASSISTANTS = "assistants"
    BATCH = "batch"
    FINE_TUNE = "fine-tune"
    VISION = "vision"
    USER_DATA = "user_data"
    EVALS = "evals"
    ASSISTANTS_OUTPUT = "assistants_output"
    BATCH_OUTPUT = "batch_output"
    FINE_TUNE_RESULTS = "fine-tune-results"


_BY_SPELLING = {str(p): p for p in FilePurpose} | {p.replace("-", "_"): p for p in FilePurpose}


def to_purpose(text: Any) -> Any:
    """The purpose with this spelling, `fine-tune` or `fine_tune`; an unknown purpose is returned unchanged."""
    return _BY_SPELLING.get(text, text) if isinstance(text, str) else text


def _only_finite(value: Any) -> Any:
    """JSON has no NaN or infinity, but its readers let them through."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, list):
            waiting += item
        elif isinstance(item, float) and not math.isfinite(item):
            raise ValueError(f"{item} is no number of JSON")
    return value


# What a signed 64-bit number holds: readers in other languages use one.
_MOST: Final = 2**63 - 1


class FileObject(BaseModel):
    """A stored file, as the Files API describes it, with four additional fields.

    Immutable. Two are equal if all their fields are; `hash` is that of the id.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    """`file-` and 32 lower-case hexadecimal digits, or an id that another program generated."""
    object: str = "file"
    filename: str
    """The uploader's name for it, verbatim; never a path to use."""
    purpose: Annotated[FilePurpose | Annotated[str, AfterValidator(to_purpose)], Field(union_mode="left_to_right")]
    """A `FilePurpose`, or plain text if it is not one of these."""
    bytes: int = Field(ge=0, le=_MOST)
    """Size in bytes."""
    created_at: int = Field(ge=0, le=_MOST)
    """Unix seconds, UTC."""
    status: str = "uploaded"
    expires_at: int | None = Field(default=None, ge=0, le=_MOST)
    """Unix seconds, UTC, from which on the file is absent; None: never."""
    content_type: str | None = None
    sha256: str | None = None
    """SHA-256 of the bytes in lower-case hexadecimal; None for files of stores that did not compute one."""
    metadata: Annotated[dict[str, Any], AfterValidator(_only_finite)] | None = None
    """The caller's own JSON object, exactly as it was given; None if none was."""

    def __hash__(self) -> int:
        return hash(self.id)


def has_expired(file: FileObject, now: float) -> bool:
    """Whether the file counts as absent at the time `now`, in Unix seconds (UTC)."""
    return file.expires_at is not None and file.expires_at <= now


class FilePage(BaseModel):
    """A page of a listing, in the form the Files API has for it. Iterating it yields its files."""

    model_config = ConfigDict(frozen=True)

    object: str = "list"
    data: list[FileObject]
    has_more: bool = False
    """Whether more files follow; pass `last_id` as `after` to get them."""
    first_id: str | None = None
    last_id: str | None = None

    def __iter__(self) -> Iterator[FileObject]:  # type: ignore[override]
        return iter(self.data)

    def __len__(self) -> int:
        return len(self.data)


_AT_REST: dict[str, str] = {purpose: purpose.replace("-", "_") for purpose in FilePurpose}


def encode_meta(file: FileObject) -> bytes:
    """The content of `meta.json`: UTF-8 JSON with two-space indent, the seven fixed keys, then those that are set.

    Non-ASCII stays unescaped; known purposes are in snake case, as the oldest readers of this layout expect.
    """
    # Straight from the model's own fields, which have the order of the document: asking for each as an attribute costs
    # as much as the encoding.
    fields = {name: value for name, value in file.__dict__.items() if value is not None}
    fields["purpose"] = _AT_REST.get(file.purpose, file.purpose)
    return pydantic_core.to_json(fields, indent=2)


_validate = FileObject.__pydantic_validator__.validate_json
_new, _set = FileObject.__new__, object.__setattr__
_FIELDS = set(FileObject.model_fields)
_DEFAULTS = {name: field.default for name, field in FileObject.model_fields.items()}


def assemble(fields: dict[str, Any]) -> FileObject:
    """A file of values that were checked one by one; those left out have their defaults.

    Checking them again as a whole, as the model's own constructor does, costs more than hashing a small file.
    """
    return _made(_DEFAULTS | fields)


def copied(file: FileObject) -> FileObject:
    """The file, sharing nothing that can be modified with the given one; the same object if there is no such thing."""
    if file.metadata is None:
        return file
    return _made(file.__dict__ | {"metadata": _copied(file.metadata)})


def _copied(value: Any) -> Any:
    # Several times as fast as copy.deepcopy, which also has to provide for objects that contain themselves.
    kind = type(value)
    if kind is dict:
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if kind is list else value


def _made(fields: dict[str, Any]) -> FileObject:
    file = _new(FileObject)
    _set(file, "__dict__", fields)
    _set(file, "__pydantic_fields_set__", _FIELDS)
    _set(file, "__pydantic_extra__", None)
    _set(file, "__pydantic_private__", None)
    return file


def decode_meta(raw: bytes, file_id: str) -> FileObject:
    """The file that a `meta.json` describes. Unknown keys are ignored.

    Raises `CorruptMetadata` if it is not the metadata of `file_id`; `FileNotFound` if it is that of an entry with a
    prefix, which `holdall.wrappers.Prefixed` keeps in the same storage: it is a file of another store.
    """
    try:
        file: FileObject = _validate(raw, strict=True)
    except pydantic_core.ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        # Only the key: what follows it in "loc" are pydantic's names for the members of a union.
        why = f"{first['loc'][0]}: {first['msg']}" if first["loc"] else first["msg"]
        raise _corrupt(file_id, why) from error
    if file.id != file_id:
        if file_id.endswith("_" + file.id.partition("-")[2]):
            raise FileNotFound(f"{file_id} is a file of another store in the same storage", file_id=file_id)
        raise _corrupt(file_id, "it holds the metadata of another id")
    # One set for all: pydantic's own note of what was in the document takes as much memory as the rest of the file, and
    # the collector has to walk it, which is a fifth of the time of a long listing.
    _set(file, "__pydantic_fields_set__", _FIELDS)
    return file


def _corrupt(file_id: str, why: str) -> CorruptMetadata:
    return CorruptMetadata(
        f"the metadata of {file_id} cannot be read ({why}); restore its meta.json from a backup or delete the file",
        file_id=file_id,
    )
