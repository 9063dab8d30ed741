"""The public names: what `holdall` promises is there, and importing it costs next to nothing."""

from __future__ import annotations

import ast
import importlib
import pathlib
import subprocess
import sys

import pytest

import holdall

SOURCE = pathlib.Path(holdall.__file__)
HEAVY = ("anyio", "pydantic", "pydantic_core", "platformdirs", "rich", "stevedore", "typer")


def _promised():
    """Name and module of each import under TYPE_CHECKING."""
    tree = ast.parse(SOURCE.read_text(encoding="utf-8"))
    guarded = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    return {
        alias.name: node.module.removeprefix("holdall.")
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def test_type_checkers_and_the_interpreter_see_the_same_names():
    """What is loaded on demand, what type checkers are told, and `__all__` agree."""
    assert _promised() == holdall._HOME
    assert sorted(holdall.__all__) == sorted(holdall._HOME)


@pytest.mark.parametrize("name", holdall.__all__)
def test_every_name_is_there(name):
    """It can be imported, is the object of its home module, and is listed by `dir`."""
    home = importlib.import_module(f"holdall.{holdall._HOME[name]}")

    assert getattr(holdall, name) is getattr(home, name)
    assert name in dir(holdall)
    assert name in home.__all__


def test_an_unknown_name_is_an_attribute_error():
    """As of any module."""
    with pytest.raises(AttributeError, match="module 'holdall' has no attribute 'open_shop'"):
        holdall.open_shop  # noqa: B018 - looking is the test


@pytest.mark.parametrize("package", ["holdall.aio", "holdall.conformance", "holdall.server", "holdall.wrappers"])
def test_the_names_of_a_package_are_listed(package):
    """Whoever asks `dir`, as a completing shell does, sees each public name, also those that are not loaded yet."""
    module = importlib.import_module(package)

    assert set(module.__all__) - set(dir(module)) == set()


def test_the_package_is_typed():
    """Type checkers find the marker of PEP 561."""
    assert SOURCE.with_name("py.typed").exists()


def test_every_all_is_true():
    """No module promises a name that it does not have."""
    modules = [p for p in SOURCE.parent.glob("*.py") if p.name not in {"__init__.py", "__main__.py"}]
    for path in modules:
        module = importlib.import_module(f"holdall.{path.stem}")
        for name in getattr(module, "__all__", []):
            assert hasattr(module, name), f"{path.name}: {name}"


def test_importing_holdall_imports_nothing_heavy():
    """The cost of pydantic, anyio and the like falls on whoever opens a store, not on whoever imports."""
    code = f"import sys, holdall; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"


def test_opening_a_store_imports_neither_the_command_line_nor_the_async_face():
    """Nor any plugin or part of the test suite."""
    unwanted = (
        "anyio",
        "rich",
        "typer",
        "pytest",
        "holdall.cli",
        "holdall.aio",
        "holdall.conformance",
        "holdall.server",
    )
    code = f"import sys, holdall; holdall.open_store('memory://'); print([m for m in {unwanted!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)

    assert done.stdout.strip() == "[]"
