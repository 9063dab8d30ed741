"""The documentation is true: its links lead somewhere, its blocks run, and what it lists is what there is."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from tests import _markdown as markdown

import holdall
from holdall import registry, server
from holdall.backend import Backend, StagedFile
from holdall.cli import _errors as cli_errors
from holdall.conformance._registry import promises
from holdall.options import StoreOptions

ROOT = markdown.ROOT
PAGES = markdown.pages()
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
VERBS = sorted((ROOT / "docs/backend").glob("*.md"))
GUIDE = ROOT / "docs/guide/plugin-authors.md"
# The README has tests of its own.
RUN = [page for page in PAGES if page.name != "README.md" and any(b.is_run for b in markdown.blocks(page))]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CHECK = re.compile(r"\[([a-z]+\.\w+)\]\([^)#\s]*promises\.md#([^)\s]+)\)")
_PATH = re.compile(r"`((?:src|tests|examples|docs|plugins)/[\w./*-]+)`")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _anchors(page: Path) -> set[str]:
    """The anchors that a page's headings get: lower case, spaces to hyphens, the rest of the punctuation gone."""
    headings = re.findall(r"^#+ (.+)$", _prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_relative_link_leads_to_a_file_and_a_heading_that_exist(page):
    """A reader who follows a link inside the project arrives."""
    broken = []
    for link in _LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_path_of_the_project_that_a_page_names_exists(page):
    """A page names no file that was renamed or was never written."""
    named = [path for path in _PATH.findall(_prose(page)) if "*" not in path]

    assert [path for path in named if not (ROOT / path).exists()] == []


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def test_every_check_that_a_decision_names_is_in_the_suite():
    """What a decision says the conformance suite holds, the suite checks."""
    categories = {name.partition(".")[0] for name in promises()}
    named = {name for page in DECISIONS for name in re.findall(r"`([a-z]+\.\w+)`", _text(page))}
    named = {name for name in named if name.partition(".")[0] in categories}

    assert named
    assert named - set(promises()) == set()


@pytest.mark.parametrize("page", [p for p in PAGES if _CHECK.search(p.read_text(encoding="utf-8"))], ids=_name)
def test_every_check_that_a_page_cites_is_in_the_suite_and_leads_to_its_promise(page):
    """A name of a check is one, and its link leads to that promise and to no other."""
    cited = _CHECK.findall(_text(page))

    assert [name for name, _ in cited if name not in promises()] == []
    assert [name for name, anchor in cited if anchor != name.replace(".", "").lower()] == []


def test_every_check_of_the_suite_is_cited_by_the_page_of_a_verb_or_the_guide():
    """An author who reads the pages on the verbs meets every promise that the suite will hold them to."""
    cited = {name for page in [*VERBS, GUIDE] for name, _ in _CHECK.findall(_text(page))}

    assert set(promises()) - cited == set()


def test_every_verb_has_a_page_with_its_signature():
    """Each method of the interface for authors is on a page of its own or with its kin, as it is in the code."""
    methods = {
        name: str(inspect.signature(member)).replace("'", "").replace("(self, ", "(").replace("(self)", "()")
        for kind in (Backend, StagedFile)
        for name, member in inspect.getmembers(kind, callable)
        if not name.startswith("_") and name != "Options"
    }
    text = "".join(_text(page) for page in VERBS)

    assert len(methods) > 12
    assert [name for name, signature in methods.items() if f"`{name}{signature}`" not in text] == []
    contents = _text(ROOT / "docs/backend/README.md")
    assert [page.name for page in VERBS if page.name != "README.md" and f"({page.name})" not in contents] == []


def test_the_guide_to_the_suite_lists_the_options_that_there_are():
    """The table has every option of the command line and of pytest, and no page uses one that does not exist."""
    program = [sys.executable, "-m", "holdall.cli", "conformance", "--help"]
    told = subprocess.run(program, capture_output=True, encoding="utf-8", check=True).stdout
    options = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", told, flags=re.MULTILINE))
    plugin = set(re.findall(r"--holdall-[a-z-]+", _text(ROOT / "src/holdall/conformance/plugin.py")))
    table = "\n".join(line for line in _text(ROOT / "docs/guide/conformance.md").splitlines() if line.startswith("|"))
    used = {option for page in PAGES for line in re.findall(r"holdall conformance (.*)", _text(page))
            for option in re.findall(r"(?<=\s)--[a-z-]+", line)}  # fmt: skip

    assert used - options == set()
    assert [option for option in sorted(options - {"--help", "--debug"}) if option not in table] == []
    assert [option for option in sorted(plugin - {"--holdall-url"}) if option not in table] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_fenced_block_says_what_it_is(page):
    """Every block names its language, so that none escapes the tests by accident."""
    assert [block.line for block in markdown.blocks(page) if not block.language] == []


@pytest.mark.parametrize("page", RUN, ids=_name)
def test_python_and_console_blocks_do_what_the_page_says(page, tmp_path):
    """Code that is printed in the documentation runs, and prints what stands below it."""
    markdown.run_page(page, tmp_path)


@pytest.mark.parametrize("page", DECISIONS, ids=_name)
def test_a_decision_says_why_what_with_which_consequences_and_how_it_is_held(page):
    """Every decision has its number before its title, and the same four parts, in the same order."""
    text = page.read_text(encoding="utf-8")
    parts = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)

    assert text.startswith(f"# {page.name[:4]}. ")
    assert parts == ["Context", "Decision", "Consequences", "How it is held"]


