"""How uploads end: by a claim that only the first caller can make, and that records the outcome."""

from __future__ import annotations

import contextlib
import dataclasses

from holdall.aio import AsyncFileStore
from holdall.errors import FileNotFound, StorageError
from holdall.model import FileObject

__all__ = ["CANCELLED", "COMPLETED", "COMPLETING", "End", "Ends", "is_end"]

CANCELLED, COMPLETING, COMPLETED = "cancelled", "completing", "completed"


@dataclasses.dataclass(frozen=True, slots=True)
class End:
    """A claim on how an upload ends."""

    number: int
    """0, or one more than that of the claim which it supersedes."""
    state: str
    file_id: str | None = None
    """The file that results from the upload, published or about to be."""
    wanted: str | None = None
    """The fingerprint of the client's request."""

    def sealed(self) -> End:
        """The claim that cannot be superseded: the file exists."""
        return dataclasses.replace(self, number=self.number + 1, state=COMPLETED)


class Ends:
    """The claims on uploads, stored with the uploads: an entry `file-X-end-0` for the upload `file-X`."""

    def __init__(self, uploads: AsyncFileStore) -> None:
        self._uploads = uploads

    async def of(self, record: FileObject) -> End | None:
        """How this upload ends: the claim with the highest number counts. None if it has not ended."""
        end = None
        with contextlib.suppress(FileNotFound):
            while True:
                number = 0 if end is None else end.number + 1
                found = await self._uploads.get(_id(record, number))
                told = found.metadata or {}
                end = End(number, found.filename, told.get("file"), told.get("wanted"))
        return end

    async def claim(self, record: FileObject, end: End, *, keep_seconds: int) -> bool:
        """Claim the end of an upload. Returns whether the claim counts: the first one does, where the storage refuses a
        second entry with the same id.
        """
        begun = await self._uploads.begin(
            end.state,
            purpose="upload_end",
            expires_after=keep_seconds,
            metadata={"file": end.file_id, "wanted": end.wanted},
            file_id=_id(record, end.number),
        )
        async with begun as claim:
            try:
                await claim.finish()
            except StorageError:
                found = await self.of(record)
                if found is None or found.number < end.number:
                    raise
                return found == end
        return True


def is_end(entry_id: str) -> bool:
    """Whether an entry of an upload is a claim on its end; all others are its parts."""
    return "-end-" in entry_id


def _id(record: FileObject, number: int) -> str:
    return f"{record.id}-end-{number}"
