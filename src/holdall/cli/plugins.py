"""`backends`: the installed backends and their options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from holdall.cli._app import Debug, Json, app
from holdall.cli._output import print_json, print_line, print_table

if TYPE_CHECKING:
    from holdall.registry import BackendInfo


@app.command()
def backends(
    scheme: Annotated[
        str | None, typer.Argument(metavar="SCHEME", help="A scheme such as s3, or a URL, whose options to explain.")
    ] = None,
    json: Json = False,
    _debug: Debug = False,
) -> None:
    """List the installed backends, or explain the options of one.

    Without SCHEME: lists the installed backends, and why one cannot be used. With --json: an array of objects
    with scheme, package, target, options, capabilities and problem. The options then include those that every URL
    accepts. A URL's options may add or remove capabilities; they are null where nothing is known without a URL.

    With SCHEME: explains each option of its URLs. With --json: an array of objects with name, default and description.
    """
    from holdall.options import StoreOptions  # noqa: PLC0415
    from holdall.registry import installed  # noqa: PLC0415

    if scheme is not None:
        _explain(scheme, json=json)
        return
    common = StoreOptions.model_fields
    infos = installed()
    if json:
        print_json([_as_json(info, common) for info in infos])
        return
    _print_columns(("SCHEME", "PACKAGE", "OPTIONS", "STATE"), [_row(info) for info in infos])
    for name, field in common.items():
        print_line(f"Every URL also accepts {name}: {field.description}.")


def _explain(scheme: str, *, json: bool) -> None:
    from holdall.options import StoreOptions  # noqa: PLC0415
    from holdall.registry import load, options_of  # noqa: PLC0415
    from holdall.url import StoreURL  # noqa: PLC0415

    url = StoreURL.parse(scheme if "://" in scheme else f"{scheme}://")
    fields = {**options_of(load(url.scheme), url).model_fields, **StoreOptions.model_fields}
    options = [
        {"name": name, "default": _default(field.default), "description": field.description}
        for name, field in sorted(fields.items())
    ]
    if json:
        print_json(options)
    else:
        _print_columns(("OPTION", "DEFAULT", "MEANING"), [tuple(v or "-" for v in each.values()) for each in options])


def _default(value: Any) -> str | None:
    """The default in the form used in a URL; None if there is none."""
    from pydantic import ByteSize  # noqa: PLC0415
    from pydantic_core import PydanticUndefined  # noqa: PLC0415

    from holdall.opening import as_text  # noqa: PLC0415

    if value is PydanticUndefined:
        return None
    for power, unit in enumerate(("GiB", "MiB", "KiB")):
        if isinstance(value, ByteSize) and value and value % 1024 ** (3 - power) == 0:
            return f"{value // 1024 ** (3 - power)}{unit}"
    return as_text(value)


def _print_columns(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    print_table(columns, rows, widths)


def _row(info: BackendInfo) -> tuple[str, ...]:
    return f"{info.scheme}://", info.package, ", ".join(_options(info) or ["-"]), info.problem or "ok"


def _options(info: BackendInfo) -> list[str]:
    return sorted(info.options.model_fields) if info.options else []


def _as_json(info: BackendInfo, common: Iterable[str]) -> dict[str, object]:
    known = info.backend.capabilities if info.backend else None
    return {
        "scheme": info.scheme,
        "package": info.package,
        "target": info.target,
        "options": sorted([*_options(info), *common]) if info.options else [],
        "capabilities": sorted(flag.name or "" for flag in known) if known else None,
        "problem": info.problem,
    }
