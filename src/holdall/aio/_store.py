"""An awaitable `FileStore`."""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
from collections.abc import Callable, Generator, Iterator
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from anyio import from_thread
from anyio.lowlevel import checkpoint

from holdall import _arguments as arguments
from holdall.aio._reader import AsyncFileReader
from holdall.aio._sources import AsyncSource, awaited, noticing
from holdall.aio._threads import DEFAULT_MAX_THREADS, Threads
from holdall.aio._upload import AsyncUpload
from holdall.errors import FileNotFound
from holdall.upkeep import DEFAULT_GRACE_SECONDS, SweepReport, VerifyReport

if TYPE_CHECKING:
    from types import TracebackType

    from holdall.backend import Capability
    from holdall.model import FileObject, FilePage, FilePurpose
    from holdall.store import FileStore
    from holdall.url import StoreURL

__all__ = ["AsyncFileStore"]

_FILES_A_TIME = 100
# Copied in less time than it takes to hand the call to a thread.
_QUICK_BYTES = 64 * 1024


class AsyncFileStore:
    """A `FileStore` for asyncio and trio: the same methods with the same promises and errors, awaitable.

    Calls run on at most `max_threads` worker threads of this store for each event loop; further calls wait for a free
    one. Only calls that take microseconds run on the event loop itself: see `FileStore.is_quick`.
    An upload from an asynchronous source occupies a thread only while the storage writes, however slow the source is.

    A call that has begun on the storage is always waited for, even if the task is cancelled. If a cancel scope cancels
    it, the call still returns its result, and the cancellation is raised at the next await; so the caller knows what
    was done. asyncio's `Task.cancel` is raised as soon as the call has ended.

    An async context manager; `async for` yields all files, oldest first. Several event loops may use it at once.
    """

    def __init__(self, store: FileStore, *, max_threads: int = DEFAULT_MAX_THREADS) -> None:
        """Most callers want `holdall.open_async_store`. Closing this store closes `store`."""
        self._store = arguments.instance("store", store, "get_content", "holdall.open_async_store")
        self._threads = Threads(max_threads)

    @property
    def url(self) -> StoreURL | None:
        """See `FileStore.url`."""
        return self._store.url

    @property
    def capabilities(self) -> Capability:
        """See `FileStore.capabilities`."""
        return self._store.capabilities

    @property
    def max_bytes(self) -> int:
        """See `FileStore.max_bytes`."""
        return self._store.max_bytes

    @property
    def remember(self) -> int:
        """See `FileStore.remember`."""
        return self._store.remember

    @remember.setter
    def remember(self, most: int) -> None:
        self._store.remember = most

    async def create(
        self,
        filename: str,
        data: AsyncSource,
        *,
        purpose: FilePurpose | str,
        max_bytes: int | None = None,
        expires_after: float | dt.timedelta | None = None,
        content_type: str | None = None,
        metadata: dict[str, Any] | None = None,
        expected_bytes: int | None = None,
        expected_sha256: str | None = None,
    ) -> FileObject:
        """Store a new file, as `FileStore.create` does: all of it, or nothing if anything goes wrong.

        `data` is anything that `FileStore.create` accepts, read on a worker thread; or an asynchronous iterable of
        bytes, or an object whose `read(n)` is a coroutine function (Starlette's `UploadFile`), awaited in this task.
        The next chunk is requested once the storage has written the previous one. Exceptions of a source are passed on
        unchanged; an asynchronous generator that is not read to its end is closed.

        If the call is cancelled before the source has ended, nothing is stored, and what was written has been discarded
        by the time the cancellation is raised; a synchronous source is abandoned at its next chunk. After that the file
        is being published. A cancel scope then waits, and the file is returned. asyncio's `Task.cancel` cannot be made
        to wait: the file is deleted again before the cancellation is raised, and others may have seen it in between. If
        that delete fails, the file stays, and a warning is logged.
        """
        source = awaited(data)
        options: dict[str, Any] = {
            "purpose": purpose,
            "max_bytes": max_bytes,
            "expires_after": expires_after,
            "content_type": content_type,
            "metadata": metadata,
            "expected_sha256": expected_sha256,
        }
        if source is None:
            create = partial(self._store.create, filename, **options)
            return await self._threads.run(_create_noticing, create, data, expected_bytes, undo=self._delete_again)
        # An abandoned generator must be closed explicitly: trio warns otherwise.
        closing: contextlib.AbstractAsyncContextManager[Any] = contextlib.nullcontext()
        if inspect.isasyncgen(source):
            closing = contextlib.aclosing(source)
        async with closing, await self.begin(filename, expected_bytes=expected_bytes, **options) as upload:
            async for chunk in source:
                await upload.write(chunk)
            return await upload.finish()

    async def begin(
        self,
        filename: str,
        *,
        purpose: FilePurpose | str,
        max_bytes: int | None = None,
        expires_after: float | dt.timedelta | None = None,
        content_type: str | None = None,
        metadata: dict[str, Any] | None = None,
        expected_bytes: int | None = None,
        expected_sha256: str | None = None,
        file_id: str | None = None,
    ) -> AsyncUpload:
        """See `FileStore.begin`: `async with await store.begin(...) as upload`. Occupies no thread between writes."""
        begin = partial(
            self._store.begin,
            filename,
            purpose=purpose,
            max_bytes=max_bytes,
            expires_after=expires_after,
            content_type=content_type,
            metadata=metadata,
            expected_bytes=expected_bytes,
            expected_sha256=expected_sha256,
            file_id=file_id,
        )
        upload = await self._threads.run(begin, undo=lambda upload: upload.discard())
        return AsyncUpload(upload, self._threads, self._delete_again)

    async def get(self, file_id: str) -> FileObject:
        """See `FileStore.get`."""
        if self._store.is_quick(file_id):
            await checkpoint()
            return self._store.get(file_id)
        return await self._threads.run(self._store.get, file_id)

    async def list(
        self,
        *,
        purpose: FilePurpose | str | None = None,
        after: str | None = None,
        limit: int | None = None,
        order: str = "asc",
    ) -> FilePage:
        """See `FileStore.list`."""
        call = partial(self._store.list, purpose=purpose, after=after, limit=limit, order=order)
        return await self._threads.run(call)

    def __aiter__(self) -> AsyncFiles:
        return AsyncFiles(iter(self._store), self._threads)

    async def get_content(self, file_id: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `FileStore.get_content`."""
        if self._store.is_quick(file_id, _QUICK_BYTES):
            await checkpoint()
            return self._store.get_content(file_id, start, stop)
        return await self._threads.run(self._store.get_content, file_id, start, stop)

    async def open(self, file_id: str) -> AsyncFileReader:
        """A file as an asynchronous stream: `async with await store.open(file_id) as file`. See `FileStore.open`."""
        stream = await self._threads.run(self._store.open, file_id, undo=lambda stream: stream.close())
        return AsyncFileReader(stream, self._threads)

    async def local_path(self, file_id: str) -> str:
        """See `FileStore.local_path`."""
        return await self._threads.run(self._store.local_path, file_id)

    async def signed_url(self, file_id: str, expires_in: int) -> str:
        """See `FileStore.signed_url`."""
        return await self._threads.run(self._store.signed_url, file_id, expires_in)

    async def delete(self, file_id: str) -> None:
        """See `FileStore.delete`."""
        await self._threads.run(self._store.delete, file_id)

    async def sweep(
        self, *, older_than: float | dt.timedelta = DEFAULT_GRACE_SECONDS, dry_run: bool = False
    ) -> SweepReport:
        """See `FileStore.sweep`."""
        return await self._threads.run(partial(self._store.sweep, older_than=older_than, dry_run=dry_run))

    async def verify(
        self,
        *,
        older_than: float | dt.timedelta = DEFAULT_GRACE_SECONDS,
        on_file: Callable[[str, int], None] | None = None,
    ) -> VerifyReport:
        """See `FileStore.verify`. `on_file` is called on the event loop. If cancelled, stops after the current file."""

        def report(file_id: str, size: int) -> None:
            from_thread.check_cancelled()
            if on_file is not None:
                from_thread.run_sync(on_file, file_id, size)

        return await self._threads.run(partial(self._store.verify, older_than=older_than, on_file=report))

    async def close(self) -> None:
        """See `FileStore.close`. Also works in a cancelled task."""
        await self._threads.run(self._store.close, certain=True)

    async def __aenter__(self) -> Self:
        self._store.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Async{repr(self._store)[1:]}"

    def _delete_again(self, file: FileObject) -> None:
        with contextlib.suppress(FileNotFound):
            self._store.delete(file.id)


class AsyncFiles:
    """All files of a store, fetched a hundred at a time; occupies no thread in between. For one task at a time."""

    # Not an async generator: one that is abandoned early needs the event loop's help to be closed, and trio warns of
    # it.
    def __init__(self, files: Iterator[FileObject], threads: Threads) -> None:
        self._files = files
        self._threads = threads
        self._fetched: Iterator[FileObject] = iter(())
        self._failure: Exception | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FileObject:
        file = next(self._fetched, None)
        if file is None and self._failure is None:
            await self._threads.run(self._fetch)
            file = next(self._fetched, None)
        if file is not None:
            return file
        # Files that were read before an error are yielded first, as when iterating over a FileStore.
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        raise StopAsyncIteration

    def _fetch(self) -> None:
        # Stored here rather than returned: a task that is cancelled in the meantime gets no result, and iterating
        # further would miss these files, or the error.
        files: list[FileObject] = []
        try:
            files.extend(islice(self._files, _FILES_A_TIME))
        except Exception as error:  # noqa: BLE001 - raised after the files before it
            self._failure = error
        self._fetched = iter(files)


def _create_noticing(create: Callable[..., FileObject], data: Any, expected_bytes: int | None) -> FileObject:
    source, expected_bytes = noticing(data, expected_bytes)
    try:
        return create(data=source, expected_bytes=expected_bytes)
    finally:
        # An error would keep it alive, and with it an open file or a view of the caller's buffer.
        if isinstance(source, Generator):
            source.close()
