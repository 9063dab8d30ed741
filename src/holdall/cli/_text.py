"""Formatting and parsing of text, sizes, times and durations."""

from __future__ import annotations

import re

from holdall.errors import InvalidRequest

__all__ = ["human_size", "iso_time", "parse_duration", "parse_metadata", "parse_range", "parse_size", "visible"]

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_DURATION = re.compile(r"(?:\d+[smhdw])+").fullmatch
_RANGE = re.compile(r"(\d*):(\d*)").fullmatch
_LONGEST_NUMBER = 18


def visible(text: str) -> str:
    r"""The text with every non-printable character escaped, so that a terminal cannot interpret it.

    >>> print(visible("a\x1b[2Jb\n"))
    a\x1b[2Jb\n
    """
    # Spaces of other scripts, and joiners that words and emoji need, are harmless.
    return "".join(
        c if c.isprintable() or c in "\u00a0\u202f\u3000\u200c\u200d" else c.encode("unicode_escape").decode()
        for c in text
    )


def human_size(size_bytes: int) -> str:
    """A size in units of 1024, as in a store's `max_bytes=1GiB`.

    >>> human_size(1023), human_size(1536), human_size(5 * 1024**3)
    ('1023 B', '1.5 KiB', '5.0 GiB')
    """
    if size_bytes < 1024:
        return f"{size_bytes} B"
    size, power = size_bytes / 1024, 0
    # Sizes that would be printed as 1024.0 use the next unit.
    while size >= 1023.95 and power + 1 < len(_UNITS):
        size, power = size / 1024, power + 1
    return f"{size:.1f} {_UNITS[power]}"


def iso_time(unix_seconds: int) -> str:
    """A time in UTC; after the year 9999, the plain number.

    >>> iso_time(1_767_225_600)
    '2026-01-01T00:00:00Z'
    """
    import datetime as dt  # noqa: PLC0415

    try:
        return dt.datetime.fromtimestamp(unix_seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(unix_seconds)


def parse_duration(option: str, text: str) -> int:
    """A duration in seconds: `90`, `90s`, `15m`, `2h`, `7d`, `1w`, or several combined, such as `1h30m`.

    Raises `InvalidRequest` naming the option.

    >>> parse_duration("--older-than", "1h30m")
    5400
    """
    plain = text.strip().lower()
    if plain.isascii() and plain.isdigit() and len(plain) <= _LONGEST_NUMBER:
        return int(plain)
    if not plain.isascii() or not _DURATION(plain) or len(plain) > _LONGEST_NUMBER:
        raise InvalidRequest(f"{option} is {text!r}; write a time such as 90s, 15m, 2h, 7d or 1h30m")
    return sum(int(number) * _UNIT_SECONDS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", plain))


def parse_size(option: str, text: str) -> int:
    """A size in bytes, 1 or more: `1000`, `64MiB`, `2GB`. Raises `InvalidRequest` naming the option.

    >>> parse_size("--max-bytes", "64MiB")
    67108864
    """
    from pydantic import ByteSize, TypeAdapter, ValidationError  # noqa: PLC0415

    try:
        size = int(TypeAdapter(ByteSize).validate_python(text))
    except ValidationError:
        size = 0
    if size < 1:
        raise InvalidRequest(f"{option} is {text!r}; write a size such as 64MiB or 2GiB")
    return size


def parse_range(text: str) -> tuple[int, int | None]:
    """`START:STOP` in bytes, from START up to but not including STOP; either may be left out.

    >>> parse_range("10:20"), parse_range("10:"), parse_range(":20")
    ((10, 20), (10, None), (0, 20))
    """
    match = _RANGE(text.strip()) if text.isascii() and len(text) <= 2 * _LONGEST_NUMBER else None
    if match is None:
        raise InvalidRequest(f"--range is {text!r}; write START:STOP in bytes, such as 0:100 or 100:")
    return int(match[1] or 0), int(match[2]) if match[2] else None


def parse_metadata(text: str | None) -> dict[str, object] | None:
    """Parse a JSON object."""
    import json  # noqa: PLC0415

    if text is None:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidRequest("""--metadata is not a JSON object; write one such as '{"project": "x"}'""")
    return value
