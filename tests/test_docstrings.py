"""Rules of this repository that no linter knows."""

from __future__ import annotations

import ast
import inspect
import pathlib

import pytest

import holdall

ROOT = pathlib.Path(__file__).parent.parent
SOURCE = ROOT / "src/holdall"
TESTS = sorted([*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/*/tests/**/test_*.py")])

MAY_RENAME = {
    "backends/local/_staging.py": "the commit protocol",
    "cli/_download.py": "a downloaded file replaces the one at its path, in the user's own directory",
}


def _functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


@pytest.mark.parametrize("path", TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_test_says_what_must_hold(path):
    """A test without a docstring is a check of nobody knows what."""
    silent = [f.name for f in _functions(path) if f.name.startswith("test_") and not ast.get_docstring(f)]

    assert silent == []


@pytest.mark.parametrize("name", holdall.__all__)
def test_every_public_name_is_documented(name):
    """Each class and function of `holdall`, and each public method of its own, has a docstring."""
    value = getattr(holdall, name)
    assert inspect.getdoc(value)
    if inspect.isclass(value):
        for member, thing in vars(value).items():
            function = getattr(thing, "__func__", getattr(thing, "fget", thing))
            own = inspect.isfunction(function) and function.__module__.startswith("holdall")
            if own and not member.startswith("_"):
                assert inspect.getdoc(function), f"{name}.{member}"


def _renames(path):
    """Uses of the calls that make one path another; `str.replace` is none."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Attribute) or node.attr not in {"rename", "replace", "renames", "move", "link"}:
            continue
        if isinstance(node.value, ast.Name) and node.value.id in {"os", "shutil"}:
            yield f"{node.value.id}.{node.attr}"


def test_renaming_stands_in_one_place():
    """A file that appears by a rename without the syncs around it is a file that a power cut can lose."""
    found = {str(p.relative_to(SOURCE)): set(_renames(p)) for p in sorted(SOURCE.rglob("*.py"))}
    found = {path: calls for path, calls in found.items() if calls}

    assert found.pop("backends/local/_staging.py") == {"os.rename"}
    assert set(found) <= set(MAY_RENAME)


def test_no_name_of_these_calls_is_imported_bare():
    """`from os import rename` would escape the check above."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module in {"os", "shutil"}:
                assert not {alias.name for alias in node.names} & {"rename", "replace", "renames", "move", "link"}
