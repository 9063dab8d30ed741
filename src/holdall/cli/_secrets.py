"""Removes the secrets of the URLs given to this process from all of its output, even if the URLs are mistyped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from holdall.errors import InvalidStoreURL

__all__ = ["watch", "without_secrets"]

# The command-line arguments, which may contain secrets.
_arguments: list[str] = []

_OPTION = re.compile(r"([?&]|^)([^?&=]+)=([^&]+)")


def watch(arguments: Sequence[str]) -> None:
    """Remove the secrets of URLs among these arguments from all further output."""
    _arguments[:] = arguments


def without_secrets(text: str) -> str:
    """The text without the secrets of the URLs that this process was given."""
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
        # Which part of an invalid URL is secret is unknown.
        text = text.replace(given, f"{given.partition('://')[0]}://{REDACTED}")
        return _without_what_may_be_secret(given, text)
    shown = str(url)
    # This also covers usage errors, which repeat the argument verbatim. A URL without a secret is shown as it was
    # written.
    return url.redact(text.replace(given, shown) if REDACTED in shown else text)


def _without_what_may_be_secret(given: str, text: str) -> str:
    """The text without what would be secret if this argument, which is not a URL, was meant to be one."""
    from holdall.url import REDACTED, spellings  # noqa: PLC0415

    # Only between the same delimiters: on its own it may be an ordinary word that occurs elsewhere in the text.
    for before, secret, after in _possible(given):
        for spelling in spellings(secret):
            text = text.replace(f"{before}{spelling}{after}", f"{before}{REDACTED}{after}")
    return text


def _possible(given: str) -> Iterator[tuple[str, str, str]]:
    """Possible secrets, each with its preceding and following delimiter."""
    from holdall.url import is_secret_name  # noqa: PLC0415

    start, at, _ = given.rpartition("@")
    _, colon, password = start.partition(":")
    # Anything that begins like a path is one.
    if at and colon and password and not given.startswith(("/", ".", "~")):
        yield ":", password, "@"
    for option in _OPTION.finditer(given):
        if is_secret_name(option[2]):
            yield "=", option[3], ""
