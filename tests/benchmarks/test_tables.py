"""Ratios, verdicts and reports come out of the numbers as they should; nothing is timed here."""

from __future__ import annotations

import pytest
from benchmarks.cases.calls import counted
from benchmarks.page import PAGE, RESULTS, page
from benchmarks.tables import Table, Tables
from benchmarks.targets import TARGETS, Target, Verdict, judge, markdown

from benchmarks import report

ABOUT = {
    "date": "2026-01-01",
    "scale": "quick",
    "machine": {
        "cpu": "a cpu",
        "cores": 2,
        "memory_gib": 4,
        "system": "Linux 6",
        "python": "CPython 3.11",
        "load_at_start": 0.1,
    },
    "disk": "ext4 (rw)",
    "versions": {"holdall": "0.1.0"},
    "missing": {"OpenDAL": "not installed"},
}


def _table(unit="s", **series):
    table = Table("t", "a title", "floor", unit=unit)
    for who, values in series.items():
        for value in values:
            table.add(who, value)
    return table


def _judge(target, table):
    tables = Tables(ABOUT)
    tables["t"] = table
    return judge(tables, (target,))[0]


def test_a_ratio_is_the_middle_of_the_ratios_of_the_rounds():
    """A round in which everything is ten times slower changes no ratio."""
    ratio = _table(ours=[2, 20, 3], floor=[1, 10, 1]).ratio("ours")

    assert (ratio.median, ratio.low, ratio.high) == (2, 2, 3)


def test_a_ratio_to_what_was_not_measured_is_none():
    """Without the reference, or without the subject, there is no number."""
    table = _table(ours=[1])

    assert table.ratio("ours") is None
    assert table.ratio("nobody", "ours") is None


@pytest.mark.parametrize(
    ("target", "met"),
    [
        (Target("x", "t", "ours", ("floor",), at_most=2), True),
        (Target("x", "t", "ours", ("floor",), at_most=1.9), False),
        (Target("x", "t", "ours", ("floor",), below=2), False),
        (Target("x", "t", "ours", ("floor", "slow"), at_most=2), True),
        (Target("x", "t", "ours", ("floor", "slow"), below=1), False),
        (Target("x", "t", "ours", ("slow",), at_least=4), True),
        (Target("x", "t", "ours", ("floor", "slow"), at_least=4), False),
        (Target("x", "t", "ours", ("absent",), at_most=2), None),
        (Target("x", "elsewhere", "ours", ("floor",), at_most=2), None),
        (Target("x", "t", "ours", (), at_most=2), True),
        (Target("x", "t", "*", (), at_most=7), False),
    ],
    ids=str,
)
def test_a_verdict_holds_the_worst_ratio_to_the_bound(target, met):
    """A bound is on the time over the reference's, with `at_least` on the reverse; what was not measured has none."""
    assert _judge(target, _table(ours=[2, 2], floor=[1, 1], slow=[8, 8])).met is met


def test_a_missed_target_is_said_to_be_missed():
    """The table of targets says for each whether it was met, and counts them."""
    tables = Tables(ABOUT)
    tables["local.create"] = Table(
        "local.create", "create", "floor", series={"holdall, fsync=false": [3.0], "seed-protocol floor": [1.0]}
    )
    text = markdown(tables)

    assert "0 met, 1 not met." in text
    assert "| seed-protocol floor | ≤ 1.25× | 3.00× (3.00× to 3.00×) | **not met** |" in text
    assert text.count("not measured") == len(TARGETS) - 1


def test_every_target_has_exactly_one_bound():
    """A target without a bound would always be met."""
    assert [t.what for t in TARGETS if [t.at_most, t.at_least, t.below].count(None) != 2] == []
    assert Verdict(TARGETS[0], None, "").met is None


def test_results_are_read_back_as_they_were_written(tmp_path):
    """What is drawn and written from a file is what was measured."""
    tables = Tables(ABOUT)
    tables["t"] = _table(ours=[2e-6, 3e-6], floor=[1e-6, 1e-6])
    report.write(tables, tmp_path)
    loaded = Tables.load(tmp_path / "results.json")

    assert loaded == tables
    assert loaded.about == ABOUT
    assert (tmp_path / "README.md").read_text().endswith(markdown(loaded))


def test_the_report_has_each_number_with_its_ratio():
    """Fastest first, in a readable unit, with the ratio to the reference and what was not measured."""
    tables = Tables(ABOUT)
    tables["t"] = _table(ours=[2.5e-3] * 3, floor=[1e-3] * 3)
    text = report.markdown(tables)

    assert "| floor | 1 ms | 1.00 (1.00 to 1.00) |\n| ours | 2.5 ms | 2.50 (2.50 to 2.50) |" in text
    assert "Not measured: OpenDAL (not installed)." in text


def test_system_calls_are_counted_between_the_marks():
    """Calls outside of the marks, and the second halves of interrupted lines, count nothing."""
    trace = """\
1 openat(AT_FDCWD, "a") = 3
1 newfstatat(AT_FDCWD, "/holdall-bench/create", 0x7f, 0) = -1 ENOENT
1 mkdirat(3, "x") = 0
2 futex(0x1 <unfinished ...>
1 write(4, "futex", 5) = 5
2 <... futex resumed>) = 0
1 newfstatat(AT_FDCWD, "/holdall-bench/end", 0x7f, 0) = -1 ENOENT
1 close(3) = 0
"""
    assert dict(counted(trace.splitlines())) == {"create": {"mkdirat": 1, "futex": 1, "write": 1}}


def test_the_page_on_performance_is_made_from_the_results_that_are_kept():
    """Its numbers are those of `benchmarks/results`; after a run, `make docs` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page(Tables.load(RESULTS))


def test_nothing_on_the_page_is_left_open():
    """The results that are kept have every table, and each place of the text is filled."""
    text = PAGE.read_text(encoding="utf-8")

    assert "{{" not in text
    assert "not measured" not in text


def test_the_page_of_a_part_of_the_tables_says_what_was_not_measured():
    """A page can be made from any results."""
    tables = Tables(ABOUT)
    tables["local.create"] = _table(ours=[1])

    assert "(not measured)" in page(tables)
    assert "{{" not in page(tables)
