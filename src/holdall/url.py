"""Store URLs: `scheme[+driver]://[authority]/path[?option=value&…]`.

How each part is read; the first line of a pair is the URL, the second what the backend gets:

>>> def parts(text):
...     u = StoreURL.parse(text)
...     return u.scheme, u.host, u.path, dict(u.query)
>>> parts("file:///var/lib/files?fsync=false")
('file', '', '/var/lib/files', {'fsync': 'false'})
>>> parts("/var/lib/my files")
('file', '', '/var/lib/my files', {})
>>> parts("memory://")
('memory', '', '', {})
>>> parts("memory://shared")
('memory', 'shared', '', {})
>>> parts("s3+obstore://bucket/some/prefix?region=eu-west-1")
('s3+obstore', 'bucket', '/some/prefix', {'region': 'eu-west-1'})
>>> parts("file:///a%20b%3Fc")
('file', '', '/a b?c', {})

Percent-encoding is that of RFC 3986 in every part; `+` stands for itself, since secrets contain it.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, unquote

from holdall.errors import InvalidStoreURL

__all__ = ["REDACTED", "StoreURL", "is_secret_name", "spellings", "without_passwords"]

REDACTED: Final = "***"

_SCHEME = re.compile(r"([a-z][a-z0-9.-]*(?:\+[a-z0-9][a-z0-9.-]*)?)://", re.IGNORECASE | re.ASCII)
# Matches a URL with a slash missing; a path that begins like this can be written with a leading "./".
_ALMOST_URL = re.compile(r"([a-z][a-z0-9.+-]+):(?:/|$)", re.IGNORECASE | re.ASCII)
# Matches a URL that lacks more than that but still contains a password.
_LOST_PASSWORD = re.compile(r"(?![a-z]:[\\/])[^/\\.~@][^@]*:[^/@]+@", re.IGNORECASE)
_INNER_PASSWORD = re.compile(r"(://[^/?#@:]*):[^/?#]*@")
_ADDRESS = re.compile(r"\[[^\]]*\]").fullmatch
_WORD = re.compile(r"[\w.+-]{1,40}").fullmatch
_SECRET_NAME = re.compile(
    r"secret|passw|passphrase|pwd|token|credential|signature|connection_string|api_?key|(^|_)key$|access_key|account_key"
    r"|(^|_)sas($|_)|(^|_)sig$|(^|_)auth"
)


def is_secret_name(option: str) -> bool:
    """Whether an option with this name contains a secret, and is therefore never shown."""
    return bool(_SECRET_NAME.search(option.lower().replace("-", "_").replace(".", "_")))


@dataclasses.dataclass(frozen=True)
class StoreURL:
    """A parsed store URL. `str` and `repr` never show a secret; `reveal()` does.

    Secrets are the password of the authority, every option with a secret's name (`is_secret_name`), and a password
    inside an option that is a URL itself.
    """

    scheme: str
    """Lower case, with its driver: `file`, `s3+obstore`."""
    host: str = ""
    """The first part of the authority, case preserved: a bucket, a host, a name."""
    port: int | None = None
    username: str | None = None
    password: str | None = dataclasses.field(default=None, repr=False)
    path: str = ""
    """Decoded; empty or starting with `/`."""
    query: Mapping[str, str] = dataclasses.field(default_factory=lambda: MappingProxyType({}), repr=False)
    """The options as text, decoded. Each name occurs once."""

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> StoreURL:
        """Parse a URL or the path of a local directory.

        A path is taken literally, made absolute, and a leading `~` is the home directory; it cannot have options.
        Raises `InvalidStoreURL`, whose message shows no secret.
        """
        if isinstance(text, os.PathLike):
            return cls._from_path(os.fsdecode(text))
        if not isinstance(text, str):
            raise InvalidStoreURL(f"a store URL is text or a path, not {type(text).__name__}")
        if any(ord(c) < 32 or ord(c) == 127 for c in text):
            raise InvalidStoreURL("a store URL cannot contain control characters; write them percent-encoded")
        match = _SCHEME.match(text)
        if match:
            return cls._from_url(match[1].lower(), text[match.end() :])
        if "://" in text:
            bad = text.partition("://")[0]
            # Anything longer than a word may be part of a URL that contains a secret.
            shown = repr(bad) if _WORD(bad) else "what stands before ://"
            raise InvalidStoreURL(f"{shown} is not a scheme: a scheme is letters, digits, '.' and '-', then '+driver'")
        if almost := _ALMOST_URL.match(text):
            raise InvalidStoreURL(
                f"a URL has two slashes after its scheme: write {almost[1]}://… "
                "(or ./ before the name of a directory with a ':')"
            )
        if _LOST_PASSWORD.match(text):
            raise InvalidStoreURL(
                "this looks like a URL with a password but has no ://, as in scheme://user:password@host "
                "(write ./ before the name of a directory with ':' and '@')"
            )
        if not text:
            raise InvalidStoreURL("the store URL is empty; give a URL such as file:///var/lib/files, or a path")
        if "?" in text:
            path = text.partition("?")[0]
            # An '@' suggests that a URL with a secret was meant.
            shown = "/…" if "@" in path else quote(os.path.abspath(path), errors="replace")
            raise InvalidStoreURL(
                f"a path takes no options: write file://{shown}?… for options, "
                "or %3F in a file:// URL for a '?' in the name"
            )
        return cls._from_path(os.path.expanduser(text))

    @classmethod
    def _from_path(cls, path: str) -> StoreURL:
        if "\0" in path:
            raise InvalidStoreURL("a path cannot contain a NUL character")
        _check_unicode(path)
        return cls("file", path=os.path.abspath(path))

    @classmethod
    def _from_url(cls, scheme: str, rest: str) -> StoreURL:
        _check_unicode(rest)
        if "#" in rest:
            raise InvalidStoreURL(f"in a {scheme}:// URL a '#' must be written %23")
        location, _, query = rest.partition("?")
        authority, slash, path = location.partition("/")
        userinfo, at, hostport = authority.rpartition("@")
        username, colon, password = userinfo.partition(":")
        if password == REDACTED:
            raise InvalidStoreURL(_hidden(scheme, "the password"))
        host, port = _split_port(scheme, hostport)
        return cls(
            scheme,
            host=_decode(scheme, host),
            port=port,
            username=_decode(scheme, username) if at else None,
            password=_decode(scheme, password) if colon else None,
            path=_decode(scheme, slash + path),
            query=MappingProxyType(_parse_query(scheme, query, secret=bool(colon))),
        )

    def with_options(self, options: Mapping[str, str | None]) -> StoreURL:
        """The same URL with these options set; an option that is None is removed."""
        query = {name: value for name, value in {**self.query, **options}.items() if value is not None}
        return dataclasses.replace(self, query=MappingProxyType(query))

    def redact(self, text: str) -> str:
        """A text, such as an error message, with the secrets of this URL replaced."""
        secrets = [self.password, *(value for name, value in self.query.items() if is_secret_name(name))]
        # A secret of up to three characters would match parts of ordinary words.
        forms = {form for secret in secrets if secret and len(secret) > 3 for form in spellings(secret)}
        # The longest first, because one may contain another.
        for form in sorted(forms, key=len, reverse=True):
            text = text.replace(form, REDACTED)
        return without_passwords(text)

    def child(self, name: str) -> StoreURL:
        """The URL of a location below this one: `name` as one more segment of the path, the options unchanged.

        >>> str(StoreURL.parse("s3://bucket/a?region=x").child("b c"))
        's3://bucket/a/b%20c?region=x'
        """
        if not name or "/" in name or name in {".", ".."}:
            raise InvalidStoreURL(f"{name!r} is not a single path segment")
        return dataclasses.replace(self, path=f"{self.path.rstrip('/')}/{name}")

    def reveal(self) -> str:
        """The URL with its secrets, for handing to another process. Never log it."""
        return self._text(hide=False)

    def __str__(self) -> str:
        return self._text(hide=True)

    def __repr__(self) -> str:
        return f"StoreURL({str(self)!r})"

    def __hash__(self) -> int:
        # Not the hash of the text: equal URLs may have their options in a different order.
        return hash((self.scheme, self.host, self.port, self.username, self.password, self.path, *sorted(self.query)))

    def __reduce__(self) -> tuple[object, ...]:
        # A MappingProxyType cannot be pickled.
        return StoreURL.parse, (self.reveal(),)

    def _text(self, *, hide: bool) -> str:
        authority = quote(self.host, safe="[]:" if _ADDRESS(self.host) else "")
        if self.port is not None:
            authority += f":{self.port}"
        if self.username is not None:
            user = quote(self.username, safe="")
            if self.password is not None:
                user += ":" + (REDACTED if hide else quote(self.password, safe=""))
            authority = f"{user}@{authority}"
        text = f"{self.scheme}://{authority}{quote(self.path)}"
        if self.query:
            text += "?" + "&".join(
                f"{quote(name, safe='')}=" + (_hide(name, value) if hide else quote(value, safe="/:,"))
                for name, value in self.query.items()
            )
        return text


def spellings(secret: str) -> set[str]:
    """The forms in which a secret can appear in a text: verbatim, percent-encoded, or escaped as by `repr`."""
    quoted = {quote(secret, safe=safe) for safe in ("", "/", "/:,")}
    return {secret, *quoted, repr(secret)[1:-1], ascii(secret)[1:-1]}


def _hide(name: str, value: str) -> str:
    if is_secret_name(name):
        return REDACTED
    return quote(without_passwords(value), safe="/:,*")


def without_passwords(text: str) -> str:
    """A text for display, with passwords of URLs in it replaced by `***`."""
    return _INNER_PASSWORD.sub(rf"\1:{REDACTED}@", text)


def _check_unicode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidStoreURL("the store URL or path is not UTF-8, so it cannot be written as a URL") from None


def _split_port(scheme: str, hostport: str) -> tuple[str, int | None]:
    if hostport.startswith("["):
        host, bracket, rest = hostport.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidStoreURL(f"the IPv6 address of this {scheme}:// URL is not closed by ']'")
        host, colon, port = host + "]", rest[:1], rest[1:]
    else:
        host, colon, port = hostport.partition(":")
    if not colon:
        return host, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536):
        # The text may be part of a secret that was not percent-encoded, so it is not shown.
        raise InvalidStoreURL(
            f"the port of this {scheme}:// URL is not a number from 1 to 65535 "
            "(a '/', ':' or '@' inside a name or secret must be percent-encoded)"
        )
    return host, int(port)


def _parse_query(scheme: str, query: str, *, secret: bool) -> dict[str, str]:
    """The options of a query. `secret` says whether a secret precedes it."""
    options: dict[str, str] = {}
    for item in filter(None, query.split("&")):
        raw_name, equals, raw_value = item.partition("=")
        name = _decode(scheme, raw_name)
        if not name or not equals:
            # After a secret, this may be the rest of it, following an '&' that was not percent-encoded.
            shown = "an option" if secret or not _WORD(name) or is_secret_name(name) else repr(name)
            raise InvalidStoreURL(f"{shown} of this {scheme}:// URL has no value: options are written name=value")
        if name in options:
            raise InvalidStoreURL(f"option {name!r} is given twice in this {scheme}:// URL; keep one")
        options[name] = _decode(scheme, raw_value)
        secret = secret or is_secret_name(name)
        # Compared in its encoded form, so that a secret that really is *** can be given percent-encoded.
        if raw_value == REDACTED and is_secret_name(name):
            raise InvalidStoreURL(_hidden(scheme, f"option {name!r}"))
    return options


def _hidden(scheme: str, part: str) -> str:
    return f"{part} of this {scheme}:// URL is {REDACTED}: it was printed with its secret hidden; fill it in"


def _decode(scheme: str, text: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise InvalidStoreURL(f"the percent-encoding of this {scheme}:// URL is not UTF-8") from None
    if "\0" in decoded:
        raise InvalidStoreURL(f"this {scheme}:// URL contains a NUL character (%00)")
    return decoded
