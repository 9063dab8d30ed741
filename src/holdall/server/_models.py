"""Response bodies of the Files API, for the OpenAPI document, and the conversion of stored files to them."""

from __future__ import annotations

import builtins
from typing import Any, Literal

from pydantic import BaseModel

from holdall.model import FileObject, FilePage, FilePurpose

__all__ = [
    "INPUT_PURPOSES",
    "Deleted",
    "Envelope",
    "File",
    "FileList",
    "Upload",
    "UploadPart",
    "file_body",
    "page_body",
]

INPUT_PURPOSES = (
    FilePurpose.ASSISTANTS,
    FilePurpose.BATCH,
    FilePurpose.FINE_TUNE,
    FilePurpose.VISION,
    FilePurpose.USER_DATA,
    FilePurpose.EVALS,
)
"""The purposes that a client may give; the others are for files that a service creates."""


class File(BaseModel):
    """A stored file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["uploaded", "processed", "error"]
    status_details: str | None


class FileList(BaseModel):
    """A page of files. `last_id` is the `after` of the next one."""

    object: Literal["list"]
    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(BaseModel):
    """A deleted file."""

    id: str
    object: Literal["file"]
    deleted: bool


class UploadPart(BaseModel):
    """A part of an upload, kept until the upload ends."""

    id: str
    object: Literal["upload.part"]
    created_at: int
    upload_id: str


class Upload(BaseModel):
    """A file that is uploaded in parts. Once it is completed, `file` is the resulting file."""

    id: str
    object: Literal["upload"]
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: File | None


class Problem(BaseModel):
    """The error. All four members are always present."""

    message: str
    type: str
    param: str | None
    code: str | None


class Envelope(BaseModel):
    """The body of every error response."""

    error: Problem


def file_body(file: FileObject) -> dict[str, Any]:
    """A file as the API represents it: its documented fields only, since clients with generated code reject others.

    A stored file is complete and usable, so its status is the final one, for which the SDK waits.
    """
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": file.created_at,
        "expires_at": file.expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def page_body(page: FilePage) -> dict[str, builtins.object]:
    """A page of a listing as the API represents it."""
    return {
        "object": "list",
        "data": [file_body(file) for file in page.data],
        "first_id": page.first_id,
        "last_id": page.last_id,
        "has_more": page.has_more,
    }
