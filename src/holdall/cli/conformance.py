"""`conformance`: which promises hold on a given storage."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from holdall.cli import _errors
from holdall.cli._app import Debug, app
from holdall.cli._output import print_line
from holdall.errors import InvalidRequest, StorageError

if TYPE_CHECKING:
    from holdall.conformance import Finding, Report


@app.command()
def conformance(  # noqa: PLR0917 - typer makes an option of each
    url: Annotated[
        str | None,
        typer.Argument(metavar="URL", show_default=False, help="The store; tested in new locations below it."),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Checks, categories or patterns to run, such as crash,list.*"),
    ] = None,
    skip: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="Checks, categories or patterns to skip.")
    ] = None,
    level: Annotated[
        str, typer.Option(metavar="LEVEL", help="The highest level to run: core, robust or durable.")
    ] = "durable",
    xfails: Annotated[
        str | None, typer.Option(metavar="FILE", help="A TOML file of expected failures, each with its reason.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of the generated data.")] = 0,
    max_examples: Annotated[int, typer.Option(min=1, help="How many sequences the stateful check tries.")] = 25,
    large: Annotated[bool, typer.Option("--large", help="Also test large files.")] = False,
    json: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the report as JSON; - is standard output.")
    ] = None,
    markdown: Annotated[str | None, typer.Option(metavar="FILE", help="Write the report as a Markdown page.")] = None,
    junit: Annotated[str | None, typer.Option(metavar="FILE", help="Write the report as JUnit XML.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="List the promises without testing them.")] = False,
    _debug: Debug = False,
) -> None:
    """Test whether a storage keeps every promise.

    Works in new locations below URL, touches nothing that exists there, and removes every file it created. The last
    line is the verdict. Exit codes: 0 conformant, 1 a promise is broken, 2 wrong usage or no access to the storage, 3
    nothing was tested.
    """
    if list_:
        _print_promises(_split(only), _split(skip), level)
        return
    if url is None:
        raise typer.BadParameter("say which store to test, such as file:///tmp/x; --list prints the promises")
    for option, path in (("--json", json), ("--markdown", markdown), ("--junit", junit)):
        # Checked now, rather than after minutes, when the report would be lost.
        if path is not None and (os.path.isdir(path) or not os.path.isdir(os.path.dirname(path) or ".")):
            raise typer.BadParameter(f"{path} cannot be a file; name one in a folder that exists", param_hint=option)
    from holdall.conformance import run  # noqa: PLC0415
    from holdall.conformance._runner import read_xfails  # noqa: PLC0415

    try:
        with _progress() as on_finding:
            report = run(
                url,
                only=_split(only),
                skip=_split(skip),
                level=level,
                xfails=read_xfails(xfails) if xfails else None,
                seed=seed,
                max_examples=max_examples,
                large=large,
                on_finding=on_finding,
            )
    except StorageError as error:
        # Its own exit code would say that a promise is broken.
        raise InvalidRequest(f"nothing was tested: {error}") from error
    # Printed before the files are written, so that a failure to write does not lose the results.
    if json != "-":
        print_report(report)
    for path, text in ((json, report.to_json), (markdown, report.to_markdown), (junit, report.to_junit)):
        if path is not None:
            _write(path, text())
    raise typer.Exit(report.exit_code)


def print_report(report: Report) -> None:
    """Print the report."""
    for line in report.text().split("\n"):
        print_line(line)


def _split(values: list[str] | None) -> list[str]:
    return [name.strip() for value in values or () for name in value.split(",") if name.strip()]


def _print_promises(only: list[str], skip: list[str], level: str) -> None:
    from holdall.conformance._runner import select  # noqa: PLC0415

    for check in select(only=only, skip=skip, level=level):
        print_line(f"{check.id:<56} {check.promise.level:<8} {check.promise.promise}")


def _write(path: str, text: str) -> None:
    if path == "-":
        sys.stdout.write(text)
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        # An error of write(), unlike one of open(), does not name the file.
        raise OSError(error.errno, error.strerror, path) from error


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[Finding, int, int], None]]:
    """A progress bar on a terminal; otherwise a line on standard error for each finished category."""
    if not sys.stderr.isatty():
        yield _line_a_category()
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(finding: Finding, number: int, total: int) -> None:
            bar.update(task, completed=number, total=total, description=finding.id)

        yield show


def _line_a_category() -> Callable[[Finding, int, int], None]:
    counts: dict[str, int] = {}
    current = ""

    def note(finding: Finding, number: int, total: int) -> None:
        nonlocal current
        category = finding.id.partition(".")[0]
        if current and category != current:
            _say(current, counts)
        current = category
        counts[finding.status] = counts.get(finding.status, 0) + 1
        if number == total:
            _say(current, counts)

    return note


def _say(category: str, counts: dict[str, int]) -> None:
    _errors.say(f"{category}: {', '.join(f'{n} {status}' for status, n in counts.items())}")
    counts.clear()
