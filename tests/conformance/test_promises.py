"""Promises, checks, mutants, pages and docstrings name the same things."""

from __future__ import annotations

import inspect
import re

import pytest
from tests.conformance.pages import FOLDER, PAGES, load_mutants

import holdall.backend
from holdall.conformance._registry import LEVELS, all_checks, promises

CITED = re.compile(r"\[([a-z]+\.[A-Za-z_]+)\]")


def test_every_promise_has_a_check_and_every_check_a_promise():
    """promises.toml and the checks list the same names."""
    assert [c.id for c in all_checks()] == list(promises())
    assert len(promises()) == 99


def test_every_promise_is_complete():
    """A promise, why it matters, a hint, a known level and a version."""
    for promise in promises().values():
        assert promise.promise.endswith(".")
        assert promise.why.endswith(".")
        assert promise.hint.endswith(".")
        assert promise.level in LEVELS
        assert re.fullmatch(r"\d+\.\d+", promise.since)


def test_every_check_says_how_it_tries():
    """The docstring of a check says how the promise is tried."""
    for check in all_checks():
        assert check.run.__doc__, check.id


def test_every_check_is_known_to_fail():
    """At least one mutant names each check."""
    named = {check_id for mutant in load_mutants().values() for check_id in mutant.fails}

    assert named == set(promises())


def test_every_check_that_is_cited_exists():
    """A promise in a docstring of the interface for authors carries the name of the check that holds it."""
    cited = {
        name
        for kind in (holdall.backend.Backend, holdall.backend.StagedFile, holdall.backend.Capability)
        for name in CITED.findall(inspect.getsource(kind))
    }

    assert len(cited) > 20
    assert cited <= set(promises())


@pytest.mark.parametrize("name", sorted(PAGES))
def test_generated_pages_are_up_to_date(name):
    """The pages in docs/conformance are what `make docs` would write."""
    assert (FOLDER / name).read_text(encoding="utf-8") == PAGES[name](), "run make docs"
