"""Translation between ids with and without a prefix."""

from __future__ import annotations

import re

from holdall.errors import FileNotFound, HoldallError, InvalidRequest
from holdall.ids import PREFIX, is_valid

__all__ = ["Names"]

# No underscore, so that no prefix followed by the separator is the beginning of another's names. Lower case only, so
# that two prefixes stay distinct on a case-insensitive storage.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?").fullmatch
_SEPARATOR = "_"
_JUST_AFTER = chr(ord(_SEPARATOR) + 1)


class Names:
    """The names under one prefix: outside `file-X`, inside `file-<prefix>_X`."""

    def __init__(self, prefix: str) -> None:
        if not _NAME(prefix):
            raise InvalidRequest(f"{prefix!r} cannot be a prefix: it must be 1 to 32 of a-z, 0-9 and, in between, '-'")
        self._start = f"{PREFIX}{prefix}{_SEPARATOR}"
        self._end = f"{PREFIX}{prefix}{_JUST_AFTER}"
        # An id after a slash is part of a path, which is kept: it tells an operator where to look.
        self._mentioned = re.compile(rf"(?<![\w/-]){re.escape(self._start)}")

    def inside(self, file_id: str) -> str:
        """The id in the storage. Raises `FileNotFound` if it would be too long: then there is no such entry."""
        inside = self._start + file_id[len(PREFIX) :]
        if not is_valid(inside):
            raise FileNotFound(f"there is no file {file_id}: with its prefix the id is too long", file_id=file_id)
        return inside

    def outside(self, inside: str) -> str | None:
        """The id without the prefix; None if it does not have this prefix."""
        outside = PREFIX + inside[len(self._start) :]
        return outside if inside.startswith(self._start) and is_valid(outside) else None

    def between(self, after: str | None, before: str | None) -> tuple[str, str]:
        """The bounds in the storage. A bound need not be an id; it may also lie before or after all ids."""
        lower, upper = self._start, self._end
        if after is not None and after > PREFIX:
            lower = self._start + after[len(PREFIX) :] if after.startswith(PREFIX) else self._end
        if before is not None and before.startswith(PREFIX):
            upper = self._start + before[len(PREFIX) :]
        elif before is not None and before < PREFIX:
            upper = self._start
        return lower, upper

    def correct(self, error: HoldallError) -> None:
        """Replace the id in the storage by the id that the caller knows."""
        if error.file_id is not None:
            error.file_id = self.outside(error.file_id) or error.file_id
        error.args = (self._mentioned.sub(PREFIX, str(error)),)
