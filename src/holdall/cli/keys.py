"""API keys for `holdall serve`."""

from __future__ import annotations

from typing import Annotated

import typer

from holdall.cli import _output as output
from holdall.cli._app import Debug, Json, app

__all__: list[str] = []


@app.command()
def key(
    tenant: Annotated[
        str,
        typer.Argument(
            metavar="TENANT",
            help="The tenant whose files the key opens: 1 to 32 of a-z, 0-9 and, in between, '-'; not file-….",
        ),
    ],
    file: Annotated[
        str | None,
        typer.Option(
            "--file", "-f", metavar="PATH", help="The file to add the hash of the key to; created if missing."
        ),
    ] = None,
    as_json: Json = False,
    _debug: Debug = False,
) -> None:
    """Create an API key for a tenant of the server.

    The key is printed and not stored: a key file contains only hashes. Without --file, the line to add to a key file
    is printed below the key.
    """
    from holdall.server._keys import add_line, new_key  # noqa: PLC0415

    made, line = new_key(tenant)
    if file is not None:
        add_line(file, line)
    if as_json:
        output.print_json({"tenant": tenant, "key": made, "line": line})
    else:
        typer.echo(made if file is not None else f"{made}\n{line}")
