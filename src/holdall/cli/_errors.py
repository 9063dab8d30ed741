"""Error messages: one sentence on standard error, without any secret of a URL."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable

from holdall.cli._secrets import without_secrets
from holdall.cli._text import visible
from holdall.errors import FileNotFound, HoldallError, InvalidRequest, InvalidStoreURL

__all__ = [
    "FAILED",
    "INTERRUPTED",
    "NOT_FOUND",
    "USAGE",
    "exit_code",
    "log_to_stderr",
    "report",
    "say",
    "settle",
    "silence",
    "worst",
]

FAILED, USAGE, NOT_FOUND, INTERRUPTED = 1, 2, 4, 130


def report(error: BaseException, *, debug: bool) -> int:
    """Print what went wrong, with a traceback if `debug`. Returns the exit code."""
    if isinstance(error, BrokenPipeError):
        # The reader of the output closed the pipe: not a failure.
        silence()
        return 0
    if debug:
        import traceback  # noqa: PLC0415

        for line in "".join(traceback.format_exception(error)).splitlines():
            _write(line)
    say(_sentence(error))
    return exit_code(error)


def say(message: str) -> None:
    """Print a line on standard error, prefixed with the program's name."""
    _write(f"holdall: {message}")


def worst(codes: Iterable[int]) -> int:
    """The exit code for several operations: that of the failures, or `FAILED` if they failed in different ways."""
    failed = {code for code in codes if code}
    return failed.pop() if len(failed) == 1 else FAILED if failed else 0


def silence() -> None:
    """Drop buffered and further output to standard output.

    The interpreter flushes it at exit, and would report an error.
    """
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def settle() -> None:
    """Flush standard output, or drop it if that fails: an error has already been reported."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        silence()


def log_to_stderr(*, debug: bool) -> None:
    """Show the library's warnings in the same way as errors."""
    import logging  # noqa: PLC0415

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say(record.getMessage())
            if debug and record.exc_info and record.exc_info[1] is not None:
                report(record.exc_info[1], debug=True)

    logger = logging.getLogger("holdall")
    logger.handlers[:] = [Handler(logging.WARNING)]
    logger.propagate = False


def _write(line: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(visible(without_secrets(line)) + "\n")
        sys.stderr.flush()


def _sentence(error: BaseException) -> str:
    if isinstance(error, HoldallError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}" if _has_name(error) else error.strerror
    # Not the message, which may contain a secret.
    return f"unexpected {type(error).__name__}; the option --debug shows where it comes from"


def _has_name(error: OSError) -> bool:
    return isinstance(error.filename, (str, bytes))


def exit_code(error: BaseException) -> int:
    """The exit code of a program that ends with this error."""
    if isinstance(error, FileNotFound):
        return NOT_FOUND
    return USAGE if isinstance(error, (InvalidRequest, InvalidStoreURL)) else FAILED
