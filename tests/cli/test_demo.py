"""`make demo` does what it says."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys

DEMO = pathlib.Path(__file__).resolve().parents[2] / "examples" / "demo.py"


def test_the_demo_stores_lists_reads_verifies_and_deletes(tmp_path):
    """It shows three real files in a table, reads them back, verifies and deletes them, and cleans up: exit code 0."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), "HOLDALL_STORE": "file:///nowhere"}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(DEMO)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    listed, empty = re.findall(r"\$ holdall ls\n(ID .*\n(?:file-.*\n)*)", done.stdout)
    assert re.findall(r"\S+$", listed, flags=re.MULTILINE) == ["NAME", "README.md", "pyproject.toml", "random-5MiB.bin"]
    assert empty.count("\n") == 1
    assert done.stdout.count("identical") == 3
    assert "3 files, 5.0 MiB read, no problem" in done.stdout
    assert list(tmp_path.iterdir()) == []
