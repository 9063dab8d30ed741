"""`copy`: copying one store to another."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from holdall.cli import _errors
from holdall.cli._app import Debug, Json, app, open_files
from holdall.cli._output import print_json, print_line, progress
from holdall.cli._text import human_size


@app.command()
def copy(
    ctx: typer.Context,
    source: Annotated[str, typer.Argument(metavar="SRC", help="The URL of the store to copy from.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The URL of the store to copy to.")],
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """Copy all files of one store to another.

    Ids and metadata are kept. Each copy is read back and compared by its SHA-256. To resume after an interruption, run
    the command again: files that are already there and intact are skipped. A different file with the same id is never
    replaced. Exits with 1 if a file could not be copied. With --json: an object with ok, copied, skipped, expired,
    bytes and failures.
    """
    from holdall.transfer import copy_store  # noqa: PLC0415

    with open_files(ctx, source) as one, open_files(ctx, target) as other, progress("copy") as advance:
        report = copy_store(one, other, on_bytes=advance)
    if json:
        print_json({"ok": report.ok, **dataclasses.asdict(report)})
    else:
        parts = [f"{report.copied} copied ({human_size(report.bytes)})", f"{report.skipped} already there"]
        if report.expired:
            parts.append(f"{report.expired} expired")
        parts.append(f"{len(report.failures)} failed")
        print_line(", ".join(parts))
    for failure in report.failures:
        _errors.say(f"not copied: {failure.reason}")
    if not report.ok:
        raise typer.Exit(_errors.FAILED)
