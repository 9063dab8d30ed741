"""The programs in examples/ run, and print what they say they print."""

from __future__ import annotations

import ast
import dbm.dumb
import importlib.util
import os
import re
import subprocess
import sys
import textwrap

import pytest
from tests._markdown import ROOT

from holdall import FileStore
from holdall.conformance import Target, run

# The demonstration is a program of its own, behind `make demo`.
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name != "demo.py")


def _mask(text: str) -> str:
    return re.sub(r"file-[0-9a-f]{32}", "<id>", text)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_and_prints_what_its_docstring_says(example, tmp_path):
    """Every example runs without a warning, prints the lines its docstring ends with, and leaves no file behind."""
    docstring = ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or ""
    promised = textwrap.dedent(docstring.partition("prints:\n")[2]).split("\n")[1:]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDALL_")}

    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        cwd=tmp_path,
        env=environment | {"HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert promised
    assert [_mask(line) for line in promised] == [_mask(line) for line in done.stdout.splitlines()]
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_listed():
    """The page of the folder has a line for each."""
    page = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    found = [p.name for p in (ROOT / "examples").iterdir() if p.name not in {"README.md", "__pycache__"}]

    assert len(found) > 5
    assert [name for name in sorted(found) if f"| [`{name}`](" not in page] == []


@pytest.fixture
def own_backend():
    """The module of examples/own_backend.py."""
    spec = importlib.util.spec_from_file_location("own_backend", ROOT / "examples" / "own_backend.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_backend_over_a_mapping_holds_what_it_declares(own_backend):
    """Over a dictionary: every promise to users and to many of them at once; of URLs, which it does not have, none is
    called broken.
    """
    backends = {}

    class Mappings(Target):
        def open(self, url):
            return FileStore(backends.setdefault(url, own_backend.MappingBackend({})))

    report = run(Mappings("mapping://tests"))

    assert [(f.id, f.did, f.saw) for f in report.of("broken")] == []
    assert len(report.of("held")) > 70


def test_the_backend_over_a_mapping_keeps_files_in_dbm(own_backend, tmp_path):
    """Over a dbm file, what was stored is there when the file is opened again."""
    with dbm.dumb.open(str(tmp_path / "files")) as mapping, FileStore(own_backend.MappingBackend(mapping)) as store:
        files = [store.create(f"{n}.bin", b"x" * n, purpose="batch") for n in (0, 1, 100_000)]

    with dbm.dumb.open(str(tmp_path / "files")) as mapping, FileStore(own_backend.MappingBackend(mapping)) as store:
        assert list(store) == files
        assert [store.get_content(file.id) for file in files] == [b"", b"x", b"x" * 100_000]
