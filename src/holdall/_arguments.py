"""Checks of arguments that callers pass, one function for each argument.

Each returns the normalized value, or raises `InvalidRequest`.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import pydantic_core

from holdall.errors import InvalidRequest
from holdall.model import FilePurpose, to_purpose

MAX_PAGE = 10_000
MAX_METADATA_BYTES = 64 * 1024
# pydantic's JSON parser stops at 200 levels, and whatever is stored must be readable.
MAX_METADATA_DEPTH = 100
_MAX_PURPOSE_CHARS = 64
_MAX_CONTENT_TYPE_CHARS = 255
# pydantic's JSON parser stops at 4300 digits, although its serializer does not.
_MOST_DIGITS = 4000
_INT_BOUND = 10**_MOST_DIGITS
_SHOWN_CHARACTERS = 100
# Nearly 8000 years: a time further ahead cannot be shown as a date.
_LONGEST_SECONDS = 250_000_000_000

T = TypeVar("T")

_SHA256 = re.compile(r"[0-9a-fA-F]{64}").fullmatch
_VISIBLE = re.compile(r"[\x20-\x7e]+").fullmatch


def _text(name: str, value: Any) -> str:
    """The text as a plain `str`, also for a member of a string enum."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{name} must be text, not {type(value).__name__}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"{name} contains an unpaired surrogate, which UTF-8 cannot encode") from None
    # For a string enum's member, `str(value)` would return the member's name.
    return str.__str__(value)


def filename(value: Any, most: int) -> str:
    """The file name, verbatim."""
    text = _text("filename", value)
    if len(text) > most:
        raise InvalidRequest(f"filename has {len(text)} characters; at most {most} are allowed")
    return text


def purpose(value: Any) -> FilePurpose | str:
    """A known purpose in either spelling, or any other visible text."""
    text = _text("purpose", value)
    if len(text) > _MAX_PURPOSE_CHARS or not _VISIBLE(text):
        raise InvalidRequest(
            f"purpose must be 1 to {_MAX_PURPOSE_CHARS} visible ASCII characters, such as {', '.join(FilePurpose)}"
        )
    known: FilePurpose | str = to_purpose(text)
    return known


def content_type(value: Any) -> str | None:
    """A media type. It is not parsed, but is safe to use in a header."""
    if value is None:
        return None
    text = _text("content_type", value)
    if len(text) > _MAX_CONTENT_TYPE_CHARS or not _VISIBLE(text):
        raise InvalidRequest(
            f"content_type must be 1 to {_MAX_CONTENT_TYPE_CHARS} visible ASCII characters, such as text/plain"
        )
    return text


def metadata(value: Any) -> dict[str, Any] | None:
    """A copy of a JSON object."""
    if value is None:
        return None
    if not isinstance(value, dict):
        raise InvalidRequest(f"metadata must be a dict, not {type(value).__name__}")
    # Every value takes at least one byte of JSON. Counting them also stops the recursion for an object that contains
    # itself.
    copy: dict[str, Any] = _json(value, "metadata", 0, iter(range(MAX_METADATA_BYTES)))
    size = len(pydantic_core.to_json(copy))
    if size > MAX_METADATA_BYTES:
        raise InvalidRequest(f"metadata is {size} bytes of JSON; at most {MAX_METADATA_BYTES} are allowed")
    return copy


def _json(value: Any, where: str, depth: int, allowance: Iterator[int]) -> Any:
    # Exact types only: an instance of a subclass, or a tuple, would not be read back as the same type.
    if depth > MAX_METADATA_DEPTH:
        raise InvalidRequest(f"metadata is nested more than {MAX_METADATA_DEPTH} levels deep")
    if next(allowance, None) is None:
        raise InvalidRequest(f"metadata is more than {MAX_METADATA_BYTES} bytes of JSON, which is the limit")
    kind = type(value)
    if kind is dict:
        for key in value:
            if type(key) is not str:
                raise InvalidRequest(f"{where} has the key {_shown(key)}; the keys of a JSON object are text")
        return {
            _text(f"a key of {where}", k): _json(v, f"{where}[{_shown(k)}]", depth + 1, allowance)
            for k, v in value.items()
        }
    if kind is list:
        return [_json(item, f"{where}[{i}]", depth + 1, allowance) for i, item in enumerate(value)]
    return _scalar(value, where)


