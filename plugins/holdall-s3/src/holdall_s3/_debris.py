"""Leftovers in a bucket: data without metadata, and abandoned multipart uploads."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from holdall.backend import Debris
from holdall.errors import FileNotFound, StorageError
from holdall_s3._client import Client
from holdall_s3._errors import NOT_IMPLEMENTED, code_of
from holdall_s3._keys import DATA, META, Keys
from holdall_s3._listing import objects
from holdall_s3._multipart import abort
from holdall_s3._session import timestamp
from holdall_s3._upload import read_meta, written_here

__all__ = ["debris", "discard"]

_WHAT = "look for leftovers"
_ORPHAN = "data without metadata"
_UNFINISHED = "unfinished write"


def debris(client: Client, keys: Keys) -> Iterator[Debris]:
    """See `Backend.debris`; one request for 1000 keys, and one for each unfinished upload."""
    yield from _orphans(client, keys)
    yield from _uploads(client, keys)


def discard(client: Client, keys: Keys, found: Debris) -> None:
    """See `Backend.discard_debris`."""
    if found.file_id is None:
        return
    if found.kind == _UNFINISHED:
        abort(client, f"sweep {found.file_id}", Key=keys.data(found.file_id), UploadId=found.name)
        return
    try:
        read_meta(client, keys, found.file_id)
    except FileNotFound:
        client.call("delete_object", f"sweep {found.file_id}", Key=keys.data(found.file_id))


def _orphans(client: Client, keys: Keys) -> Iterator[Debris]:
    # All keys of one id are adjacent, in any order that a server uses.
    for file_id, group in groupby(objects(client, keys, _WHAT), key=lambda found: found[0]):
        parts = {name: entry for _, name, entry in group}
        if META not in parts and DATA in parts and file_id not in written_here():
            entry = parts[DATA]
            changed = _seconds(timestamp(entry["LastModified"]))
            yield Debris(keys.data(file_id), _ORPHAN, file_id, entry["Size"], changed)


def _uploads(client: Client, keys: Keys) -> Iterator[Debris]:
    parameters: dict[str, Any] = {"Prefix": f"{keys.base}file-"}
    while True:
        try:
            page = client.call("list_multipart_uploads", _WHAT, **parameters)
        except StorageError as error:
            # If the server cannot list them, it must clean them up itself.
            if code_of(error) in NOT_IMPLEMENTED:
                return
            raise
        for entry in page.get("Uploads") or ():
            split = keys.split(entry["Key"])
            if split is not None and split[1] == DATA and split[0] not in written_here():
                yield from _upload(client, keys, split[0], entry)
        if not page.get("IsTruncated"):
            return
        parameters |= {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page.get("NextUploadIdMarker") or ""}


def _upload(client: Client, keys: Keys, file_id: str, entry: dict[str, Any]) -> Iterator[Debris]:
    """A leftover with the upload's size, and the time of its last part, since an upload may run for hours."""
    parameters: dict[str, Any] = {"Key": keys.data(file_id), "UploadId": entry["UploadId"]}
    size, changed = 0, _seconds(entry["Initiated"])
    while True:
        try:
            page = client.call("list_parts", _WHAT, **parameters)
        except FileNotFound:
            # Completed or aborted in the meantime.
            return
        for part in page.get("Parts") or ():
            size += int(part["Size"])
            changed = max(changed, _seconds(part["LastModified"]))
        if not page.get("IsTruncated"):
            break
        parameters["PartNumberMarker"] = page["NextPartNumberMarker"]
    yield Debris(str(entry["UploadId"]), _UNFINISHED, file_id, size, changed)


def _seconds(when: dt.datetime) -> float:
    return when.timestamp()
