"""Results: tables of series, one number for each round, and the ratios between them. Contains no measurements."""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Ratio", "Table", "Tables"]


@dataclasses.dataclass
class Table:
    """One measurement of several contestants in the same rounds."""

    name: str
    title: str
    reference: str
    """The series that the others are compared with."""
    unit: str = "s"
    """The unit of the numbers: `s` per operation, `B`, or what is counted."""
    note: str = ""
    series: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    details: dict[str, str] = dataclasses.field(default_factory=dict)
    """The composition of a number, in words."""

    def add(self, who: str, value: float) -> None:
        """Add the number of one more round."""
        self.series.setdefault(who, []).append(value)

    def median(self, who: str) -> float | None:
        """The median of all rounds; None if it was not measured."""
        values = self.series.get(who)
        return statistics.median(values) if values else None

    def ratio(self, who: str, reference: str | None = None) -> Ratio | None:
        """The ratio to the reference: the median of the ratios within each round, so that a slow round affects both.
        None if either is missing.
        """
        mine, theirs = self.series.get(who), self.series.get(reference or self.reference)
        if not mine or not theirs:
            return None
        pairs = [a / b for a, b in zip(mine, theirs, strict=False) if b > 0]
        if not pairs:
            return None
        return Ratio(statistics.median(pairs), *_spread(pairs))


@dataclasses.dataclass(frozen=True)
class Ratio:
    """A median, and the quartiles around it (of fewer than four rounds: the extremes)."""

    median: float
    low: float
    high: float


def _spread(values: list[float]) -> tuple[float, float]:
    if len(values) < 4:
        return min(values), max(values)
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


class Tables(dict[str, Table]):
    """All tables by name, with a description of the run."""

    def __init__(self, about: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.about: dict[str, Any] = dict(about or {})

    def table(self, name: str, title: str, reference: str, **more: str) -> Table:
        """The table of this name, created if necessary."""
        if name not in self:
            self[name] = Table(name, title, reference, **more)
        return self[name]

    def save(self, path: Path) -> None:
        """Write JSON that `load` reads, with numbers rounded to four digits, which exceeds their precision."""
        tables = [dataclasses.asdict(table) for table in self.values()]
        for table in tables:
            table["series"] = {who: [float(f"{v:.4g}") for v in values] for who, values in table["series"].items()}
        lines = ",\n".join("  " + json.dumps(table, ensure_ascii=False) for table in tables)
        about = json.dumps(self.about, ensure_ascii=False, indent=1)
        path.write_text(f'{{"about": {about},\n"tables": [\n{lines}\n]}}\n', encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Tables:
        """Read what `save` wrote."""
        document = json.loads(path.read_text(encoding="utf-8"))
        tables = cls(document["about"])
        for table in document["tables"]:
            tables[table["name"]] = Table(**table)
        return tables