def _scalar(value: Any, where: str) -> Any:
    kind = type(value)
    if kind is str:
        return _text(where, value)
    if kind is float and not math.isfinite(value):
        raise InvalidRequest(f"{where} is {value!r}, which JSON cannot express")
    if kind is int and abs(value) >= _INT_BOUND:
        raise InvalidRequest(f"{where} is a number of more than {_MOST_DIGITS} digits, which JSON readers reject")
    if kind in {int, float, bool} or value is None:
        return value
    raise InvalidRequest(f"{where} is a {kind.__name__}; JSON has objects, lists, text, numbers, true, false and null")


def instance(name: str, value: T, method: str, how: str) -> T:
    """Something that has this method, as all of its kind have; `how` says how to get one from a URL."""
    if not hasattr(value, method):
        raise InvalidRequest(f"{name} is a value of type {type(value).__name__}; to open a URL, use {how}")
    return value


def limit(value: Any, name: str = "max_bytes") -> int:
    """A size limit, in bytes."""
    return _whole(name, value, 1)


def count(name: str, value: Any) -> int | None:
    """Any other number, 0 or more; None: not given."""
    return None if value is None else _whole(name, value, 0)


def remembered(value: Any) -> int:
    """How many files' metadata to cache at most."""
    return _whole("remember", value, 0)


def size(value: Any) -> int | None:
    """An expected size, in bytes."""
    return None if value is None else _whole("expected_bytes", value, 0)


def sha256(value: Any) -> str | None:
    """An expected SHA-256, in lower-case hexadecimal."""
    if value is None:
        return None
    if not isinstance(value, str) or not _SHA256(value):
        raise InvalidRequest("expected_sha256 must be 64 hexadecimal digits")
    return value.lower()


def lifetime(value: Any) -> int | None:
    """A file's lifetime, in whole seconds."""
    if value is None:
        return None
    whole = seconds("expires_after", value, least=1)
    if whole != int(whole):
        raise InvalidRequest(f"expires_after must be a whole number of seconds, not {_shown(value)}")
    return int(whole)


def seconds(name: str, value: Any, *, least: int = 0) -> float:
    """A time span, in seconds."""
    number = value.total_seconds() if isinstance(value, dt.timedelta) else value
    if isinstance(number, bool) or not isinstance(number, (int, float)) or not least <= number <= _LONGEST_SECONDS:
        raise InvalidRequest(
            f"{name} must be seconds, from {least} to {_LONGEST_SECONDS}, or a timedelta, not {_shown(value)}"
        )
    return float(number)


def validity(value: Any) -> int:
    """How long a signed URL is valid, in seconds."""
    return _whole("expires_in", value, 1)


def page_limit(value: Any) -> int | None:
    """How many files a page may contain; None: all."""
    return None if value is None else _whole("limit", value, 1, MAX_PAGE)


def order(value: Any) -> Literal["asc", "desc"]:
    """The direction of a listing."""
    if value == "asc":
        return "asc"
    if value == "desc":
        return "desc"
    raise InvalidRequest(f"order must be 'asc' or 'desc', not {_shown(value)}")


def byte_range(start: Any, stop: Any, size_bytes: int) -> tuple[int, int]:
    """A half-open range within a file of this size; `stop` is clipped to the size."""
    first = _whole("start", start, 0)
    last = size_bytes if stop is None else min(_whole("stop", stop, 0), size_bytes)
    if first > size_bytes:
        raise InvalidRequest(f"start is {_shown(first)}, past the end of the file ({size_bytes} bytes)")
    if last < first:
        raise InvalidRequest(f"stop is {last}, before start, which is {first}")
    return first, last


def _whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{name} must be a whole number, not {_shown(value)}")
    if value < least or (most is not None and value > most):
        bounds = f"{least} or more" if most is None else f"from {least} to {most}"
        raise InvalidRequest(f"{name} must be {bounds}, not {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except ValueError:
        # An int of more than 4300 digits cannot be converted to text (sys.set_int_max_str_digits).
        return f"a huge {type(value).__name__}"
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…"
