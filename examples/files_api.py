"""The Files API in a FastAPI application of one's own, with its own users, each with a store. It prints:

ann stored notes.txt, 14 bytes
ann has 1 file, ben has 0
ben asks for it: 404, No such File object
nobody asks: 401, say who you are
"""

from __future__ import annotations

import anyio
import httpx
from fastapi import FastAPI, Header, HTTPException

import holdall
from holdall.server import create_router


def user(x_user: str | None = Header(default=None)) -> str:
    """The application's own authentication: any FastAPI dependency."""
    if x_user is None:
        raise HTTPException(401, "say who you are")
    return x_user


async def main() -> None:
    async with holdall.open_async_store("memory://ann") as anns, holdall.open_async_store("memory://ben") as bens:
        stores = {"ann": anns, "ben": bens}
        app = FastAPI()
        # What `user` returns is what the function is given: whose store is it to be?
        app.include_router(create_router(stores.__getitem__, authenticate=user), prefix="/v1")

        # Without a network, for this program alone; `uvicorn` serves the same application.
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost/v1") as client:
            ann, ben = {"X-User": "ann"}, {"X-User": "ben"}
            form = {"purpose": "user_data"}
            answer = await client.post(
                "/files", headers=ann, data=form, files={"file": ("notes.txt", b"Hello, world!\n")}
            )
            file = answer.json()
            print(f"ann stored {file['filename']}, {file['bytes']} bytes")

            hers, his = [(await client.get("/files", headers=who)).json()["data"] for who in (ann, ben)]
            print(f"ann has {len(hers)} file, ben has {len(his)}")

            for who, headers in (("ben asks for it", ben), ("nobody asks", {})):
                refused = await client.get(f"/files/{file['id']}", headers=headers)
                print(f"{who}: {refused.status_code}, {refused.json()['error']['message'].partition(':')[0]}")


if __name__ == "__main__":
    anyio.run(main)
