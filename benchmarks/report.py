"""Results as Markdown and JSON."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import targets
from benchmarks.tables import Table, Tables

__all__ = ["amount", "markdown", "write"]


def markdown(tables: Tables) -> str:
    """All tables, the fastest first, each value with its ratio to the reference."""
    return "\n".join([*_head(tables), *(line for table in tables.values() for line in _table(table))])


def _head(tables: Tables) -> Iterator[str]:
    machine = tables.about["machine"]
    yield f"Measured {tables.about['date']} ({tables.about['scale']} run) on {machine['cores']} cores,"
    yield f"{machine['cpu']}, {machine['memory_gib']} GiB of memory, {machine['system']}, {machine['python']};"
    yield f"the disk is {tables.about['disk']}."
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in tables.about["versions"].items()) + "."
    for name, why in tables.about.get("missing", {}).items():
        yield f"Not measured: {name} ({why})."
    yield ""


def _table(table: Table) -> Iterator[str]:
    yield f"### {table.title} (`{table.name}`)"
    yield ""
    if table.note:
        yield table.note
        yield ""
    named = table.reference in table.series
    last = f"× {table.reference} (spread)" if named else "of which" if table.details else ""
    yield f"| | median | {last} |" if last else "| | median |"
    yield "|---|---|---|" if last else "|---|---|"
    for who in sorted(table.series, key=lambda who: table.median(who) or 0):
        ratio = table.ratio(who)
        cell = "" if ratio is None else f"{ratio.median:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"
        cell = table.details.get(who, "") if not named else cell
        name = f"**{who}**" if who.startswith("holdall") else who
        yield f"| {name} | {amount(table.median(who) or 0, table.unit)} |" + (f" {cell} |" if last else "")
    yield ""


def amount(value: float, unit: str) -> str:
    """A value in the most readable unit."""
    if unit == "B":
        return f"{value / 2**20:.1f} MiB"
    if unit != "s":
        return f"{value:g}"
    for factor, name in ((1, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {name}"
    return f"{value * 1e6:.2f} µs"


def write(tables: Tables, folder: Path) -> None:
    """Write `results.json`, `README.md`, and the plots if they can be drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    tables.save(folder / "results.json")
    text = "# What was measured\n\n" + markdown(tables) + targets.markdown(tables)
    (folder / "README.md").write_text(text, encoding="utf-8")
    try:
        from benchmarks import plots
    except ImportError:
        return  # no matplotlib: write the numbers only
    plots.draw(tables, folder)
