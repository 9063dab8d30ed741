"""Keeps the secrets of the URLs that the process was given out of all that it says, however they were mistyped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from holdall.errors import InvalidStoreURL

__all__ = ["watch", "without_secrets"]

# The arguments of the process, which may hold secrets.
_arguments: list[str] = []

_OPTION = re.compile(r"([?&]|^)([^?&=]+)=([^&]+)")


def watch(arguments: Sequence[str]) -> None:
    """Keep the secrets of the URLs among these arguments out of all that is said from now on."""
    _arguments[:] = arguments


def without_secrets(text: str) -> str:
    """The text, without the secrets of the URLs that this process was given."""
    for argument in (*_arguments, os.environ.get("HOLDALL_STORE", "")):
        given = argument.partition("=")[2] if argument.startswith("--") else argument
        for part in {argument, given}:
            text = _without_secrets_of(part, text) if "://" in part else _without_what_may_be_secret(part, text)
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
    """The text without what would be secret if this argument, which is no URL, was meant to be one."""
    from holdall.url import REDACTED, spellings  # noqa: PLC0415

    # Only between the same signs: by itself it may be an ordinary word, which stands elsewhere in the text.
    for before, secret, after in _possible(given):
        for spelling in spellings(secret):
            text = text.replace(f"{before}{spelling}{after}", f"{before}{REDACTED}{after}")
    return text


def _possible(given: str) -> Iterator[tuple[str, str, str]]:
    """What may be secrets, each with the signs that stand before and behind it."""
    from holdall.url import is_secret_name  # noqa: PLC0415

    start, at, _ = given.rpartition("@")
    _, colon, password = start.partition(":")
    # What begins like a path is one.
    if at and colon and password and not given.startswith(("/", ".", "~")):
        yield ":", password, "@"
    for option in _OPTION.finditer(given):
        if is_secret_name(option[2]):
            yield "=", option[3], ""
