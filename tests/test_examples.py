"""The programs in examples/ run, and print what they say they print."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import textwrap

import pytest
from tests._markdown import ROOT

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
