"""`plugin new`: creates a complete distribution as the starting point of a new backend."""

from __future__ import annotations

import os
import re
import string
from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from holdall.cli._app import Debug, app
from holdall.cli._output import print_line
from holdall.errors import InvalidRequest

plugin = typer.Typer(help="Write a backend of your own.", rich_markup_mode=None)
app.add_typer(plugin, name="plugin")

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_SCHEME = re.compile(r"[a-z][a-z0-9.-]*(?:\+[a-z0-9][a-z0-9.-]*)?")


@plugin.callback()
def _plugin() -> None:
    # Without a callback, typer would merge the group with its only command.
    return None


@plugin.command()
def new(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name, such as acme; the distribution is holdall-acme.")
    ],
    scheme: Annotated[
        str | None,
        typer.Option(metavar="SCHEME", help="The scheme of the store URLs; by default NAME.", show_default=False),
    ] = None,
    into: Annotated[Path, typer.Option(metavar="FOLDER", help="The folder to create it in.")] = Path(),
    _debug: Debug = False,
) -> None:
    """Create a new backend, ready to install.

    Creates a folder with a distribution that passes the conformance suite as it is. Never overwrites anything.
    """
    folder = write_plugin(name, scheme, into)
    print_line(f"Wrote {folder}/. Next:")
    print_line(f"  cd {folder}")
    print_line("  pip install -e '.[test]'")
    print_line("  pytest")
    print_line("Then put your own storage behind the five verbs, and run pytest again.")


def write_plugin(name: str, scheme: str | None = None, into: Path = Path()) -> Path:
    """Write the distribution `holdall-NAME` into a new folder, and return it.

    Raises `InvalidRequest` for a name or scheme that cannot be one, and if the folder exists.
    """
    stem = name.removeprefix("holdall-")
    if not _NAME.fullmatch(stem):
        raise InvalidRequest(
            f"{name!r} cannot be the name of a backend: lower-case letters and digits, with single hyphens between"
        )
    scheme = stem if scheme is None else scheme
    if not _SCHEME.fullmatch(scheme):
        raise InvalidRequest(f"{scheme!r} is not a scheme: lower-case letters, digits, '.' and '-', then '+driver'")
    folder = into / f"holdall-{stem}"
    if os.path.lexists(folder):
        # Checked first: if the plugin is already installed, its own scheme is taken as well.
        raise _exists(folder)
    _refuse_taken(scheme)
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise _exists(folder) from None
    module = f"holdall_{stem.replace('-', '_')}"
    values = _values(stem, scheme, module)
    for template, target in (
        ("pyproject.toml.txt", "pyproject.toml"),
        ("README.md.txt", "README.md"),
        ("init.py.txt", f"src/{module}/__init__.py"),
        ("test_conformance.py.txt", "tests/test_conformance.py"),
        ("ci.yml.txt", ".github/workflows/ci.yml"),
    ):
        path = folder / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(string.Template(_template(template)).substitute(values), encoding="utf-8")
    (folder / "src" / module / "py.typed").touch()
    return folder


def _exists(folder: Path) -> InvalidRequest:
    return InvalidRequest(
        f"{folder} exists already, and nothing was written; "
        "go on with what is there, or choose another name, or another place with --into"
    )


def _refuse_taken(scheme: str) -> None:
    from holdall.registry import SUPPLIERS, installed  # noqa: PLC0415

    # Includes packages that are not installed here: where both are installed, neither would load.
    taken = SUPPLIERS | {info.scheme: info.package for info in installed()}
    if scheme in taken:
        raise InvalidRequest(f"{scheme}:// belongs to {taken[scheme]}; choose another with --scheme")


def _template(name: str) -> str:
    return resources.files("holdall.cli").joinpath("templates", "plugin", name).read_text(encoding="utf-8")


def _values(stem: str, scheme: str, module: str) -> dict[str, str]:
    from holdall import __version__  # noqa: PLC0415

    camel = "".join(part.capitalize() for part in stem.split("-"))
    return {
        "distribution": f"holdall-{stem}",
        "module": module,
        "scheme": scheme,
        "stem": camel,
        "class_name": f"{camel}Backend",
        "holdall_version": __version__,
    }
