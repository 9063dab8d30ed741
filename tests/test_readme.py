"""The README is true: its examples do what it says, and its tables agree with the program."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys

import pytest
from tests import _markdown as markdown

import holdall
from holdall import registry

README = markdown.ROOT / "README.md"
TEXT = README.read_text(encoding="utf-8")


def _rows(heading: str) -> list[list[str]]:
    """The rows of the table below a heading, without its head."""
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL)[1]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def _schemes(cell: str) -> set[str]:
    return set(re.findall(r"([a-z0-9+]+)://", cell.replace("PROTOCOL", "sftp")))


def test_the_examples_do_what_the_readme_says(tmp_path):
    """The Python and the console example run as printed, and print what stands below them."""
    run = {block.language for block in markdown.blocks(README) if block.is_run}

    assert run == {"python", "console"}
    markdown.run_page(README, tmp_path)


def test_the_two_commands_are_targets_of_make():
    """`make demo` and `make test` exist."""
    makefile = (markdown.ROOT / "Makefile").read_text(encoding="utf-8")

    for target in ("demo", "test"):
        assert f"$ make {target}" in TEXT
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)


def test_the_storages_said_to_come_with_holdall_are_those_it_registers():
    """The table marks as part of holdall exactly the schemes that its own distribution registers."""
    told = set().union(*(_schemes(cells[0]) for cells in _rows("Storages") if cells[2] == "holdall"))
    points = importlib.metadata.distribution("holdall").entry_points.select(group=registry.NAMESPACE)

    assert told == {point.name for point in points}


PLUGINS = [c for c in _rows("Storages") if c[2] != "holdall"]


@pytest.mark.parametrize("cells", PLUGINS, ids=lambda cells: cells[2])
def test_a_storage_is_registered_by_the_package_of_the_table(cells):
    """The package that the table names registers the schemes of its row."""
    package = re.search(r"`([\w-]+)`", cells[2])[1]
    points = importlib.metadata.distribution(package).entry_points.select(group=registry.NAMESPACE)
    known = {point.name for point in points}

    # One class takes every driver of `fsspec+`.
    assert {re.sub(r"^fsspec\+.*", "fsspec", scheme) for scheme in _schemes(cells[0])} <= known


@pytest.mark.parametrize("cells", PLUGINS, ids=lambda cells: cells[2])
def test_a_storage_that_is_not_installed_is_named_by_the_error_for_its_scheme(cells, monkeypatch):
    """Whoever tries a scheme of the table that is not installed is told the package that the table names."""
    monkeypatch.setattr(registry, "_entry_points", list)
    package = re.search(r"`([\w-]+)`", cells[2])[1]
    for scheme in sorted(_schemes(cells[0])):
        with pytest.raises(holdall.UnknownScheme, match=rf"pip install {package}\b"):
            holdall.open_store(f"{scheme}://somewhere/else")


def test_every_command_is_named():
    """Each command that `holdall --help` lists is in the README's section on the command line, and no other."""
    program = [sys.executable, "-m", "holdall.cli", "--help"]
    listed = subprocess.run(program, capture_output=True, encoding="utf-8", check=True).stdout.partition("Commands:\n")[
        2
    ]
    section = TEXT.partition("## On the command line")[2].partition("\n## ")[0]
    named = set(re.findall(r"\$ holdall (\w+)", section)) | set(re.findall(r"`(\w+)`", section))

    assert named == set(re.findall(r"^  (\w+)  ", listed, flags=re.MULTILINE))
