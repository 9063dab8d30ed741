"""What `make demo` runs: files stored on local disk, listed, read back, verified and deleted, by the program itself.

Everything happens in a temporary directory, which is gone at the end.
"""

from __future__ import annotations

import contextlib
import filecmp
import io
import os
import shlex
import sys
import tempfile
from pathlib import Path

from holdall.cli import main

PROJECT = Path(__file__).resolve().parents[1]


def step(title: str) -> None:
    print(f"\n{title}", flush=True)


def holdall(*arguments: str, shown: str | None = None, capture: bool = False) -> str:
    """Run the program as a shell would, and show the command; with `capture`, give back what it printed."""
    print(f"  $ holdall {shown or shlex.join(arguments)}", flush=True)
    output = io.StringIO()
    with contextlib.redirect_stdout(output) if capture else contextlib.nullcontext():
        code = main(arguments)
    if code:
        sys.exit(f"holdall {shlex.join(arguments)} ended with {code}")
    return output.getvalue().strip()


def run(workplace: Path) -> None:
    url = (workplace / "store").as_uri()
    os.environ["HOLDALL_STORE"] = url
    generated = workplace / "random-5MiB.bin"
    generated.write_bytes(os.urandom(5 * 1024 * 1024))
    originals = [PROJECT / "README.md", PROJECT / "pyproject.toml", generated]
    downloads = workplace / "downloads"
    downloads.mkdir()

    print(f"A store on local disk:\n  $ export HOLDALL_STORE={url}")

    step("Store three files. Each gets an id:")
    ids = []
    for path in originals:
        ids.append(
            holdall(
                "put", str(path), "--purpose", "assistants", shown=f"put {path.name} --purpose assistants", capture=True
            )
        )
        print(f"  {ids[-1]}")

    step("List them:")
    holdall("ls")

    step("Read them back, and compare with the originals:")
    for file_id, path in zip(ids, originals, strict=True):
        copy = downloads / path.name
        holdall("get", file_id, "-o", str(copy), shown=f"get {file_id} -o downloads/{path.name}", capture=True)
        assert filecmp.cmp(path, copy, shallow=False), f"{path.name} came back different"
        print(f"  identical, {path.stat().st_size} bytes")

    step("Read every byte in the store again and check its SHA-256:")
    holdall("verify")

    step("Delete them:")
    holdall("rm", *ids)

    step("Nothing is left:")
    holdall("ls")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="holdall-demo-") as directory:
        run(Path(directory))
    print("\nDone. Try it on your own files: .venv/bin/holdall --help")
