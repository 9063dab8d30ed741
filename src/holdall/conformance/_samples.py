"""Values that stores tend to get wrong: invalid ids, names, numbers, texts, large metadata, newer documents."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["FLOATS", "FUTURES", "INTEGERS", "TEXTS", "filenames", "hostile_ids", "lookalike_ids", "metadata_of"]

INTEGERS = (0, -1, 2**31, 2**53 + 1, -(2**53) - 1, 2**63, 2**64 + 1, -(2**64), 10**30)
FLOATS = (0.0, -0.0, 1.0, -1.0, 0.1, 1e16, 1e22, 1e-7, 5e-324, 1.7976931348623157e308, 123456789.123456789)

# Separated by bars, so that spaces at their ends are visible.
_PLAIN = "| |  both  |1|1.0|true|null|None|NaN|[]|{}|\"|'|\\|\\n|\\u0041|%20+&=|</script>|=?utf-8?q?x?=|aGVsbG8="
_CONTROLS = "\0|a\0b|\x01\x1f\x7f|\r\n|\n|\t|\u2028\u2029|\ufeff|caf\u00e9|cafe\u0301|😀|👩\u200d👩\u200d👧|\U0010ffff"
TEXTS = (*_PLAIN.split("|"), *_CONTROLS.split("|"), "2024-01-01T00:00:00Z", "x" * 5000)

_NAMES = (
    " leading|trailing |trailing.|...|.hidden|tab\tand\x01|a\u202egnp.exe|line\nbreak|carriage\r\nreturn|"
    "quo\"te|apos'trophe|back\\slash|a/b|/abs|../up|a%20b+c|%00|a?b#c&d=e|a:b<d>e*|CON|nul.txt|UPPER lower|"
    "\u212b|\ufb01|\uff21\uff22\uff23|\u0130\u0131\u017f|\u03a9\u2126|日本語.txt|\ufeffbom|zero\u200bwidth|a;b,c"
)


def filenames(longest: int) -> list[str]:
    """File names that a store might be tempted to change; none is longer than `longest` characters."""
    lengths = [c * n for c in "xé😀" for n in (127, 254, 255, 256, 1025, longest)]
    return [name for name in (*_NAMES.split("|"), *TEXTS, *lengths) if len(name) <= longest]


def hostile_ids(file_id: str) -> list[Any]:
    """Invalid ids: path traversals, a real id with additions, wrong alphabets, lengths and types."""
    digits = file_id[5:]
    ways_out = "../x|/etc/passwd|..|.||~|file-..|file-../../x|file-a/../../b|file-a\\..\\b|.staging|data.bin|meta.json"
    around = "../{}|./{}|/{}|x/../{}|{}/|{}/data.bin|{}/meta.json|{}\\|{}/../{}| {}|\n{}|\0{}|-{}|file-/{}|%66{}"
    after = "{}\n|{}\r\n|{}\0|{} |{}\t|{}.|{}?|{}#|{}*|{}%00|{}:x|{};|{}&"
    alphabets = "file-|file|file- |file-*|file-%2e%2e%2fx|file-a:b|file-$HOME|file-{}|file-a b|file-a,b|file-a=b"
    prefixes = ("", "file_", "File-", "FILE-", "file--/", "id-", "file:")
    lengths = (f"file-{'a' * 129}", f"file-{'a' * 5000}")
    return [
        *ways_out.split("|"),
        *(text.replace("{}", file_id) for text in f"{around}|{after}".split("|")),
        *alphabets.split("|"),
        *(f"{prefix}{digits}" for prefix in prefixes),
        *lengths,
        *(None, 7, True, b"file-a", file_id.encode(), [file_id]),
    ]


def lookalike_ids(file_id: str) -> list[str]:
    """Texts that become the id if they are normalized, case-folded or stripped."""
    digits = file_id[5:]
    wide = "".join(chr(ord(c) - 0x20 + 0xFF00) for c in file_id)
    arabic = "".join(chr(ord(c) - 0x30 + 0x660) if c.isdigit() else c for c in digits)
    mathematical = "".join(chr(ord(c) - 0x30 + 0x1D7CE) if c.isdigit() else c for c in digits)
    return [
        *(wide, wide[:5] + digits, f"file-{wide[5:]}", f"file-{arabic}", f"file-{mathematical}"),
        *(f"{mark}{file_id}" for mark in "\ufeff\u200b\u200f\u202e\u00ad\u00a0\u2060\u017f"),
        *(f"{file_id}{mark}" for mark in "\u200b\u200d\u200e\u200f\u00ad\u00a0\u0301\u2028\ufe0f\ud800"),
        *(f"{word}-{digits}" for word in ("\ufb01le", "fil\u0435", "f\u0131le", "fi\u217ce")),
        *(f"file{dash}{digits}" for dash in "\u2010\u2011\u2212\uff0d\ufe63"),
        *(f"file-{digits[:16]}{mark}{digits[16:]}" for mark in "\u200b\u00ad\u034f"),
    ]


def metadata_of(size: int, kind: str) -> dict[str, Any]:
    """Metadata of exactly this many bytes of compact JSON: "one text", "two-byte characters" or "many keys"."""
    if kind == "one text":
        return {"k": "x" * (size - 8)}
    if kind == "two-byte characters":
        return {"k": "é" * ((size - 8) // 2) + "x" * (size % 2)}
    many: dict[str, Any] = {f"key-{n}": n for n in range((size - 100) // 20)}
    many["pad"] = ""
    many["pad"] = "x" * (size - len(json.dumps(many, separators=(",", ":"))))
    return many


def _dumped(document: dict[str, Any], **options: Any) -> bytes:
    return json.dumps(document, ensure_ascii=False, **options).encode()


_NEW: dict[str, Any] = {"x_future": {"nested": [1, {"a": None}]}, "status_details": None, "version": 2, "parts": []}

FUTURES: dict[str, Any] = {
    "new fields at its end": lambda d: _dumped({**d, **_NEW}, indent=2),
    "new fields at its beginning": lambda d: _dumped({**_NEW, **d}, indent=2),
    "no white space": lambda d: _dumped(d, separators=(",", ":")),
    "much white space": lambda d: b"\n " + _dumped(d, indent=8) + b"\n\n",
    "its fields in another order": lambda d: _dumped(dict(reversed(d.items()))),
    "escaped text": lambda d: json.dumps({**d, "new": "é"}).encode(),
    "a new purpose": lambda d: _dumped({**d, "purpose": "purpose-of-2040"}),
    "a new status": lambda d: _dumped({**d, "status": "processed"}),
    "64 KiB of new fields": lambda d: _dumped({**d, "new": "x" * 65_536}),
}
"""By description: functions that turn a metadata document, as an object, into one that a newer version may write."""
