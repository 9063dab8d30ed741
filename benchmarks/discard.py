"""The minimum that an HTTP server does for the same requests: `python -m benchmarks.discard PAGE.json`, as a process.

Starlette under the same uvicorn. The form of an upload is parsed by Starlette's parser, and discarded; a page and a
file's content are constants of the right size.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.load import DATA, FILENAME

__all__ = ["application", "main"]


def application(page: bytes) -> Any:
    """The application; `page` is its response to a listing."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    stored = json.loads(page)["data"][0] | {"filename": FILENAME, "bytes": len(DATA)}
    answer = json.dumps(stored).encode()

    async def files(request: Request) -> Response:
        if request.method == "POST":
            async with request.form() as form:
                assert form["purpose"] == "user_data"
            return Response(answer, media_type="application/json")
        return Response(page, media_type="application/json")

    async def content(_: Request) -> Response:
        return Response(DATA, media_type="application/octet-stream")

    return Starlette(
        routes=[
            Route("/v1/files", files, methods=["GET", "POST"]),
            Route("/v1/files/{file_id}/content", content),
        ]
    )


def main() -> None:
    """Serve on a free port, and print the address."""
    import socket

    import uvicorn

    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(f"serving http://127.0.0.1:{listener.getsockname()[1]}/v1", file=sys.stderr, flush=True)
    config = uvicorn.Config(application(Path(sys.argv[1]).read_bytes()), log_level="warning", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
