"""`backends`: which storages can be used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from holdall.cli._app import Debug, Json, app
from holdall.cli._output import print_json, print_line, print_table

if TYPE_CHECKING:
    from holdall.registry import BackendInfo


@app.command()
def backends(json: Json = False, _debug: Debug = False) -> None:
    """Show the installed backends and the options of their URLs; of a broken one, why.

    With --json: an array of objects with scheme, package, target, options, capabilities and problem. The options are
    then all that its URLs take. Capabilities are null where they depend on the options.
    """
    from holdall.options import StoreOptions  # noqa: PLC0415
    from holdall.registry import installed  # noqa: PLC0415

    common = StoreOptions.model_fields
    infos = installed()
    if json:
        print_json([_as_json(info, common) for info in infos])
        return
    columns, rows = ("SCHEME", "PACKAGE", "OPTIONS", "STATE"), [_row(info) for info in infos]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    print_table(columns, rows, widths)
    for name, field in common.items():
        print_line(f"Every URL takes {name} as well: {field.description}.")


def _row(info: BackendInfo) -> tuple[str, ...]:
    return f"{info.scheme}://", info.package, ", ".join(_options(info) or ["-"]), info.problem or "ok"


def _options(info: BackendInfo) -> list[str]:
    return sorted(info.backend.Options.model_fields) if info.backend else []


def _as_json(info: BackendInfo, common: Iterable[str]) -> dict[str, object]:
    known = info.backend.capabilities if info.backend else None
    return {
        "scheme": info.scheme,
        "package": info.package,
        "target": info.target,
        "options": sorted([*_options(info), *common]) if info.backend else [],
        "capabilities": sorted(flag.name or "" for flag in known) if known else None,
        "problem": info.problem,
    }
