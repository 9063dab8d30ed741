"""The fenced blocks of a Markdown page: how each kind is run, and how its output is compared with the page.

Python blocks of a page share one namespace; a line `#> text` is a line that the block prints.
Console blocks are sessions of one shell: `$ command`, then its output, including standard error.
In the output, `…` stands for the rest of a line, alone on a line for any number of lines, and `/home/you` for the
directory in which the page runs.

The words after the language, which readers of the page do not see:

- `no-run`: the block is not run.
- `no-run instead=NAME`: the function NAME of `INSTEAD` is called instead.
- `no-run instead=PATH`: the tests at that path do the same.
- `write=PATH`, `append=PATH`: the block is the content of that file, in the shell's directory.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^\n`]*)$")
_ID = re.compile(r"file-[0-9a-f]{32}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?")
_DURATION = re.compile(r"\bin \d+\.\d\ds\b")
_HOME = "/home/you"


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: the page, the line number of its text, its info string, its text."""

    page: Path
    line: int
    info: str
    text: str

    @property
    def language(self) -> str:
        return self.info.partition(" ")[0]

    def word(self, name: str) -> str | None:
        """The value of `name=` in the info string."""
        return next((w.partition("=")[2] for w in self.info.split()[1:] if w.startswith(f"{name}=")), None)

    @property
    def is_file(self) -> bool:
        return (self.word("write") or self.word("append")) is not None

    @property
    def is_run(self) -> bool:
        return self.is_file or (self.language in {"python", "console"} and "no-run" not in self.info.split())


def pages() -> list[Path]:
    """Every Markdown page in the project's own folders."""
    patterns = ("*.md", "docs/**/*.md", "plugins/*.md", "plugins/*/*.md", "examples/*.md", "examples/*/*.md")
    found = [page for pattern in patterns for page in ROOT.glob(pattern)]
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
    """Run the blocks of a page in order, in one directory, and compare the output of each with the page."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    with contextlib.chdir(directory), Shell(directory) as shell:
        for block in blocks(page):
            if block.is_file:
                _write(block, shell.where())
            elif block.is_run and block.language == "python":
                _run_python(block, namespace)
            elif block.is_run:
                shell.run(block)
            elif (instead := block.word("instead")) in INSTEAD:
                INSTEAD[instead](shell)
            else:
                assert instead is None or (ROOT / instead).exists(), f"{block.page}: there is no {instead}"


def _write(block: Block, folder: Path) -> None:
    new = block.word("write")
    path = folder / (new or block.word("append") or "")
    assert new or path.exists(), f"{block.page}, line {block.line}: there is no {path.name} to append to"
    with path.open("w" if new else "a", encoding="utf-8") as file:
        file.write(block.text)


def _install(shell: Shell) -> None:
    """A replacement for `pip install -e .`, which needs the network: puts code and metadata on Python's path."""
    folder = shell.where()
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    metadata = shell.directory / "site" / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
    points = "".join(f"{scheme} = {kind}\n" for scheme, kind in project["entry-points"]["holdall.backends"].items())
    (metadata / "entry_points.txt").write_text(f"[holdall.backends]\n{points}", encoding="utf-8")
    shell.execute(f"export PYTHONPATH='{folder / 'src'}:{metadata.parent}'${{PYTHONPATH:+:$PYTHONPATH}}")


INSTEAD = {"install": _install}


def _run_python(block: Block, namespace: dict[str, object]) -> None:
    printed = io.StringIO()
    # With blank lines before it, a traceback shows the page's own line numbers.
    code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec", dont_inherit=True)
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    expected = [line.strip()[3:] for line in block.text.splitlines() if line.strip().startswith("#> ")]
    Comparison().check(block, expected, printed.getvalue().splitlines())


class Comparison:
    """Compares a page with the actual output; ids, times and the directory differ from run to run."""

    def __init__(self, directory: Path | None = None) -> None:
        self._directory = directory
        self.ids: dict[str, str] = {}
        """Maps each id on the page to the one in this run."""

    def check(self, block: Block, expected: Sequence[str], actual: Sequence[str]) -> None:
        told, seen = "\n".join(expected).rstrip(), "\n".join(line.rstrip() for line in actual).rstrip()
        if self._directory is not None:
            seen = seen.replace(str(self._directory), _HOME)
        for here, now in zip(_ID.findall(told), _ID.findall(seen), strict=False):
            self.ids.setdefault(here, now)
        told, seen = self._mask(self.translate(told)), self._mask(seen)
        if not re.fullmatch(_pattern(told), seen + "\n"):
            raise AssertionError(f"{block.page}, line {block.line}: the page says\n{told}\n\nand it prints\n{seen}")

    def translate(self, text: str) -> str:
        return _ID.sub(lambda match: self.ids.get(match[0], match[0]), text)

    def _mask(self, text: str) -> str:
        return _DURATION.sub("in <seconds>", _DATE.sub("<time>", text))


def _pattern(told: str) -> str:
    """A regular expression for the output on a page: `…` is the rest of a line, or any number of lines."""
    lines = [r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r"\n" for line in told.split("\n")]
    return "".join(lines)


class Shell:
    """A shell for the console blocks of a page, in its own directory, without a configured store."""

    def __init__(self, directory: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HOLDALL_")}
        environment |= {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(directory),
            "COLUMNS": "110",
            "TERM": "dumb",
            "NO_COLOR": "1",
            "LC_ALL": "C.UTF-8",
            # A page changes a module several times within a second, the resolution of compiled code's timestamps.
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.directory = directory
        self._comparison = Comparison(directory)
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
            output, failed = self.execute(self._comparison.translate(command))
            self._comparison.check(block, expected, output.splitlines())
        assert failed == 0, f"{block.page}, line {block.line}: the last command fails with {failed}"

    def where(self) -> Path:
        """The current directory of the shell."""
        return Path(self.execute("pwd")[0].strip())

    def execute(self, command: str) -> tuple[str, int]:
        """The output of a command, and its exit code."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # "(exit n)" passes the status on to an "echo $?" that follows.
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
