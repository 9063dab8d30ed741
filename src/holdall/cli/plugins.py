"""`backends`: which storages can be used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from holdall.cli._app import Debug, Json, app
from holdall.cli._output import print_json, print_table

if TYPE_CHECKING:
    from holdall.registry import BackendInfo


@app.command()
def backends(json: Json = False, _debug: Debug = False) -> None:
    """Show the installed backends; of a broken one, why.

    With --json: an array of objects with scheme, package, target, options, capabilities and problem. Capabilities are
    null where they depend on the options.
    """
    from holdall.registry import installed  # noqa: PLC0415

    infos = installed()
    if json:
        print_json([_as_json(info) for info in infos])
        return
    columns, rows = ("SCHEME", "PACKAGE", "OPTIONS", "STATE"), [_row(info) for info in infos]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    print_table(columns, rows, widths)


def _row(info: BackendInfo) -> tuple[str, ...]:
    return f"{info.scheme}://", info.package, ", ".join(_options(info) or ["-"]), info.problem or "ok"


def _options(info: BackendInfo) -> list[str]:
    return sorted(info.backend.Options.model_fields) if info.backend else []


def _as_json(info: BackendInfo) -> dict[str, object]:
    known = info.backend.capabilities if info.backend else None
    return {
        "scheme": info.scheme,
        "package": info.package,
        "target": info.target,
        "options": _options(info),
        "capabilities": sorted(flag.name or "" for flag in known) if known else None,
        "problem": info.problem,
    }
