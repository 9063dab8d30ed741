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
    "log_to_stderr",
    "report",
    "say",
    "silence",
    "watch",
    "worst",
]

FAILED, USAGE, NOT_FOUND, INTERRUPTED = 1, 2, 4, 130

_SHORTEST_SECRET = 4

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
    return _exit_code(error)


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
        devnull = os.open(os.devnull, os.O_WRONLY)
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
        sys.stderr.write(visible(_without_secrets(line)) + "\n")
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


def _exit_code(error: BaseException) -> int:
    if isinstance(error, FileNotFound):
        return NOT_FOUND
    return USAGE if isinstance(error, (InvalidRequest, InvalidStoreURL)) else FAILED


def _without_secrets(text: str) -> str:
    for argument in (*_arguments, os.environ.get("HOLDALL_STORE", "")):
        if "://" in argument:
            url = argument.partition("=")[2] if argument.startswith("--") else argument
            for secret, shown in _hidden(url):
                text = text.replace(secret, shown)
    return text


def _hidden(text: str) -> list[tuple[str, str]]:
    """What must not be shown of a URL, and what to show instead; the longest first."""
    from urllib.parse import quote  # noqa: PLC0415

    from holdall.url import REDACTED, StoreURL, is_secret_name  # noqa: PLC0415

    try:
        url = StoreURL.parse(text)
    except InvalidStoreURL:
        # Nobody can tell which part of it is secret.
        return [(text, f"{text.partition('://')[0]}://{REDACTED}")]
    secrets = [value for name, value in url.query.items() if is_secret_name(name)]
    if url.password:
        secrets.append(url.password)
    if not secrets:
        return []
    # Short ones would blot out half of every sentence; the URL as a whole is still replaced.
    spellings = {s for secret in secrets for s in (secret, quote(secret, safe="")) if len(s) >= _SHORTEST_SECRET}
    return [(text, str(url)), *((s, REDACTED) for s in sorted(spellings, key=len, reverse=True))]
