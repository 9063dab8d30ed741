"""Counting requests, and making them fail, in the client."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from holdall_s3 import S3Backend

from holdall import FileStore

__all__ = ["Requests", "watched"]


class Requests(list[str]):
    """The requests sent, in order: `GetObject data.bin bytes=0-9`."""

    def __init__(self) -> None:
        super().__init__()
        self.before: Callable[[str], None] = lambda _: None
        self.after: Callable[[str], None] = lambda _: None

    def of(self, operation: str) -> int:
        """How many requests were of this operation."""
        return sum(call.split()[0] == operation for call in self)


@contextlib.contextmanager
def watched(store: FileStore) -> Iterator[Requests]:
    """Records the requests of the store's client within the context; `before` and `after` may raise, as a network may.

    If `after` raises, the server has already processed the request: the response is lost.
    """
    backend = store.backend
    assert isinstance(backend, S3Backend)
    client = backend._client
    requests, original = Requests(), client.request

    async def request(method: str, what: str, file_id: str | None = None, **parameters: Any) -> dict[str, Any]:
        name = "".join(part.capitalize() for part in method.split("_"))
        call = f"{name} {str(parameters.get('Key', '')).rpartition('/')[2]} {parameters.get('Range', '')}".strip()
        requests.append(call)
        requests.before(call)
        answer = await original(method, what, file_id, **parameters)
        requests.after(call)
        return answer

    client.request = request
    try:
        yield requests
    finally:
        del client.request
