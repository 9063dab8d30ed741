"""Data on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from holdall.cli._errors import silence
from holdall.cli._text import visible

if TYPE_CHECKING:
    from holdall.model import FileObject

__all__ = ["JsonList", "as_json", "print_json", "print_line", "print_table", "progress", "to_terminal"]

# A smaller transfer ends before anyone could read a progress bar.
_WORTH_A_BAR_BYTES = 8 * 1024 * 1024
_BLOCK_ROWS = 200
_NARROWEST_TABLE = 120

# Control characters that JSON does not escape but terminals may interpret.
_CONTROLS = re.compile("[\x7f-\x9f]")


def to_terminal() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout.isatty()


def print_line(text: str) -> None:
    """Print a line and flush it, so that it is known what was done even if the next step fails.

    If the reader has closed the pipe, the command continues, and its exit code tells how it went.
    """
    with _unheard():
        sys.stdout.write(visible(text) + "\n")
        sys.stdout.flush()


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        silence()


def as_json(file: FileObject) -> dict[str, Any]:
    """A file in its JSON form, without the fields that are not set."""
    return file.model_dump(mode="json", exclude_none=True)


def print_json(value: Any) -> None:
    """Print a JSON document in UTF-8, whatever the terminal's encoding."""
    _tell(_json_text(value) + "\n")


class JsonList:
    """Prints a JSON array, one item at a time; prints nothing unless `wanted`.

    A context manager; the document is complete even after an error. If the reader closes the pipe, the command
    continues, unless it has `nothing_else` to do: then raises `BrokenPipeError`.
    """

    def __init__(self, wanted: bool = True, *, nothing_else: bool = False) -> None:
        self._wanted = wanted
        self._write = _write_utf8 if nothing_else else _tell
        self._separator = "[\n"

    def add(self, item: Any) -> None:
        """Print one more item."""
        if not self._wanted:
            return
        text = "  " + _json_text(item).replace("\n", "\n  ")
        self._write(self._separator + text)
        self._separator = ",\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._wanted or isinstance(error, BrokenPipeError):
            return
        self._write("[]\n" if self._separator == "[\n" else "\n]\n")


def _json_text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _tell(text: str) -> None:
    with _unheard():
        _write_utf8(text)


def _write_utf8(text: str) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> None:
    """Print rows under headings, one at a time. A negative width, in characters, means a right-aligned column.

    If the first row cannot be read, nothing is printed. Nothing is ever truncated; on a terminal, the last column is
    folded if it is too long. Control characters and rich's markup in a cell have no effect.
    """
    if to_terminal():
        _print_rich(columns, rows, widths)
        return
    remaining = iter(rows)
    # The headings alone say that there is nothing, which is not known if the first row cannot be read.
    first = list(itertools.islice(remaining, 1))
    for row in itertools.chain([columns], first, remaining):
        _print_plain(row, widths)


def _print_plain(row: Sequence[str], widths: Sequence[int]) -> None:
    cells = [visible(cell) for cell in row]
    aligned = [c.rjust(-w) if w < 0 else c.ljust(w) for c, w in zip(cells, widths, strict=True)]
    sys.stdout.write("  ".join(aligned).rstrip() + "\n")


def _print_rich(columns: Sequence[str], rows: Iterable[Sequence[str]], widths: Sequence[int]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    # A narrower terminal wraps the lines itself.
    console = Console(width=max(shutil.get_terminal_size().columns, _NARROWEST_TABLE))
    remaining = iter(rows)
    first = True
    # In blocks, so that the first rows of a long listing appear at once, and memory stays bounded.
    while (block := list(itertools.islice(remaining, _BLOCK_ROWS))) or first:
        table = Table(box=None, show_header=first, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name, width in zip(columns, widths, strict=True):
            is_last = name == columns[-1]
            table.add_column(
                Text(name),
                justify="right" if width < 0 else "left",
                min_width=None if is_last else abs(width),
                no_wrap=not is_last,
                overflow="fold",
                style="cyan" if name == columns[0] else "",
            )
        for row in block:
            table.add_row(*(Text(visible(cell)) for cell in row))
        with console.capture() as capture:
            console.print(table)
        # Not written by the console, which ends the process with its own exit code if the reader has closed the pipe.
        sys.stdout.write(capture.get())
        first = False


@contextlib.contextmanager
def progress(what: str, total_bytes: int | None = None) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error; call the yielded function with each number of bytes done.

    Only if standard error is a terminal, and `total_bytes` is large or unknown.
    """
    short = total_bytes is not None and total_bytes < _WORTH_A_BAR_BYTES
    if short or not sys.stderr.isatty():
        yield _no_progress
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    task = bar.add_task(visible(what), total=total_bytes)
    with bar:
        yield lambda count: bar.advance(task, count)


def _no_progress(count: int) -> None:  # noqa: ARG001 - the signature of progress functions
    return None
