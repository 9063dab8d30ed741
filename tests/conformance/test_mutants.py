"""The suite catches every mutant by the checks that are named for it, and by no others."""

from __future__ import annotations

import importlib
import pathlib

import pytest
from tests.conformance.mutants._base import MUTANTS, target_of

from holdall.conformance import run

for _module in sorted(pathlib.Path(__file__).with_name("mutants").glob("[a-z]*.py")):
    importlib.import_module(f"tests.conformance.mutants.{_module.stem}")


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_exactly_the_named_checks_catch_the_mutant(name, tmp_path):
    """Every check named for the mutant fails on it; every other check of the same categories does not."""
    mutant = MUTANTS[name]

    report = run(target_of(mutant, str(tmp_path)), only=sorted(mutant.categories))

    caught = {f.id for f in report.of("broken")}
    details = {f.id: (f.did, f.expected, f.saw) for f in report.of("broken")}
    assert caught == set(mutant.fails), details
