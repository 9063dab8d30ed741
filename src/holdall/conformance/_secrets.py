"""Secrets of a URL, and detection of their disclosure by a text or an error."""

from __future__ import annotations

import secrets
import traceback
from typing import Any
from urllib.parse import quote

from holdall.conformance._kit import broken
from holdall.url import StoreURL, is_secret_name

__all__ = ["Secrets", "leaks", "new_secret", "secrets_of"]

Secrets = dict[str, str]
"""The secrets by description: `{"the password": "…"}`."""

# A shorter text may occur by chance.
_SHORTEST = 6


def new_secret() -> tuple[str, Secrets]:
    """A secret that must be percent-encoded in a URL, and its two halves, by which it is recognized."""
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    return f"{first}/@:&%{second}", {"the first half of the secret": first, "the second half of the secret": second}


def secrets_of(url: str) -> Secrets:
    """The password and the secret options of a URL, verbatim and percent-encoded."""
    parsed = StoreURL.parse(url)
    found = {f"the option {name!r}": value for name, value in parsed.query.items() if is_secret_name(name)}
    if parsed.password:
        found["the password"] = parsed.password
    found |= {f"{name}, percent-encoded": quote(value, safe="") for name, value in found.items()}
    return {name: value for name, value in found.items() if len(value) >= _SHORTEST}


def leaks(hidden: Secrets, did: str, subject: Any) -> None:
    """Raises `Broken` if a text, an object's `str` or `repr`, or an error's text, fields or chain contains a secret."""
    texts = {"its text": str(subject), "its repr": repr(subject)}
    if isinstance(subject, BaseException):
        texts["its traceback"] = "".join(traceback.format_exception(subject))
        texts["its arguments"] = repr(subject.args)
        texts["its fields"] = repr({name: str(value) for name, value in vars(subject).items()})
    for place, text in texts.items():
        for name, secret in hidden.items():
            if secret in text:
                shown = text.replace(secret, "<the secret>")
                raise broken(did, f"{name} nowhere", f"it stands in {place}: {shown[-300:]}")
