"""How ids with and without a prefix translate into each other."""

from __future__ import annotations

import re

from holdall.errors import FileNotFound, HoldallError, InvalidRequest
from holdall.ids import PREFIX, is_valid

__all__ = ["Names"]

# Without an underscore, so that no name with the underscore behind it begins another's. In lower case only, so that two
# names are two where a storage folds case, too.
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?").fullmatch
_SEPARATOR = "_"
_JUST_AFTER = chr(ord(_SEPARATOR) + 1)


class Names:
    """The names of one prefix: outside `file-X`, inside `file-<prefix>_X`."""

    def __init__(self, prefix: str) -> None:
        if not _NAME(prefix):
            raise InvalidRequest(f"{prefix!r} cannot be a prefix: it must be 1 to 32 of a-z, 0-9 and, in between, '-'")
        self._start = f"{PREFIX}{prefix}{_SEPARATOR}"
        self._end = f"{PREFIX}{prefix}{_JUST_AFTER}"
        # What follows a slash is a path, and stays: that is where an operator has to look.
        self._mentioned = re.compile(rf"(?<![\w/-]){re.escape(self._start)}")

    def inside(self, file_id: str) -> str:
        """The id in the storage. `FileNotFound` if it would be too long for one: then there is no such entry."""
        inside = self._start + file_id[len(PREFIX) :]
        if not is_valid(inside):
            raise FileNotFound(f"there is no file {file_id}: with its prefix the id is too long", file_id=file_id)
        return inside

    def outside(self, inside: str) -> str | None:
        """The id without the prefix; None if it has another or none."""
        outside = PREFIX + inside[len(self._start) :]
        return outside if inside.startswith(self._start) and is_valid(outside) else None

    def between(self, after: str | None, before: str | None) -> tuple[str, str]:
        """The bounds in the storage. Bounds need not be ids: what does not begin as ids do is before or after all."""
        lower, upper = self._start, self._end
        if after is not None and after > PREFIX:
            lower = self._start + after[len(PREFIX) :] if after.startswith(PREFIX) else self._end
        if before is not None and before.startswith(PREFIX):
            upper = self._start + before[len(PREFIX) :]
        elif before is not None and before < PREFIX:
            upper = self._start
        return lower, upper

    def correct(self, error: HoldallError) -> None:
        """Let an error of the storage name the id that the caller knows."""
        if error.file_id is not None:
            error.file_id = self.outside(error.file_id) or error.file_id
        error.args = (self._mentioned.sub(PREFIX, str(error)),)
