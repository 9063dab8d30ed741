"""A check that is new is shown, but does not decide."""

from __future__ import annotations

import dataclasses

from holdall.conformance import SUITE_VERSION, Finding, Report
from holdall.conformance._registry import promises

COUNTED = promises()["list.empty"]
PROVISIONAL = dataclasses.replace(promises()["content.ranges"], provisional=True)


def test_a_broken_provisional_check_does_not_fail_a_run():
    """The exit code is that of the other checks; the finding and the verdict still show it."""
    report = Report("memory://x", (Finding(COUNTED, "held"), Finding(PROVISIONAL, "broken", "do", "this", "that")))

    assert (report.verdict, report.exit_code) == ("conformant", 0)
    assert report.verdict_line().endswith(": core 1/1: CONFORMANT · provisional broken 1")
    assert "BROKEN  content.ranges" in report.text()
    assert "[core, since 1.0, provisional: not counted]" in report.text()
    assert 'failures="0"' in report.to_junit()


def test_the_same_finding_counts_once_it_is_no_longer_provisional():
    """What distinguishes the two is the flag alone."""
    finding = Finding(dataclasses.replace(PROVISIONAL, provisional=False), "broken", "do", "this", "that")

    assert Report("memory://x", (Finding(COUNTED, "held"), finding)).exit_code == 1


def test_no_check_stays_provisional():
    """A check is provisional only in the version of the suite that brought it."""
    assert [p.id for p in promises().values() if p.provisional and p.since != SUITE_VERSION] == []
