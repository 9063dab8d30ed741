"""The store for asyncio and trio: an awaitable `FileStore`.

>>> import anyio, holdall
>>> async def main():
...     async with holdall.open_async_store("memory://") as store:
...         file = await store.create("hello.txt", b"hello", purpose="assistants")
...         return await store.get_content(file.id)
>>> anyio.run(main)
b'hello'

Backends are synchronous, so calls run on worker threads and do not block the event loop.
"""

from __future__ import annotations

from holdall.aio._opening import open_async_store
from holdall.aio._reader import AsyncFileReader
from holdall.aio._store import AsyncFileStore

__all__ = ["AsyncFileReader", "AsyncFileStore", "open_async_store"]
