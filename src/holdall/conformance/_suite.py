"""The suite as a class of tests for `pytest`: an author subclasses it and supplies a target."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import pytest

from holdall.conformance._kit import Settings
from holdall.conformance._registry import Check, all_checks
from holdall.conformance._runner import run_check
from holdall.conformance._target import Target
from holdall.conformance.plugin import keep_finding, settings_of

__all__ = ["StoreConformance"]


class StoreConformance:
    """Every check as a test method. The subclass defines the fixture `holdall_target`, of any scope::

    class TestMine(StoreConformance):
        @pytest.fixture
        def holdall_target(self, tmp_path):
            return Target(f"mine://{tmp_path}")
    """

    @pytest.fixture
    def holdall_target(self) -> Target:
        """The target to test; override this fixture."""
        raise pytest.UsageError("define the fixture holdall_target in your subclass of StoreConformance")


def _test_of(check: Check) -> Callable[..., None]:
    def test(_: StoreConformance, holdall_target: Target, request: pytest.FixtureRequest) -> None:
        options = settings_of(request.config)
        settings = Settings(seed=options.seed, max_examples=options.max_examples, large=options.large)
        finding = run_check(check, holdall_target, settings, xfail=options.xfails.get(check.id))
        keep_finding(request.node, finding)
        if finding.status in {"not declared", "not checked"}:
            pytest.skip(f"{finding.status}: {finding.reason}")
        elif finding.status == "expected failure":
            pytest.xfail(finding.reason)
        elif finding.failed:
            # Only a URL from the command line can be tested again through the command line.
            rerun = "" if options.url else f"pytest {shlex.quote(request.node.nodeid)} --holdall-seed {options.seed}"
            text = finding.text(str(holdall_target.url), options.seed, rerun)
            pytest.fail(text + _traced(finding.trace), pytrace=False)

    test.__name__ = f"test_{check.id.replace('.', '__')}"
    test.__doc__ = check.promise.promise
    test.holdall_check = check.id  # type: ignore[attr-defined]
    return test


def _traced(trace: str) -> str:
    return f"\n\n{trace}" if trace else ""


def _fill(suite: type[Any]) -> None:
    for check in all_checks():
        test = _test_of(check)
        test.__qualname__ = f"{suite.__qualname__}.{test.__name__}"
        test.__module__ = suite.__module__
        setattr(suite, test.__name__, test)


_fill(StoreConformance)
