"""The documentation is true: its links lead somewhere, its blocks run, and what it lists is what there is."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from tests import _markdown as markdown

from holdall import registry
from holdall.options import StoreOptions

ROOT = markdown.ROOT
PAGES = markdown.pages()
DECISIONS = sorted((ROOT / "docs/decisions").glob("*.md"))
# The README has tests of its own.
RUN = [page for page in PAGES if page.name != "README.md" and any(b.is_run for b in markdown.blocks(page))]

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
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


def test_every_check_that_a_decision_names_is_in_the_suite():
    """What a decision says the conformance suite holds, the suite checks."""
    promises = tomllib.loads((ROOT / "src/holdall/conformance/promises.toml").read_text(encoding="utf-8"))
    checks = {f"{category}.{name}" for category, names in promises.items() for name in names}
    named = {name for page in DECISIONS for name in re.findall(r"`([a-z]+\.\w+)`", page.read_text(encoding="utf-8"))}
    named = {name for name in named if name.partition(".")[0] in promises}

    assert named
    assert named - checks == set()


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
    """Every decision has the same four parts, in the same order."""
    parts = re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)

    assert parts == ["Context", "Decision", "Consequences", "How it is held"]


def test_decisions_are_numbered_without_gaps_and_each_is_in_the_table_of_contents():
    """Decisions are found by number, and none is missing from the list."""
    contents = (ROOT / "docs/README.md").read_text(encoding="utf-8")

    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))
    assert [page.name for page in DECISIONS if f"decisions/{page.name}" not in contents] == []


def test_every_dependency_has_its_reason():
    """Each dependency of the core, and each tool of its developers, has a paragraph that says why it is there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
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
