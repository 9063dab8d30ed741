"""`ls` and `stat`."""

from __future__ import annotations

import enum
import json as jsonlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from holdall.cli._app import Debug, Json, Store, app, open_files
from holdall.cli._output import JsonList, as_json, print_json, print_line, print_table, to_terminal
from holdall.cli._text import human_size, iso_time

if TYPE_CHECKING:
    from holdall.model import FileObject, FilePage

_COLUMNS = ("ID", "SIZE", "CREATED (UTC)", "PURPOSE", "NAME")
_WIDTHS = (37, -10, 20, 11, 4)


class Order(enum.StrEnum):
    """Which files come first."""

    asc = "asc"
    desc = "desc"


@app.command()
def ls(
    ctx: typer.Context,
    *,
    purpose: Annotated[str | None, typer.Option(metavar="NAME", help="Only files for this purpose.")] = None,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Only files that come after this one.")] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="The largest number of files to list, 1 to 10000.")
    ] = None,
    order: Annotated[Order, typer.Option(help="asc: oldest first; desc: newest first.")] = Order.asc,
    ids_only: Annotated[bool, typer.Option("--quiet", "-q", help="Print the ids only.")] = False,
    json: Json = False,
    store: Store = None,
    _debug: Debug = False,
) -> None:
    """List files.

    With --json: an array of files, with sizes in bytes and times in seconds since 1970 (UTC).
    """
    with open_files(ctx, store) as files:
        page: FilePage | None = None
        found: Iterator[FileObject]
        if purpose is None and after is None and limit is None and order is Order.asc:
            # Lazily, so that a store of any size is listed in bounded memory.
            found = iter(files)
        else:
            page = files.list(purpose=purpose, after=after, limit=limit, order=order.value)
            found = iter(page)
        if json:
            with JsonList(nothing_else=True) as items:
                for file in found:
                    items.add(as_json(file))
        elif ids_only:
            for file in found:
                sys.stdout.write(file.id + "\n")
        else:
            print_table(_COLUMNS, map(_row, found), _WIDTHS)
            if page is not None and page.has_more and to_terminal():
                print_line(f"More follow: add --after {page.last_id}")


def _row(file: FileObject) -> tuple[str, ...]:
    return file.id, human_size(file.bytes), iso_time(file.created_at), str(file.purpose), file.filename


@app.command()
def stat(
    ctx: typer.Context,
    file_id: Annotated[str, typer.Argument(metavar="ID", help="The file's id.")],
    json: Json = False,
    store: Store = None,
    _debug: Debug = False,
) -> None:
    """Show the metadata of a file."""
    with open_files(ctx, store) as files:
        file = files.get(file_id)
    shown = as_json(file)
    if json:
        print_json(shown)
        return
    shown["bytes"] = f"{file.bytes} ({human_size(file.bytes)})"
    for name in ("created_at", "expires_at"):
        if name in shown:
            shown[name] = f"{shown[name]} ({iso_time(shown[name])})"
    if "metadata" in shown:
        shown["metadata"] = jsonlib.dumps(shown["metadata"], ensure_ascii=False)
    for name, value in shown.items():
        print_line(f"{name + ':':<14}{value}")
