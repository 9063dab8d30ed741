"""`put`, `get`, `cat` and `rm`."""

from __future__ import annotations

import hashlib
import os
import select
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from holdall.cli import _errors
from holdall.cli._app import Debug, Json, Store, app, open_files
from holdall.cli._output import JsonList, as_json, print_json, print_line, progress, to_terminal
from holdall.cli._text import human_size, parse_duration, parse_metadata, parse_range
from holdall.errors import HoldallError, IntegrityError, InvalidRequest

if TYPE_CHECKING:
    from holdall.model import FileObject
    from holdall.store import FileStore

_CHUNK_BYTES = 256 * 1024
_STDIN = "-"


@app.command()
def put(
    ctx: typer.Context,
    paths: Annotated[list[str], typer.Argument(metavar="PATH", help="The files to store; - is standard input.")],
    *,
    purpose: Annotated[
        str, typer.Option(metavar="NAME", help="The purpose of the files: assistants, batch, user_data, ...")
    ] = "user_data",
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The file name to store; only with a single PATH.")
    ] = None,
    expires_after: Annotated[
        str | None, typer.Option(metavar="TIME", help="When the files expire: seconds, or 90s, 15m, 1h30m, 7d.")
    ] = None,
    content_type: Annotated[str | None, typer.Option(metavar="TYPE", help="Media type, such as text/plain.")] = None,
    metadata: Annotated[str | None, typer.Option(metavar="JSON", help="A JSON object to store with each file.")] = None,
    json: Json = False,
    store: Store = None,
    _debug: Debug = False,
) -> None:
    """Store files and print their ids.

    If a file cannot be stored, the others still are. With --json: an array of the stored files.
    """
    if name is not None and len(paths) > 1:
        raise InvalidRequest("--name is for a single file; leave it out, or store one file at a time")
    if paths.count(_STDIN) > 1:
        raise InvalidRequest("- is given twice, but standard input can only be read once")
    fields: dict[str, Any] = {
        "purpose": purpose,
        "expires_after": None if expires_after is None else parse_duration("--expires-after", expires_after),
        "content_type": content_type,
        "metadata": parse_metadata(metadata),
    }
    codes, stored = [], False
    with open_files(ctx, store) as files, JsonList(json) as listed:
        for path in paths:
            try:
                file = _put_one(files, path, name, fields)
            except (HoldallError, OSError) as error:
                codes.append(_errors.report(_about(path, error), debug=ctx.obj.debug))
                continue
            stored = True
            if json:
                listed.add(as_json(file))
            elif to_terminal():
                print_line(f"{file.id}  {human_size(file.bytes)}  {file.filename}")
            else:
                print_line(file.id)
    # The exit code for wrong usage is only for when nothing was done.
    raise typer.Exit(_errors.FAILED if stored and codes else _errors.worst(codes))


def _put_one(files: FileStore, path: str, name: str | None, fields: dict[str, Any]) -> FileObject:
    if path == _STDIN:
        if sys.stdin is None:
            raise InvalidRequest("standard input is closed; give it something to read")
        with progress("standard input") as advance:
            return files.create("stdin" if name is None else name, _Source(sys.stdin.buffer, advance), **fields)
    # Unbuffered: the store reads chunks as large as a buffer would be.
    with open(path, "rb", buffering=0) as data, progress(path, os.fstat(data.fileno()).st_size) as advance:
        shown = os.path.basename(path) if name is None else name
        return files.create(shown, _Source(data, advance), **fields)


class _Source:
    """A file that reports to a progress bar what was read."""

    def __init__(self, data: Any, advance: Callable[[int], None]) -> None:
        self._data = data
        self._advance = advance

    def read(self, size: int, /) -> bytes:
        # The parent process may have made standard input non-blocking, so that it may have no data yet. The mode is
        # shared with the parent, and must not be changed here.
        while (chunk := self._data.read(size)) is None:
            select.select([self._data], [], [])
        self._advance(len(chunk))
        return bytes(chunk)


def _about(path: str, error: Exception) -> Exception:
    # An error while reading has no file name, and an error about an argument does not say for which file it was.
    if isinstance(error, InvalidRequest) and error.operation is None:
        return InvalidRequest(f"{path}: {error}")
    if isinstance(error, OSError) and not isinstance(error, HoldallError) and error.filename is None:
        return OSError(error.errno, error.strerror, path)
    return error


