"""The frame of the program: what all commands share, including error handling."""

from __future__ import annotations

import importlib
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.main
from typer.core import TyperGroup

from holdall.cli import _errors
from holdall.cli._secrets import watch

if TYPE_CHECKING:
    from holdall.store import FileStore

__all__ = ["Debug", "Json", "Settings", "Store", "app", "open_files", "run"]

_PROGRAM = "holdall"
# Each module registers its commands; the help shows them in this order.
_COMMANDS = ("files", "listing", "upkeep", "copying", "plugins", "conformance", "scaffold", "serve", "keys")


@dataclass
class Settings:
    """Options given before the command; `--debug` may also follow it."""

    store: str | None = None
    debug: bool = False


class _Program(TyperGroup):
    """Turns every error of a command into a message and an exit code."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().make_context(*args, **kwargs)
        except BrokenPipeError as error:
            # The reader of the help closed the pipe early.
            raise typer.Exit(_errors.report(error, debug=False)) from error

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            # Flushed now, while an error can still be reported; at interpreter exit it would only cause noise.
            sys.stdout.flush()
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt:
            raise typer.Exit(_errors.INTERRUPTED) from None
        except Exception as error:
            if _is_usage_error(error):
                raise
            settings = ctx.obj or Settings()
            code = _errors.report(error, debug=settings.debug)
            _errors.settle()
            raise typer.Exit(code) from error
        return result


# Plain help: rendering it with rich takes three times as long.
app = typer.Typer(
    name=_PROGRAM,
    cls=_Program,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Keep uploaded files, each with its metadata, on any storage you can name by URL.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 4 no such file, 130 interrupted.",
)


def _show_version(value: bool) -> None:
    if value:
        from holdall import __version__  # noqa: PLC0415

        typer.echo(f"{_PROGRAM} {__version__}")
        raise typer.Exit


def _set_debug(ctx: typer.Context, value: bool) -> bool:
    if value and isinstance(ctx.obj, Settings):
        ctx.obj.debug = True
    return value


Store = Annotated[
    str | None,
    typer.Option(
        "--store",
        "-s",
        metavar="URL",
        help="The store, such as file:///var/lib/files. Default: $HOLDALL_STORE, or else a directory of the user.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Debug = Annotated[
    bool,
    typer.Option("--debug", callback=_set_debug, help="Show the traceback of an error.", show_default=False),
]


@app.callback()
def _before_command(
    ctx: typer.Context,
    store: Store = None,
    debug: Debug = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    ctx.obj = Settings(store, debug)


def open_files(ctx: typer.Context, store: str | None) -> FileStore:
    """The store that was requested: after the command, before it, or else the default one."""
    from holdall.opening import open_store  # noqa: PLC0415

    settings: Settings = ctx.obj
    _errors.log_to_stderr(debug=settings.debug)
    return open_store(settings.store if store is None else store)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program. Returns the exit code."""
    _open_closed_streams()
    _buffer_stdout()
    for module in _COMMANDS:
        importlib.import_module(f"holdall.cli.{module}")
    given = list(sys.argv[1:] if arguments is None else arguments)
    watch(given)
    if (reconfigure := getattr(sys.stdout, "reconfigure", None)) is not None:
        # A name that the terminal's encoding cannot represent must not stop the program.
        reconfigure(errors="backslashreplace")
    try:
        program = typer.main.get_command(app)
        code = program.main(given or ["--help"], prog_name=_PROGRAM, standalone_mode=False)
        sys.stdout.flush()
        if not given:
            code = _errors.USAGE
    except typer.Abort:
        code = _errors.INTERRUPTED
    except SystemExit as end:
        # Shell completion ends the process itself.
        code = end.code
    except Exception as error:  # noqa: BLE001 - reported as a message here
        if not _is_usage_error(error):
            code = _errors.report(error, debug="--debug" in given)
            _errors.silence()
        else:
            _errors.say(f"{_one_line(error)} (see '{_path(error)} --help')")
            code = _errors.USAGE
    return code if isinstance(code, int) else 0


def _open_closed_streams() -> None:
    """Open the standard streams that the parent process has closed, so that no other file gets their descriptors.

    Output to them is dropped, and reading from them fails. Child processes inherit them.
    """
    while (fd := os.open(os.devnull, os.O_WRONLY)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the process ends


def _buffer_stdout() -> None:
    """Ensure that output is written completely or raises an error.

    With `$PYTHONUNBUFFERED`, as in most containers, a write to standard output is a single system call, which on a full
    disk may write only a part without an error.
    """
    if isinstance(getattr(sys.stdout, "buffer", None), io.RawIOBase):
        sys.stdout = open(sys.stdout.fileno(), "w", encoding=sys.stdout.encoding, closefd=False)  # noqa: SIM115 - as above


def _is_usage_error(error: Exception) -> bool:
    # By its attributes: whether the class is click's own or a copy bundled with typer depends on typer's version.
    return hasattr(error, "format_message") and hasattr(error, "exit_code")


def _one_line(error: Any) -> str:
    # pydantic, which typer uses for validation, prefixes the message of a ValueError.
    return " ".join(error.format_message().split()).rstrip(".").replace(": Value error, ", ": ")


def _path(error: Any) -> str:
    context = getattr(error, "ctx", None)
    return context.command_path if context is not None else _PROGRAM
