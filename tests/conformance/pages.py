"""The generated pages of the documentation: `make docs` writes them, and a test checks that they are up to date."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pathlib

from tests.conformance.mutants._base import MUTANTS

from holdall.conformance import SUITE_VERSION
from holdall.conformance._registry import all_checks

FOLDER = pathlib.Path(__file__).parents[2] / "docs" / "conformance"


def load_mutants():
    """Import every module of mutants, which registers them."""
    for module in sorted(pathlib.Path(__file__).with_name("mutants").glob("[a-z]*.py")):
        importlib.import_module(f"tests.conformance.mutants.{module.stem}")
    return MUTANTS


def promises_page():
    """Every promise, with why it matters and what to do if it is broken."""
    checks = all_checks()
    lines = [
        "# The promises",
        "",
        f"What the conformance suite {SUITE_VERSION} checks: {len(checks)} promises.",
        "This page is made from `promises.toml` by `make docs`.",
    ]
    for category, group in itertools.groupby(checks, key=lambda c: c.id.partition(".")[0]):
        lines += ["", f"## {category}"]
        for check in group:
            p = check.promise
            lines += ["", f"### {p.id}", "", f"**{p.promise}**", "", f"*{p.level}, since {p.since}.* {p.why}", p.hint]
    return "\n".join(lines) + "\n"


def mutants_page():
    """Every check with the broken backends that it is known to detect."""
    catches = {check.id: [] for check in all_checks()}
    for mutant in load_mutants().values():
        for check_id in mutant.fails:
            catches[check_id].append(mutant)
    lines = [
        "# What catches what",
        "",
        "Every check is known to fail: on each of these broken backends, and by no other check of the same categories.",
        f"{len(MUTANTS)} mutants, {len(catches)} checks.",
        "`tests/conformance/test_mutants.py` holds every row of this page, which is made by `make docs`.",
        "",
        "| check | mutant | what it does |",
        "|---|---|---|",
    ]
    for check_id, mutants in catches.items():
        for mutant in sorted(mutants, key=lambda m: m.name):
            does = " ".join((inspect.getdoc(mutant.kind) or "").split()).replace("|", "\\|")
            lines.append(f"| `{check_id}` | {mutant.name} | {does} |")
    return "\n".join(lines) + "\n"


PAGES = {"promises.md": promises_page, "mutants.md": mutants_page}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
