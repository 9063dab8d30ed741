"""API keys, each of which belongs to a tenant.

Keys come from an environment variable, `alice:KEY,bob:KEY`, or from a file with one line for each, `alice:SHA256`,
which contains no key itself. The file may be changed while the server runs.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import logging
import os
import re
import secrets
from collections.abc import Iterable

from holdall.errors import InvalidRequest
from holdall.ids import PREFIX

__all__ = ["KEYS_FILE_VARIABLE", "KEYS_VARIABLE", "TENANT", "Keys", "add_line", "check_tenant", "new_key"]

KEYS_VARIABLE = "HOLDALL_API_KEYS"
KEYS_FILE_VARIABLE = "HOLDALL_API_KEYS_FILE"
TENANT = "holdall.tenant"
"""The key in a request's scope that contains the name of its tenant."""

# Safe as the name of a directory, in a key line, and as a prefix of `holdall.wrappers.Prefixed`; lower case only, for
# case-insensitive storages.
_TENANT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?").fullmatch
_RULE = f"it must be 1 to 32 of a-z, 0-9 and, in between, '-', not beginning with {PREFIX!r}"
_HASH = re.compile(r"[0-9a-fA-F]{64}").fullmatch
_KEY = re.compile(r"[\x21-\x7e]+").fullmatch

_log = logging.getLogger("holdall.server")

_Entries = tuple[tuple[bytes, str], ...]


def check_tenant(name: str) -> str:
    """The name, if it is valid. Raises `InvalidRequest`."""
    if not _TENANT(name) or name.startswith(PREFIX):
        raise InvalidRequest(f"{name!r} cannot be a tenant: {_RULE}")
    return name


def new_key(tenant: str) -> tuple[str, str]:
    """A new key for a tenant, and the line for it in a key file."""
    key = f"sk-{secrets.token_urlsafe(32)}"
    return key, f"{check_tenant(tenant)}:{_digest(key).hex()}"


def add_line(path: str | os.PathLike[str], line: str) -> None:
    """Add a line to a key file, which is created if it does not exist. Concurrent calls do not lose lines."""
    # Readable only by its owner: the file reveals no key, but a line added to it gives access.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with open(fd, "ab", buffering=0) as file:
        # Concurrent writers must take turns, since each looks at how the file ends.
        fcntl.flock(fd, fcntl.LOCK_EX)
        size = os.fstat(fd).st_size
        begin = b"" if not size or os.pread(fd, 1, size - 1) == b"\n" else b"\n"
        rest = begin + f"{line}\n".encode()
        try:
            # On a full disk, a write may be partial, and only the next call fails.
            while rest:
                rest = rest[file.write(rest) :]
        except BaseException:
            # A server would not start with an incomplete line in the file.
            file.truncate(size)
            raise


class Keys:
    """API keys and the tenant of each. A tenant may have several; a key has one tenant."""

    def __init__(self, text: str | None = None, *, file: str | os.PathLike[str] | None = None) -> None:
        """Keys from a variable's text, a file, or both. Raises `InvalidRequest` if they are malformed, without showing
        a key.

        The file is read again when it has changed. If it is malformed then, this is logged, and the previous keys stay
        valid; if it has been deleted, it counts as empty.
        """
        self._fixed = tuple(_from_text(text)) if text else ()
        self._file = None if file is None else os.fspath(file)
        self._of_file: _Entries = ()
        self._version: tuple[int, ...] | None = None
        if self._file is not None:
            self._version = _version(self._file)
            self._of_file = _from_file(self._file)
        _check_owners(self._fixed + self._of_file)

    @classmethod
    def from_environment(cls) -> Keys | None:
        """The keys of `$HOLDALL_API_KEYS` and of the file `$HOLDALL_API_KEYS_FILE`; None if both are unset or empty."""
        text, file = os.environ.get(KEYS_VARIABLE), os.environ.get(KEYS_FILE_VARIABLE)
        return cls(text, file=file or None) if text or file else None

    def tenants(self) -> frozenset[str]:
        """The tenants that have a key now."""
        return frozenset(tenant for _, tenant in self._entries())

    def tenant_of(self, key: str) -> str | None:
        """The tenant of this key; None if it is unknown. Takes constant time."""
        given, found = _digest(key), None
        # Compares with all of them, even after a match; and compares digests, whose bytes a client cannot choose.
        for digest, tenant in self._entries():
            if hmac.compare_digest(digest, given):
                found = tenant
        return found

    def _entries(self) -> _Entries:
        if self._file is not None and (version := _version(self._file)) != self._version:
            self._version = version
            self._reload(self._file)
        return self._fixed + self._of_file

    def _reload(self, file: str) -> None:
        try:
            entries = _from_file(file) if self._version is not None else ()
            _check_owners(self._fixed + entries)
            self._of_file = entries
        except InvalidRequest as error:
            _log.error("the keys stay as they were: %s", error)
        else:
            _log.info("read the keys of %d tenants from %s", len({t for _, t in self._of_file}), file)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()


def _from_text(text: str) -> Iterable[tuple[bytes, str]]:
    for number, item in enumerate(filter(None, (part.strip() for part in text.split(","))), 1):
        tenant, colon, key = item.partition(":")
        if not colon or not _KEY(key):
            raise InvalidRequest(f"key {number} of the list is not of the form tenant:key")
        yield _digest(key), _tenant(tenant, f"key {number} of the list")


def _from_file(path: str) -> _Entries:
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        raise InvalidRequest(f"cannot read the file of keys {path}: {why}; 'holdall key' writes one") from error
    entries = []
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        tenant, _, digest = text.partition(":")
        if not _HASH(digest):
            raise InvalidRequest(f"line {number} of {path} is not of the form tenant:SHA-256 in hexadecimal")
        entries.append((bytes.fromhex(digest), _tenant(tenant, f"line {number} of {path}")))
    return tuple(entries)


def _check_owners(entries: _Entries) -> None:
    # Its holder would see the files of only one of them, and nobody could tell whose.
    owners: dict[bytes, str] = {}
    for digest, tenant in entries:
        if (other := owners.setdefault(digest, tenant)) != tenant:
            raise InvalidRequest(f"{other} and {tenant} have the same key; give each tenant keys of its own")


def _tenant(name: str, where: str) -> str:
    try:
        return check_tenant(name)
    except InvalidRequest:
        # Without the text: if the two parts of a line are swapped, it is the key.
        raise InvalidRequest(f"the tenant in {where} cannot be one: {_RULE}") from None


def _version(path: str) -> tuple[int, ...] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
