"""The keys of an entry's two objects in the bucket."""

from __future__ import annotations

from dataclasses import dataclass

from holdall.errors import InvalidStoreURL
from holdall.ids import is_valid

__all__ = ["DATA", "META", "Keys"]

DATA = "data.bin"
META = "meta.json"

# S3 allows 1024 bytes; an id has up to 133, and the names and slashes 10 more.
_MOST_PREFIX_BYTES = 1024 - 133 - 11


@dataclass(frozen=True)
class Keys:
    """The keys below one prefix."""

    base: str
    """The start of every key: empty, or the prefix and a slash."""

    @classmethod
    def below(cls, path: str) -> Keys:
        """The keys below a URL's path. Raises `InvalidStoreURL` for a prefix that other tools would normalize."""
        prefix = path.strip("/")
        segments = prefix.split("/")
        if prefix and any(segment in {"", ".", ".."} for segment in segments):
            raise InvalidStoreURL(f"the prefix {prefix!r} has an empty segment, '.' or '..'; leave it out")
        if any(ord(c) < 32 or ord(c) == 127 for c in prefix):
            raise InvalidStoreURL(f"the prefix {prefix!r} has a control character; leave it out")
        if len(prefix.encode()) > _MOST_PREFIX_BYTES:
            raise InvalidStoreURL(f"the prefix is longer than {_MOST_PREFIX_BYTES} bytes; shorten it")
        return cls(f"{prefix}/" if prefix else "")

    def data(self, file_id: str) -> str:
        """The key of the data."""
        return f"{self.base}{file_id}/{DATA}"

    def meta(self, file_id: str) -> str:
        """The key of the metadata."""
        return f"{self.base}{file_id}/{META}"

    def split(self, key: str) -> tuple[str, str] | None:
        """The id and the name in a key; None if it is not the key of an entry's object."""
        if not key.startswith(self.base):
            return None
        file_id, slash, name = key[len(self.base) :].partition("/")
        return (file_id, name) if slash and is_valid(file_id) else None
