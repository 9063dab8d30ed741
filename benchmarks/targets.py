"""Performance targets, as ratios within one run, and whether they were met."""

from __future__ import annotations

import dataclasses

from benchmarks.tables import Ratio, Table, Tables

__all__ = ["TARGETS", "Target", "Verdict", "judge", "markdown"]

_FAST = "holdall, fsync=false"
_OBSTORE, _S3FS = "holdall s3+obstore", "holdall s3"
_RAW_S3FS = ("raw s3fs", "raw s3fs, no HEAD")
_SLOW = "raw s3fs, one after another"


@dataclasses.dataclass(frozen=True)
class Target:
    """A bound on one ratio: the subject's time divided by the reference's, or with `at_least` the inverse."""

    what: str
    table: str
    subject: str
    references: tuple[str, ...]
    """The worst of the ratios counts. If empty, the number itself is bounded, in the unit of the table."""
    at_most: float | None = None
    at_least: float | None = None
    below: float | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A target and the measurement; `measured` is None if there is none."""

    target: Target
    measured: Ratio | None
    against: str

    @property
    def met(self) -> bool | None:
        """Whether the target was met; None if it was not measured."""
        if self.measured is None:
            return None
        value, target = self.measured.median, self.target
        return (
            (target.at_most is None or value <= target.at_most)
            and (target.at_least is None or value >= target.at_least)
            and (target.below is None or value < target.below)
        )


TARGETS = (
    Target("create 1 KiB, `fsync=false`", "local.create", _FAST, ("seed-protocol floor",), at_most=1.25),
    Target(
        "create 1 KiB, `fsync=false`, against every peer",
        "local.create",
        _FAST,
        ("filedepot", "file-keeper", "fsspec local", "OpenDAL fs"),
        below=1,
    ),
    Target("create 1 KiB, durable", "durable.create", "holdall", ("staging floor, four syncs",), at_most=1.10),
    *(
        Target(
            f"durable creates by 64 threads, throughput, {disk}",
            table,
            "holdall, 64 threads",
            ("holdall, 1 thread",),
            at_least=3,
        )
        for disk, table in (("on this disk", "threads.durable"), ("on a disk with a 1 ms flush", "threads.slow"))
    ),
    Target("get", "local.get", _FAST, ("open, read, json.loads",), at_most=0.9),
    Target("get, store just opened", "local.get", "holdall, just opened", ("open, read, json.loads",), at_most=0.9),
    Target("async get", "async.get", "async", ("sync",), at_most=3),
    Target("async read of 1 KiB", "async.read", "async", ("sync",), at_most=3),
    Target("list all of 10 000", "listing.10k", "holdall, first", ("scandir, read, json.loads",), at_most=0.7),
    Target("list all of 100 000", "listing.100k", "holdall, first", ("scandir, read, json.loads",), at_most=0.7),
    Target("list all of 10 000 again", "listing.10k", "holdall, again", ("scandir, read, json.loads",), at_most=0.15),
    Target("list all of 100 000 again", "listing.100k", "holdall, again", ("scandir, read, json.loads",), at_most=0.15),
    *(
        Target(
            f"newest page of 20 out of 100 000, {who}",
            "listing.100k",
            f"holdall, newest page of 20{again}",
            ("holdall, first",),
            at_most=0.10,
        )
        for who, again in (("store just opened", ""), ("store that listed before", " again"))
    ),
    Target("delete, time until it returns, `fsync=false`", "local.delete", _FAST, ("shutil.rmtree",), at_most=0.3),
    Target("store a stream of 256 MiB, hashed", "stream.create", "holdall", ("copy, then hash",), at_most=0.75),
    Target("get_content 256 MiB", "content.256MiB", "holdall, get_content", ("Path.read_bytes",), at_most=1.10),
    *(
        Target(f"S3, obstore driver: {call.replace('_', ' ')}", f"s3.{call}", _OBSTORE, ("raw obstore",), at_most=1.15)
        for call in ("create", "get", "get_content", "list")
    ),
    *(
        # Two ways to use it: a read that first requests the size, and one that does not.
        Target(f"S3, s3fs driver: {call.replace('_', ' ')}", f"s3.{call}", _S3FS, _RAW_S3FS, at_most=1)
        for call in ("create", "get", "get_content", "list")
    ),
    Target("S3, obstore driver: list 5 000", "s3.many", f"{_OBSTORE}, first", (_SLOW,), at_least=6),
    Target("S3, s3fs driver: list 5 000", "s3.many", f"{_S3FS}, first", (_SLOW,), at_least=2.5),
    Target("S3, obstore driver: list 5 000 again", "s3.many", f"{_OBSTORE}, again", (_SLOW,), at_least=50),
    Target("S3, s3fs driver: list 5 000 again", "s3.many", f"{_S3FS}, again", (_SLOW,), at_least=50),
    *(
        Target(f"S3, page of 20 out of 100 000: {kind}s", "s3.page", f"*: {kind}s", (), at_most=most)
        for kind, most in (("list", 8), ("read", 20))
    ),
    Target("peak memory over idle, streaming 1 GiB", "memory.stream", "*", (), at_most=64 * 2**20),
)


def judge(tables: Tables, targets: tuple[Target, ...] = TARGETS) -> list[Verdict]:
    """A verdict on each target, measured or not."""
    return [Verdict(target, *_worst(tables, target)) for target in targets]


def _worst(tables: Tables, target: Target) -> tuple[Ratio | None, str]:
    table = tables.get(target.table)
    if table is None:
        return None, ""
    if not target.references:
        return _largest(table, target.subject)
    found: dict[str, Ratio] = {}
    for reference in target.references:
        if target.at_least is None:
            ratio = table.ratio(target.subject, reference)
        else:
            ratio = table.ratio(reference, target.subject)
        if ratio is not None:
            found[reference] = ratio
    if not found:
        return None, ""
    worst = (max if target.at_least is None else min)(found, key=lambda name: found[name].median)
    return found[worst], worst


def _largest(table: Table, subject: str) -> tuple[Ratio | None, str]:
    """The largest median of the series with this name; `*` matches any beginning."""
    names = [name for name in table.series if name.endswith(subject.removeprefix("*"))]
    if not names:
        return None, ""
    worst = max(names, key=lambda name: table.median(name) or 0)
    return Ratio(table.median(worst) or 0, min(table.series[worst]), max(table.series[worst])), worst


def markdown(tables: Tables) -> str:
    """The targets as a table."""
    verdicts = judge(tables)
    missed = sum(verdict.met is False for verdict in verdicts)
    said = f"{sum(verdict.met is True for verdict in verdicts)} met, {missed} not met."
    return "\n".join(["", "## Targets", "", said, "", *map(_row, [None, *verdicts]), ""])


def _row(verdict: Verdict | None) -> str:
    if verdict is None:
        return "| What | Against | Target | Measured (spread) | |\n|---|---|---|---|---|"
    target, measured = verdict.target, verdict.measured
    against = verdict.against or ", ".join(target.references)
    if measured is None:
        return f"| {target.what} | {against} | {_bound(target)} | | not measured |"
    numbers = [_amount(target, value) for value in (measured.median, measured.low, measured.high)]
    said = "met" if verdict.met else "**not met**"
    return f"| {target.what} | {against} | {_bound(target)} | {numbers[0]} ({numbers[1]} to {numbers[2]}) | {said} |"


def _bound(target: Target) -> str:
    for sign, bound in (("≥", target.at_least), ("<", target.below), ("≤", target.at_most)):
        if bound is not None:
            return f"{sign} {_amount(target, bound)}"
    raise ValueError(f"{target.what} has no bound")


def _amount(target: Target, value: float) -> str:
    if target.references:
        return f"{value:.2f}×"
    return f"{value / 2**20:.1f} MiB" if target.table.startswith("memory") else f"{value:g}"
