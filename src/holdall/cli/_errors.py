"""What a person sees when something goes wrong: one sentence on standard error, and no secret of a URL in it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Sequence

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
    "silence",
    "watch",
    "without_secrets",
    "worst",
]

FAILED, USAGE, NOT_FOUND, INTERRUPTED = 1, 2, 4, 130

# The arguments of the process, which may hold secrets.
_arguments: list[str] = []


def watch(arguments: Sequence[str]) -> None:
    """Keep the secrets of the URLs among these arguments out of all that is said from now on."""
    _arguments[:] = arguments


def report(error: BaseException, *, debug: bool) -> int:
    """Say what went wrong, with a traceback if `debug`; the exit code for it."""
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has enough: nothing went wrong.
        silence()
        return 0
    if debug:
        import traceback  # noqa: PLC0415

        for line in "".join(traceback.format_exception(error)).splitlines():
            _write(line)
    say(_sentence(error))
    return exit_code(error)


def say(message: str) -> None:
    """A line on standard error, under the program's name."""
    _write(f"holdall: {message}")


def worst(codes: Iterable[int]) -> int:
    """The exit code for several things done: the one they failed with, or `FAILED` if they failed in different ways."""
    failed = {code for code in codes if code}
    return failed.pop() if len(failed) == 1 else FAILED if failed else 0


def silence() -> None:
    """Drop what standard output still holds and whatever is written to it later.

    The interpreter flushes it once more when it ends, and would complain.
    """
    with contextlib.suppress(OSError, ValueError):
        devnull = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)


def log_to_stderr(*, debug: bool) -> None:
    """Show the library's warnings the way errors are shown."""
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
    # Not its text: no one has looked at what it may hold.
    return f"unexpected {type(error).__name__}; the option --debug shows where it comes from"


def _has_name(error: OSError) -> bool:
    return isinstance(error.filename, (str, bytes))


def exit_code(error: BaseException) -> int:
    """The exit code of a program that ends with this error."""
    if isinstance(error, FileNotFound):
        return NOT_FOUND
    return USAGE if isinstance(error, (InvalidRequest, InvalidStoreURL)) else FAILED


def without_secrets(text: str) -> str:
    """The text, without the secrets of the URLs that this process was given."""
    urls = [
        a.partition("=")[2] if a.startswith("--") else a for a in (*_arguments, os.environ.get("HOLDALL_STORE", ""))
    ]
    for given in urls:
        if "://" in given:
            text = _without_secrets_of(given, text)
    return text


def _without_secrets_of(given: str, text: str) -> str:
    from holdall.url import REDACTED, StoreURL  # noqa: PLC0415

    try:
        url = StoreURL.parse(given)
    except InvalidStoreURL:
        # Nobody can tell which part of it is secret.
        return text.replace(given, f"{given.partition('://')[0]}://{REDACTED}")
    shown = str(url)
    # Also where a usage error repeats it word for word. One without a secret stays as it was written.
    return url.redact(text.replace(given, shown) if REDACTED in shown else text)
