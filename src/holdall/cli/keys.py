"""API keys for `holdall serve`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from holdall.cli import _output as output
from holdall.cli._app import Debug, Json, app

__all__: list[str] = []


@app.command()
def key(
    tenant: Annotated[str, typer.Argument(help="Whose files the key gives access to: a-z, 0-9 and '-'.")],
    file: Annotated[
        str | None, typer.Option("--file", "-f", metavar="PATH", help="The file of keys to add it to; made if absent.")
    ] = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Make an API key for a tenant of the server, and print it: it is kept nowhere.

    A file of keys holds only hashes of them. Without --file, what belongs into it is printed below the key.
    """
    from holdall.server._keys import new_key  # noqa: PLC0415

    made, line = new_key(tenant)
    if file is not None:
        _append(file, line)
    if as_json:
        output.print_json({"tenant": tenant, "key": made, "line": line})
    else:
        typer.echo(made if file is not None else f"{made}\n{line}")


def _append(path: str, line: str) -> None:
    # For its owner alone: no key can be read from it, but a line added to it lets somebody in.
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with open(fd, "r+", encoding="utf-8") as file:
        text = file.read()
        file.write(f"{line}\n" if not text or text.endswith("\n") else f"\n{line}\n")
