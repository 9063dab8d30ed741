"""The suite catches every mutant by the checks that are named for it, and by no others."""

from __future__ import annotations

import pytest
from tests.conformance.mutants._base import target_of
from tests.conformance.pages import load_mutants

from holdall.conformance import run

MUTANTS = load_mutants()


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_exactly_the_named_checks_catch_the_mutant(name, tmp_path):
    """Every check named for the mutant fails on it; every other check of the same categories does not."""
    mutant = MUTANTS[name]

    report = run(target_of(mutant, str(tmp_path)), only=sorted(mutant.categories))

    caught = {f.id for f in report.of("broken")}
    details = {f.id: (f.did, f.expected, f.saw) for f in report.of("broken")}
    assert caught == set(mutant.fails), details
