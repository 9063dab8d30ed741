"""The program `holdall`.

Exit codes: 0 done, 1 something failed, 2 the command line or a URL is wrong, 4 there is no such file, 130 interrupted.
Data goes to standard output, everything else to standard error.

Modules that are slow to load are imported inside the commands, so that help and completion are fast.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with these arguments, by default those of the process. Returns the exit code."""
    try:
        from holdall.cli._app import run  # noqa: PLC0415 - Ctrl-C while loading must be quiet, too

        return run(arguments)
    except KeyboardInterrupt:
        return 130
