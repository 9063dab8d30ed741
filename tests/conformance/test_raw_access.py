"""Raw access that an author writes by halves: what it lacks is not checked, and is never a finding."""

from __future__ import annotations

from holdall.conformance import RawAccess, Target, run

CATEGORIES = ("create", "ids", "metadata", "delete", "errors")


class Nothing(RawAccess):
    """Offers no method at all."""


class OnlyLeftovers(RawAccess):
    """Offers one method."""

    def leftovers(self):
        return []


class Offering(Target):
    """A target with this raw access."""

    def __init__(self, url, raw):
        super().__init__(url)
        self.raw = raw


def test_raw_access_that_offers_nothing_is_like_none():
    """The same checks hold and the same are not checked as without raw access; none is broken."""
    without = {f.id: f.status for f in run("memory://without", only=CATEGORIES).findings}

    report = run(Offering("memory://nothing", Nothing()), only=CATEGORIES)

    assert {f.id: f.status for f in report.findings} == without
    assert "not checked" in without.values()
    assert "raw access has no deny" in [f.reason for f in report.of("not checked")]


def test_what_raw_access_offers_is_used():
    """With one method more, the checks that it is enough for are checked."""
    report = run(Offering("memory://some", OnlyLeftovers()), only=["create.source_error_leaves_no_residue"])

    assert [f.status for f in report.findings] == ["held"]