@app.command()
def get(
    ctx: typer.Context,
    file_id: Annotated[str, typer.Argument(metavar="ID", help="The file's id.")],
    *,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="PATH", help="The target: a file or an existing directory; - is standard output."
        ),
    ] = None,
    stored_name: Annotated[
        bool,
        typer.Option("--stored-name", "-O", help="Use the stored file name, in the current directory (the default)."),
    ] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace an existing file.")] = False,
    json: Json = False,
    store: Store = None,
    _debug: Debug = False,
) -> None:
    """Download a file and print its path.

    The SHA-256 is verified during the download. The file appears once it is complete, or not at all. Only the last part
    of the stored file name is used, made safe: without leading dots, and with _ for a leading dash. With --json: an
    object with id, path, bytes and sha256. With -o -, standard output receives the bytes and nothing else.
    """
    from holdall.cli._download import Download, choose_path  # noqa: PLC0415

    if stored_name and output is not None:
        raise InvalidRequest("-o and -O cannot be combined; give one of them")
    with open_files(ctx, store) as files:
        file = files.get(file_id)
        path = choose_path(file, output)
        with Download(path, force=force) as target, progress(file.filename, file.bytes) as advance:
            with files.open(file_id) as data:
                digest = _transfer(file, data, target.write, advance)
            target.complete()
    if target.is_our_output:
        return
    if json:
        print_json({"id": file.id, "path": path, "bytes": file.bytes, "sha256": digest})
    else:
        print_line(path)


@app.command()
def cat(
    ctx: typer.Context,
    file_id: Annotated[str, typer.Argument(metavar="ID", help="The file's id.")],
    byte_range: Annotated[
        str | None,
        typer.Option(
            "--range", metavar="START:STOP", help="Only these bytes; STOP is exclusive, and either may be omitted."
        ),
    ] = None,
    store: Store = None,
    _debug: Debug = False,
) -> None:
    """Write the content of a file to standard output."""
    from holdall._arguments import byte_range as checked_range  # noqa: PLC0415

    start, stop = (0, None) if byte_range is None else parse_range(byte_range)
    with open_files(ctx, store) as files:
        file = files.get(file_id)
        start, stop = checked_range(start, stop, file.bytes)
        with files.open(file_id) as data:
            if (start, stop) == (0, file.bytes):
                _transfer(file, data, sys.stdout.buffer.write)
            else:
                data.seek(start)
                while chunk := data.read(min(_CHUNK_BYTES, stop - data.tell())):
                    sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def _transfer(
    file: FileObject, data: BinaryIO, write: Callable[[bytes], object], advance: Callable[[int], None] | None = None
) -> str:
    """Copy the whole content and return its SHA-256. Raises `IntegrityError` at the end if that is not the file's."""
    hasher = hashlib.sha256()
    while chunk := data.read(_CHUNK_BYTES):
        write(chunk)
        hasher.update(chunk)
        if advance is not None:
            advance(len(chunk))
    digest = hasher.hexdigest()
    if file.sha256 is not None and digest != file.sha256:
        raise IntegrityError(
            f"{file.id} is damaged: the SHA-256 of its bytes is {digest}, its metadata says {file.sha256}; "
            "restore it from a backup or delete it",
            operation="read",
            file_id=file.id,
        )
    return digest


@app.command()
def rm(
    ctx: typer.Context,
    file_ids: Annotated[list[str], typer.Argument(metavar="ID", help="The ids of the files.")],
    json: Json = False,
    store: Store = None,
    _debug: Debug = False,
) -> None:
    """Delete files. Prints nothing.

    If a file is missing, the others are still deleted. With --json: an array with an object for each deleted file.
    """
    codes = []
    with open_files(ctx, store) as files, JsonList(json) as removed:
        for file_id in file_ids:
            try:
                files.delete(file_id)
            except HoldallError as error:
                codes.append(_errors.report(error, debug=ctx.obj.debug))
                continue
            removed.add({"id": file_id, "object": "file", "deleted": True})
    raise typer.Exit(_errors.worst(codes))
