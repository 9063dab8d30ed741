"""`holdall plugin new` writes a distribution that passes the suite as it is, and never overwrites anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib

import pytest
from tests._markdown import ROOT

from holdall import registry
from holdall.cli.scaffold import write_plugin
from holdall.errors import InvalidRequest


def install(folder):
    """What an installer does with a pure Python package: its metadata beside its code. Gives the environment for it."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    name, version = project["name"], project["version"]
    metadata = folder / "src" / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = "\n".join(f"{k} = {v}" for k, v in project["entry-points"]["holdall.backends"].items())
    (metadata / "entry_points.txt").write_text(f"[holdall.backends]\n{points}\n")
    path = os.pathsep.join(filter(None, [str(folder / "src"), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def program(folder, environment, *command):
    """Run it in the folder."""
    return subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(("name", "scheme"), [("demo", None), ("two-words", "tw+driver")])
def test_generated_distribution_passes_the_suite_as_it_is(tmp_path, name, scheme):
    """Installed, its own tests pass, as many as the guide says, and `holdall conformance` calls it conformant."""
    folder = write_plugin(name, scheme, tmp_path)
    environment = install(folder)

    tests = program(folder, environment, "pytest", "-q", "-p", "no:cacheprovider")
    suite = program(folder, environment, "holdall.cli", "conformance", f"{scheme or name}://x", "--level", "core")

    assert tests.returncode == 0, tests.stdout
    assert "BROKEN" not in tests.stdout
    guide = (ROOT / "docs/guide/plugin-authors.md").read_text(encoding="utf-8")
    *_, verdict, counts = tests.stdout.splitlines()
    assert re.sub(r"\(.*?\)", "(…)", verdict) in guide
    assert counts.partition(" in ")[0] in guide
    assert suite.returncode == 0, suite.stdout
    assert ": CONFORMANT" in suite.stdout.splitlines()[-1]


def test_generated_code_is_typed(tmp_path):
    """An author who checks types strictly begins without an error, in the tests too."""
    folder = write_plugin("demo", None, tmp_path)

    types = program(folder, install(folder), "mypy", "--strict", f"--cache-dir={os.devnull}", "src", "tests")

    assert types.returncode == 0, types.stdout


def test_breaking_one_verb_is_told_with_what_to_do(tmp_path):
    """An author who lets ranges include their end reads which promise is broken and how to mend it."""
    folder = write_plugin("demo", None, tmp_path)
    environment = install(folder)
    source = folder / "src" / "holdall_demo" / "__init__.py"
    text = source.read_text()
    assert "[1][start:stop])" in text
    source.write_text(text.replace("[1][start:stop])", "[1][start : None if stop is None else stop - 1])"))

    suite = program(folder, environment, "holdall.cli", "conformance", "demo://x", "--only", "content")

    assert suite.returncode == 1
    assert "BROKEN  content.ranges" in suite.stdout
    assert "hint      start is inclusive, stop exclusive" in suite.stdout


def test_nothing_is_overwritten(tmp_path):
    """A folder that exists is left as it is."""
    (tmp_path / "holdall-demo").mkdir()
    (tmp_path / "holdall-demo" / "mine").write_text("mine")

    with pytest.raises(InvalidRequest, match="exists already"):
        write_plugin("demo", None, tmp_path)

    assert os.listdir(tmp_path / "holdall-demo") == ["mine"]


def test_a_second_time_it_says_what_to_do(tmp_path):
    """Also once the first is installed, whose scheme is then taken: what the author has written since is kept."""
    folder = write_plugin("demo", None, tmp_path)
    environment = install(folder)
    (folder / "README.md").write_text("mine")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    again = program(tmp_path, environment, "holdall.cli", "plugin", "new", "demo")

    assert again.returncode == 2
    assert again.stderr == (
        "holdall: holdall-demo exists already, and nothing was written; "
        "go on with what is there, or choose another name, or another place with --into\n"
    )
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["", "../x", "Demo", "de mo", "demo-", "1demo", "dem\u0456o"])
def test_name_that_cannot_be_one_is_refused(tmp_path, name):
    """Names become folders, modules and classes."""
    with pytest.raises(InvalidRequest):
        write_plugin(name, None, tmp_path)

    assert os.listdir(tmp_path) == []


def test_scheme_of_a_plugin_that_is_not_installed_is_refused(tmp_path, monkeypatch):
    """It would break both wherever that is installed, too."""
    monkeypatch.setattr(registry, "installed", list)
    with pytest.raises(InvalidRequest, match="sftp:// belongs to holdall-fsspec; choose another with --scheme"):
        write_plugin("sftp", None, tmp_path)

    assert os.listdir(tmp_path) == []


def test_scheme_that_is_taken_is_refused(tmp_path):
    """Two backends of one scheme would break both."""
    with pytest.raises(InvalidRequest, match="belongs to holdall"):
        write_plugin("demo", "file", tmp_path)

    assert os.listdir(tmp_path) == []
