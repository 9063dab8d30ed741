"""Helpers of server tests: a storage that tracks its open streams, and uploads without HTTP."""

from __future__ import annotations

from holdall import AsyncFileStore, FileStore
from holdall.backends.memory import MemoryBackend
from holdall.server._assembly import NewUpload, Uploads
from holdall.server._places import PREFIX
from holdall.wrappers import Prefixed


class Watched(MemoryBackend):
    """Tracks its open streams."""

    def __init__(self):
        super().__init__()
        self.streams = []

    def open_data(self, file_id, start=0, stop=None):
        self.streams.append(super().open_data(file_id, start, stop))
        return self.streams[-1]


def uploads_on(backend):
    """The uploads of one store, as a separate process sees them."""
    return Uploads(AsyncFileStore(FileStore(backend)), AsyncFileStore(FileStore(Prefixed(backend, PREFIX))))


async def begun(uploads, *contents):
    """The id of an upload with all its parts, and the ids of the parts."""
    size = sum(map(len, contents))
    body = await uploads.create(NewUpload(bytes=size, filename="a", mime_type="text/plain", purpose="batch"))
    record, ids = await uploads.taking_parts(body["id"]), []
    for content in contents:
        async with await uploads.begin_part(record) as incoming:
            await incoming.write(content)
            ids.append((await uploads.finish_part(record, incoming))["id"])
    return body["id"], ids
