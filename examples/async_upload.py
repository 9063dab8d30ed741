"""Uploads from an asynchronous source, several at once, and a download as it is read. It prints:

stored part-0.log, part-1.log, part-2.log
part-1.log: 300 bytes in 300 lines
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator

import anyio
import anyio.lowlevel

import holdall


async def lines(count: int) -> AsyncIterator[bytes]:
    """What a network connection would deliver, piece by piece."""
    for _ in range(count):
        await anyio.lowlevel.checkpoint()
        yield b"\n"


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with holdall.open_async_store(folder) as store:

            async def upload(number: int) -> None:
                await store.create(f"part-{number}.log", lines(300), purpose="user_data")

            async with anyio.create_task_group() as tasks:
                for number in range(3):
                    tasks.start_soon(upload, number)

            files = {file.filename: file async for file in store}
            print("stored", ", ".join(sorted(files)))

            file = files["part-1.log"]
            count = 0
            async with await store.open(file.id) as stream:
                async for chunk in stream:
                    count += chunk.count(b"\n")
            print(f"{file.filename}: {file.bytes} bytes in {count} lines")


if __name__ == "__main__":
    anyio.run(main)
