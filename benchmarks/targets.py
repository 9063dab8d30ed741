"""How fast holdall means to be, as ratios in one run, and whether it was."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from benchmarks.tables import Ratio, Tables

__all__ = ["TARGETS", "Target", "Verdict", "judge", "markdown"]

_FAST = "holdall, fsync=false"


@dataclasses.dataclass(frozen=True)
class Target:
    """A bound on one ratio: the subject's time over the reference's, or with `at_least` the other way round."""

    what: str
    table: str
    subject: str
    references: tuple[str, ...]
    """The worst ratio of them counts. None: the number itself is bounded, not a ratio."""
    at_most: float | None = None
    at_least: float | None = None
    below: float | None = None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A target and what was measured; `measured` is None where nothing was."""

    target: Target
    measured: Ratio | None
    against: str

    @property
    def met(self) -> bool | None:
        """None: not measured."""
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
    Target(
        "durable creates by 64 threads, throughput",
        "threads.durable",
        "holdall, 64 threads",
        ("holdall, 1 thread",),
        at_least=3,
    ),
    Target("get", "local.get", _FAST, ("open, read, json.loads",), at_most=0.9),
    Target("async get", "async.get", "async", ("sync",), at_most=3),
    Target("async read of 1 KiB", "async.read", "async", ("sync",), at_most=3),
    Target("list all of 10 000", "listing.10k", "holdall, first", ("scandir, read, json.loads",), at_most=0.7),
    Target("list all of 100 000", "listing.100k", "holdall, first", ("scandir, read, json.loads",), at_most=0.7),
    Target("the same again, 10 000", "listing.10k", "holdall, again", ("scandir, read, json.loads",), at_most=0.15),
    Target("the same again, 100 000", "listing.100k", "holdall, again", ("scandir, read, json.loads",), at_most=0.15),
    Target(
        "newest page of 20 out of 100 000",
        "listing.100k",
        "holdall, newest page of 20",
        ("holdall, first",),
        at_most=0.10,
    ),
    Target("delete, until it returns, `fsync=false`", "local.delete", _FAST, ("shutil.rmtree",), at_most=0.3),
    Target("store a stream of 256 MiB, hashed", "stream.create", "holdall", ("copy, then hash",), at_most=0.75),
    Target("get_content 256 MiB", "content.256MiB", "holdall, get_content", ("Path.read_bytes",), at_most=1.10),
)


def judge(tables: Tables, targets: tuple[Target, ...] = TARGETS) -> list[Verdict]:
    """A verdict on each target, measured or not."""
    return [Verdict(target, *_worst(tables, target)) for target in targets]


def _worst(tables: Tables, target: Target) -> tuple[Ratio | None, str]:
    table = tables.get(target.table)
    if table is None:
        return None, ""
    if not target.references:
        value = table.median(target.subject)
        return (
            None
            if value is None
            else Ratio(value, min(table.series[target.subject]), max(table.series[target.subject]))
        ), ""
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


def markdown(tables: Tables) -> str:
    """The targets as a table."""
    return "\n".join(["", "## Targets", "", *_rows(tables), ""])


def _rows(tables: Tables) -> Iterator[str]:
    yield "| What | Against | Target | Measured (spread) | |"
    yield "|---|---|---|---|---|"
    for verdict in judge(tables):
        target = verdict.target
        if target.at_least is not None:
            bound = f"≥ {target.at_least:g}×"
        elif target.below is not None:
            bound = f"< {target.below:g}×"
        else:
            bound = f"≤ {target.at_most:g}×"
        unit = "×"
        if not target.references:
            unit = f" {tables[target.table].unit}" if target.table in tables else ""
            bound = bound.replace("×", unit)
        against = verdict.against or ", ".join(target.references)
        if verdict.measured is None:
            yield f"| {target.what} | {against} | {bound} | | not measured |"
            continue
        m = verdict.measured
        yield (
            f"| {target.what} | {against} | {bound} | {m.median:.2f}{unit} ({m.low:.2f} to {m.high:.2f}) | "
            f"{'met' if verdict.met else '**not met**'} |"
        )
