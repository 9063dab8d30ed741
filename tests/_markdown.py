"""The fenced blocks of a Markdown page, and how each kind is run and compared with what the page says it prints.

Python blocks of a page share one namespace; a line `#> text` is a line that the block prints.
Console blocks are sessions of one shell: `$ command`, then its output, standard error included.
A block whose first line says `no-run` is not run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)$")
_ID = re.compile(r"file-[0-9a-f]{32}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?")


@dataclasses.dataclass(frozen=True)
class Block:
    """One fenced block: the page, the line its text starts at, its info string, its text."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    @property
    def is_run(self) -> bool:
        return self.language in {"python", "console"} and "no-run" not in self.info.split()


def pages() -> list[Path]:
    """Every Markdown page that is kept in the project's own folders."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*.md"), *ROOT.glob("examples/*.md")]
    return sorted(found)


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    info, start, lines = None, 0, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fence = _FENCE.match(line)
        if fence and info is None:
            info, start, lines = fence["info"].strip(), number + 1, []
        elif fence and info is not None:
            yield Block(page, start, info, "\n".join(lines) + "\n")
            info = None
        elif info is not None:
            lines.append(line)
    if info is not None:
        raise AssertionError(f"{page}: the block before line {start} is not closed")


def run_page(page: Path, directory: Path) -> None:
    """Run the blocks of a page in order, in one directory, and compare what each prints with what it says."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    with contextlib.chdir(directory), Shell(directory) as shell:
        for block in blocks(page):
            if block.is_run and block.language == "python":
                _run_python(block, namespace)
            elif block.is_run:
                shell.run(block)


def _run_python(block: Block, namespace: dict[str, object]) -> None:
    printed = io.StringIO()
    # Blank lines before it make a traceback show the page's own line numbers.
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec", dont_inherit=True)
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    expected = [line.strip()[3:] for line in block.text.splitlines() if line.strip().startswith("#> ")]
    Comparison().check(block, expected, printed.getvalue().splitlines())


class Comparison:
    """Compares what a page says with what was printed; ids and times differ from run to run."""

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        """The id that stands on the page, and the one it is this time."""

    def check(self, block: Block, expected: Sequence[str], actual: Sequence[str]) -> None:
        told, seen = "\n".join(expected).rstrip(), "\n".join(line.rstrip() for line in actual).rstrip()
        for here, now in zip(_ID.findall(told), _ID.findall(seen), strict=False):
            self.ids.setdefault(here, now)
        assert self._mask(self.translate(told)) == self._mask(seen), f"{block.page}, line {block.line}"

    def translate(self, text: str) -> str:
        return _ID.sub(lambda match: self.ids.get(match[0], match[0]), text)

    def _mask(self, text: str) -> str:
        return _DATE.sub("<time>", text)


class Shell:
    """One shell for the console blocks of a page, in a directory of its own, with no store set."""

    def __init__(self, directory: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDALL_")}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(directory),
            "COLUMNS": "110",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        self._comparison = Comparison()
        self._process = subprocess.Popen(
            ["bash", "--norc"],
            cwd=directory,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def run(self, block: Block) -> None:
        failed = 0
        for command, expected in _session(block):
            if failed:
                assert command == "echo $?", f"{block.page}: a command that fails must be followed by 'echo $?'"
            output, failed = self._run(self._comparison.translate(command))
            self._comparison.check(block, expected, output.splitlines())
        assert failed == 0, f"{block.page}, line {block.line}: the last command fails with {failed}"

    def _run(self, command: str) -> tuple[str, int]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # "(exit n)" hands the status on to an "echo $?" that follows.
        self._process.stdin.write(f"{{ {command}\n}} </dev/null; n=$?; printf '\\n@@%d\\n' $n; (exit $n)\n")
        self._process.stdin.flush()
        lines: list[str] = []
        for line in self._process.stdout:
            if line.startswith("@@"):
                return "".join(lines), int(line[2:])
            lines.append(line)
        raise AssertionError(f"the shell ended at {command!r}: {''.join(lines)}")


def _session(block: Block) -> Iterator[tuple[str, list[str]]]:
    command, expected = "", []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            if command:
                yield command, expected
            command, expected = line[2:], []
        elif line.startswith("> ") and not expected:
            command += "\n" + line[2:]
        else:
            expected.append(line)
    if command:
        yield command, expected
