"""An asynchronous upload."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Self

from anyio import get_cancelled_exc_class

from holdall.aio._threads import Threads
from holdall.errors import InvalidRequest

if TYPE_CHECKING:
    from types import TracebackType

    from holdall._upload import Upload
    from holdall.backend import Buffer
    from holdall.model import FileObject, FilePurpose

__all__ = ["AsyncUpload"]


class AsyncUpload:
    """What `AsyncFileStore.begin` returns. See `Upload`: the same methods with the same promises, awaitable.

    An async context manager: leaving it unfinished discards it, even in a cancelled task. For one task at a time.
    """

    def __init__(self, upload: Upload, threads: Threads, delete_again: Callable[[FileObject], object]) -> None:
        self._upload = upload
        self._threads = threads
        self._delete_again = delete_again
        # Whether a write was cancelled, so that it is unknown whether its chunk was written.
        self._cancelled = False

    @property
    def file_id(self) -> str:
        """See `Upload.file_id`."""
        return self._upload.file_id

    async def write(self, chunk: Buffer) -> None:
        """See `Upload.write`. The memory of `chunk` must not be changed before this returns.

        After a cancellation, as after an error, the upload can only be discarded: the chunk may have been written, and
        writing it again would duplicate it.
        """
        self._check_whole("write to")
        try:
            await self._threads.run(self._upload.write, chunk)
        except get_cancelled_exc_class():
            self._cancelled = True
            raise

    async def finish(
        self, *, purpose: FilePurpose | str | None = None, expires_after: float | dt.timedelta | None = None
    ) -> FileObject:
        """See `Upload.finish`. A cancel scope waits for it; for `Task.cancel`, see `AsyncFileStore.create`."""
        if self._cancelled:
            await self.discard()
        self._check_whole("finish")
        finish = partial(self._upload.finish, purpose=purpose, expires_after=expires_after)
        return await self._threads.run(finish, undo=self._delete_again)

    async def discard(self) -> None:
        """See `Upload.discard`."""
        if not self._upload.ended:
            await self._threads.run(self._upload.discard, certain=True)

    def _check_whole(self, what: str) -> None:
        if self._cancelled:
            raise InvalidRequest(f"cannot {what} an upload after one of its writes was cancelled; begin another")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.discard()
