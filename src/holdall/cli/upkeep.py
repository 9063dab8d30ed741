"""`verify` and `sweep`: maintenance of a store."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from holdall.cli import _errors
from holdall.cli._app import Debug, Json, Store, app, open_files
from holdall.cli._output import print_json, print_line, progress
from holdall.cli._text import human_size, parse_duration

if TYPE_CHECKING:
    from holdall.backend import Debris

OlderThan = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Ignore younger leftovers, which may belong to an upload in progress: seconds, or 90s, 15m, 1h30m, 7d.",
    ),
]


@app.command()
def verify(
    ctx: typer.Context,
    older_than: OlderThan = "1h",
    json: Json = False,
    store: Store = None,
    _debug: Debug = False,
) -> None:
    """Read every file and report damaged ones.

    Compares each file with its recorded size and SHA-256, and changes nothing. Exits with 1 if a file is damaged, or if
    something could not be examined. Also lists leftovers of interrupted writes, which do not count as damage; `sweep`
    removes them. With --json: an object with ok, files, bytes, problems, leftovers and unread.
    """
    grace = parse_duration("--older-than", older_than)
    with open_files(ctx, store) as files, progress("verify") as advance:
        report = files.verify(older_than=grace, on_file=lambda _, size: advance(size))
    if json:
        print_json({"ok": report.ok, **dataclasses.asdict(report)})
    else:
        for problem in report.problems:
            print_line(f"{problem.file_id}: {problem.kind}: {problem.detail}")
        _print_leftovers(report.leftovers)
        for sentence in report.unread:
            print_line(sentence)
        verdict = "no problem" if report.ok else f"{len(report.problems)} damaged"
        if report.unread:
            verdict += ", not everything could be examined"
        print_line(f"{_count(report.files, 'file')}, {human_size(report.bytes)} read, {verdict}")
    if not report.ok:
        raise typer.Exit(_errors.FAILED)


@app.command()
def sweep(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would be removed, and remove nothing.")
    ] = False,
    older_than: OlderThan = "1h",
    json: Json = False,
    store: Store = None,
    _debug: Debug = False,
) -> None:
    """Remove expired files and leftovers of interrupted writes.

    With --json: an object with expired, leftovers and dry_run.
    """
    grace = parse_duration("--older-than", older_than)
    with open_files(ctx, store) as files:
        report = files.sweep(older_than=grace, dry_run=dry_run)
    if json:
        print_json(dataclasses.asdict(report))
        return
    for file_id in report.expired:
        print_line(f"{file_id}: expired")
    _print_leftovers(report.leftovers)
    freed = sum(leftover.bytes for leftover in report.leftovers)
    verb = "would remove" if dry_run else "removed"
    print_line(
        f"{verb} {_count(len(report.expired), 'expired file')} "
        f"and {_count(len(report.leftovers), 'leftover')} ({human_size(freed)})"
    )


def _print_leftovers(leftovers: tuple[Debris, ...]) -> None:
    for leftover in leftovers:
        print_line(f"{leftover.file_id or leftover.name}: leftover: {leftover.kind}, {human_size(leftover.bytes)}")


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
