"""Keeps the secrets of the URLs that the process was given out of all that it says, however they were mistyped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from holdall.errors import InvalidStoreURL

__all__ = ["watch", "without_secrets"]

# The arguments of the process, which may hold secrets.
_arguments: list[str] = []

_DRIVE = re.compile(r"[a-z]:(?=[\\/])", re.IGNORECASE | re.ASCII)
# What may be left of `scheme://`.
_SCHEME = re.compile(r"[a-z][a-z0-9.+-]+(?::|[:;]?[\\/]+)", re.IGNORECASE | re.ASCII)
_IN_A_SEGMENT = re.compile(r":([^/\\@]+)@")
_OPTION = re.compile(r"(^|[?&])([^?&=]+)=([^&]+)")


def watch(arguments: Sequence[str]) -> None:
    """Keep the secrets of the URLs among these arguments out of all that is said from now on."""
    _arguments[:] = arguments


def without_secrets(text: str) -> str:
    """The text, without the secrets of the URLs that this process was given."""
    for argument in (*_arguments, os.environ.get("HOLDALL_STORE", "")):
        given = argument
        if argument.startswith("--"):
            given = argument.partition("=")[2]
            text = _without_what_may_be_secret(argument.removesuffix(f"={given}"), text)
        if "://" in given:
            text = _without_secrets_of(given, text)
        elif "@" in given or "=" in given:
            text = _without_what_may_be_secret(given, text)
    return text


def _without_secrets_of(given: str, text: str) -> str:
    from holdall.url import REDACTED, StoreURL  # noqa: PLC0415

    try:
        url = StoreURL.parse(given)
    except InvalidStoreURL:
        # Nobody can tell which part of it is secret.
        text = text.replace(given, f"{given.partition('://')[0]}://{REDACTED}")
        return _without_what_may_be_secret(given, text)
    shown = str(url)
    # Also where a usage error repeats it word for word. One without a secret stays as it was written.
    return url.redact(text.replace(given, shown) if REDACTED in shown else text)


def _without_what_may_be_secret(given: str, text: str) -> str:
    """The text without what would be secret if this argument, which is no URL, was meant to be one.

    Replaced only between the same signs: it may be an ordinary word, and stand elsewhere in the text.
    """
    from holdall.url import REDACTED, spellings  # noqa: PLC0415

    # A usage error is made one line, and so is what it repeats.
    for before, secret, after in list(_possible(given)) + list(_possible(" ".join(given.split()))):
        for spelling in sorted(spellings(secret), key=len, reverse=True):
            for start, end in {(before, after), (_quoted(before), _quoted(after))}:
                text = text.replace(f"{start}{spelling}{end}", f"{before}{REDACTED}{after}")
    return text


def _possible(given: str) -> Iterator[tuple[str, str, str]]:
    """What may be secrets, each with the signs that stand before and behind it."""
    from urllib.parse import unquote  # noqa: PLC0415

    from holdall.url import is_secret_name  # noqa: PLC0415

    yield from ((":", password, "@") for password in _passwords(given.strip()))
    for option in _OPTION.finditer(given):
        # `key=…` is also what directories of data are called.
        if is_secret_name(unquote(option[2])) and (option[1] or option[2] != "key"):
            yield "=", option[3], ""


def _passwords(given: str) -> list[str]:
    given = given[2:] if _DRIVE.match(given) else given
    if given.startswith(("/", "\\", ".", "~")):
        # A path, in which both signs may stand far from one another.
        return _IN_A_SEGMENT.findall(given)
    start, at, _ = given.rpartition("@")
    scheme = _SCHEME.match(start)
    _, colon, password = start[scheme.end() if scheme else 0 :].partition(":")
    if not colon and not start.lower().startswith("mailto:"):
        _, colon, password = start.partition(":")
    if not (at and colon and password):
        return []
    # Prose with a colon and an address; only what has a scheme may have blanks in its password.
    prose = any(c.isspace() for c in start) and not (scheme and scheme[0].endswith(("/", "\\")))
    return [] if prose else [password]


def _quoted(sign: str) -> str:
    from urllib.parse import quote  # noqa: PLC0415

    return quote(sign, safe="")
