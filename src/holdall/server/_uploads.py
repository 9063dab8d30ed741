"""The routes of the Uploads API: large files in parts, on any storage. The logic is in `holdall.server._assembly`."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import Response

from holdall.aio._upload import AsyncUpload
from holdall.server._assembly import MAX_PART_BYTES, MAX_UPLOAD_BYTES, Completion, NewUpload, Uploads
from holdall.server._errors import APIError, missing_parameter, not_found
from holdall.server._json import described, json_body
from holdall.server._models import Upload, UploadPart
from holdall.server._multipart import FormData, described_form
from holdall.server._receiving import check_length
from holdall.server._route import json_response, serving

__all__ = ["add_upload_routes"]


def add_upload_routes(router: APIRouter, most: int | None) -> None:
    """Add the routes `/uploads…` to the router, for uploads of at most `most` bytes."""
    for path, endpoint, model, body in (
        (
            "/uploads",
            create_upload,
            Upload,
            described(NewUpload, bytes={"maximum": MAX_UPLOAD_BYTES if most is None else most}),
        ),
        ("/uploads/{upload_id}/parts", add_part, UploadPart, _FORM),
        ("/uploads/{upload_id}/complete", complete_upload, Upload, described(Completion)),
        ("/uploads/{upload_id}/cancel", cancel_upload, Upload, None),
    ):
        router.add_api_route(path, endpoint, methods=["POST"], response_model=model, openapi_extra=body)
    # An id that contains a slash is invalid, however the slash is encoded.
    router.add_api_route("/uploads/{upload_id:path}", no_upload, methods=["POST"], include_in_schema=False)


async def create_upload(request: Request) -> Response:
    """Begin an upload. Its parts may be added for an hour."""
    wanted = await json_body(request, NewUpload)
    async with _uploads_of(request) as uploads:
        return json_response(await uploads.create(wanted))


async def add_part(request: Request, upload_id: str) -> Response:
    """Add a part of at most 64 MiB. Parts may be added in any order, and concurrently."""
    check_length(request, MAX_PART_BYTES, "data")
    form = FormData.of(request)
    async with _uploads_of(request) as uploads, contextlib.AsyncExitStack() as stack:
        record = await uploads.taking_parts(upload_id)
        incoming: AsyncUpload | None = None
        async for part in form:
            if part.name == "data":
                if incoming is not None:
                    raise APIError(400, "The form has more than one part of the file.", param="data")
                incoming = await stack.enter_async_context(await uploads.begin_part(record))
                await uploads.receive_part(incoming, part)
        if incoming is None:
            raise missing_parameter("data")
        # The part counts only if the body was complete.
        return json_response(await uploads.finish_part(record, incoming))


async def complete_upload(request: Request, upload_id: str) -> Response:
    """Create the file from the given parts, in this order."""
    wanted = await json_body(request, Completion)
    async with _uploads_of(request) as uploads:
        return json_response(await uploads.complete(upload_id, wanted))


async def cancel_upload(request: Request, upload_id: str) -> Response:
    """Cancel an upload, and remove its parts."""
    async with _uploads_of(request) as uploads:
        return json_response(await uploads.cancel(upload_id))


async def no_upload(upload_id: str) -> Response:
    """An id that contains a slash is invalid."""
    raise not_found("Upload", upload_id, "upload_id")


@contextlib.asynccontextmanager
async def _uploads_of(request: Request) -> AsyncIterator[Uploads]:
    about = serving(request)
    async with about.places.lease(about.store) as uploads:
        yield Uploads(about.store, uploads, most=about.max_upload_bytes)


_FORM = described_form(["data"], {"data": {"type": "string", "format": "binary", "description": "The bytes."}})