def test_decisions_are_numbered_without_gaps_and_each_is_in_the_table_of_contents():
    """Decisions are found by number, and none is missing from the list."""
    contents = (ROOT / "docs/README.md").read_text(encoding="utf-8")

    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    assert [page.name for page in DECISIONS if f"decisions/{page.name}" not in contents] == []


@pytest.mark.parametrize("package", ["", ".backend", ".conformance", ".server", ".wrappers"])
def test_every_public_name_stands_in_a_guide(package):
    """Whoever reads the guides and the pages of the verbs meets each public name, and the main classes' methods."""
    text = "".join(_text(page) for page in PAGES if page.parent.name in {"guide", "backend"})
    module = importlib.import_module(f"holdall{package}")
    main = [] if package else [holdall.FileStore, holdall.AsyncFileStore, Backend, StagedFile]
    methods = {name for kind in main for name in vars(kind) if not name.startswith("_")}
    if not package:
        methods |= {*holdall.FileObject.model_fields, *holdall.FilePage.model_fields}

    assert [name for name in sorted({*module.__all__, *methods}) if not re.search(rf"\b{name}\b", text)] == []


def test_the_guide_to_the_server_has_every_option_and_argument():
    """Each option of `holdall serve`, and each argument of the functions of `holdall.server`."""
    page = _text(ROOT / "docs/guide/server.md")
    program = [sys.executable, "-m", "holdall", "serve", "--help"]
    told = subprocess.run(program, capture_output=True, encoding="utf-8", check=True).stdout
    options = set(re.findall(r"^ +(--[a-z-]+)", told, flags=re.MULTILINE)) - {"--debug"}
    functions = [server.create_app, server.create_router, server.sweeping]
    arguments = {name for function in functions for name in inspect.signature(function).parameters}

    assert len(options) > 8
    assert [option for option in sorted(options) if option not in page] == []
    assert [name for name in sorted(arguments) if not re.search(rf"\b{name}\b", page)] == []


def test_every_dependency_has_its_reason():
    """Each dependency of the core, and each tool of its developers, has a paragraph that says why it is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [
        *project["project"]["dependencies"],
        *(name for extra in project["project"]["optional-dependencies"].values() for name in extra),
        *project["dependency-groups"]["dev"],
    ]
    names = [re.match(r"[\w-]+", requirement)[0] for requirement in wanted]
    page = (ROOT / "docs/decisions/0002-dependencies.md").read_text(encoding="utf-8")

    assert [name for name in names if f"**{name}**" not in page] == []


def test_the_operators_guide_lists_every_option_of_the_core():
    """Whoever configures a store finds each option of the store and of the backends that come with it."""
    guide = (ROOT / "docs/guide/operators.md").read_text(encoding="utf-8")
    options = {*StoreOptions.model_fields}
    for scheme in ("file", "memory"):
        options |= set(registry.load(scheme).Options.model_fields)

    assert [option for option in sorted(options) if f"`{option}`" not in guide] == []


def test_the_operators_guide_lists_the_exit_codes_of_the_program():
    """The table of exit codes has a row for each code that the command line ends with, and no other."""
    section = _text(ROOT / "docs/guide/operators.md").partition("\n## Exit codes\n")[2].partition("\n## ")[0]
    nothing_tested = 3
    codes = {0, cli_errors.FAILED, cli_errors.USAGE, nothing_tested, cli_errors.NOT_FOUND, cli_errors.INTERRUPTED}

    assert {int(code) for code in re.findall(r"^\| (\d+) \|", section, flags=re.MULTILINE)} == codes
