"""The Files API in a FastAPI application of one's own, with its own users, each with a store. It prints:

ann stored notes.txt, 14 bytes
ann stored log.txt in 3 parts, 27 bytes
ann has 2 files, ben has 0
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

            # What is too large for one request comes in parts; `upload_file_chunked` of the SDK does just this.
            new = {"bytes": 27, "filename": "log.txt", "mime_type": "text/plain", "purpose": "user_data"}
            upload = (await client.post("/uploads", headers=ann, json=new)).json()
            parts = []
            for n in range(3):
                data = {"data": f"part {n}..\n".encode()}
                answer = await client.post(f"/uploads/{upload['id']}/parts", headers=ann, files=data)
                parts.append(answer.json()["id"])
            done = await client.post(f"/uploads/{upload['id']}/complete", headers=ann, json={"part_ids": parts})
            log = done.json()["file"]
            print(f"ann stored {log['filename']} in {len(parts)} parts, {log['bytes']} bytes")

            hers, his = [(await client.get("/files", headers=who)).json()["data"] for who in (ann, ben)]
            print(f"ann has {len(hers)} files, ben has {len(his)}")

            for who, headers in (("ben asks for it", ben), ("nobody asks", {})):
                refused = await client.get(f"/files/{file['id']}", headers=headers)
                print(f"{who}: {refused.status_code}, {refused.json()['error']['message'].partition(':')[0]}")


if __name__ == "__main__":
    anyio.run(main)
