"""Plots of the results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl

from benchmarks.tables import Tables

__all__ = ["draw"]

_OURS, _THEIRS, _FLOOR = "#c1440e", "#8aa1b1", "#4b5a66"


def draw(tables: Tables, folder: Path) -> list[str]:
    """Write the plots whose tables were measured, and return the names of the files."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    drawn = []
    for name, make in _PLOTS.items():
        figure = make(plt, tables)
        if figure is not None:
            # No date and no version inside, so that equal results give identical files.
            figure.savefig(folder / name, dpi=80, metadata={"Software": None}, bbox_inches="tight")
            plt.close(figure)
            drawn.append(name)
    return drawn


def _colour(name: str) -> str:
    if name.startswith("holdall"):
        return _OURS
    floors = ("raw obstore", "open,", "scandir", "the store itself")
    return _FLOOR if "floor" in name or name.startswith(floors) else _THEIRS


def _bars(pyplot: Any, tables: Tables, names: list[str], title: str) -> Any:
    """One panel for each table, the fastest on top, with times on a logarithmic scale."""
    found = [tables[name] for name in names if name in tables]
    if not found:
        return None
    tallest = max(len(table.series) for table in found)
    figure, axes = pyplot.subplots(1, len(found), figsize=(4.2 * len(found), 0.32 * tallest + 1.2), squeeze=False)
    for axis, table in zip(axes[0], found, strict=True):
        order = sorted(table.series, key=lambda who: -(table.median(who) or 0))
        values = [(table.median(who) or 0) * 1e6 for who in order]
        axis.barh(order, values, color=[_colour(who) for who in order], log=True)
        for at, value in enumerate(values):
            axis.text(value, at, f" {value:.3g}", va="center", fontsize=8)
        # The values are printed next to the bars; ticks on such a scale would only crowd the plot.
        axis.set_xlim(min(values) / 3, max(values) * 4)
        axis.set_xticks([], minor=True)
        axis.set_xticks([])
        axis.set_title(table.title, fontsize=10)
        axis.set_xlabel("µs, logarithmic")
        axis.tick_params(labelsize=8)
    figure.suptitle(title, fontsize=11)
    figure.tight_layout()
    return figure


def _local(pyplot: Any, tables: Tables) -> Any:
    names = ["local.create", "local.get", "local.get_content", "local.list"]
    return _bars(pyplot, tables, names, "Local disk, one call (list: one entry)")


def _s3(pyplot: Any, tables: Tables) -> Any:
    return _bars(pyplot, tables, ["s3.create", "s3.get", "s3.get_content", "s3.list"], "S3, one call (list: one entry)")


def _listing(pyplot: Any, tables: Tables) -> Any:
    sizes = {"listing.1k": 1_000, "listing.10k": 10_000, "listing.100k": 100_000}
    found = {size: tables[name] for name, size in sizes.items() if name in tables}
    if len(found) < 2:
        return None
    figure, axis = pyplot.subplots(figsize=(7, 4.5))
    names = list(dict.fromkeys(who for table in found.values() for who in table.series))
    for who in names:
        points = [(size, (table.median(who) or 0) * 1e3) for size, table in found.items() if who in table.series]
        ours = who.startswith("holdall")
        axis.plot(
            *zip(*points, strict=True), marker="o", ms=4, lw=2 if ours else 1, label=who, ls="-" if ours else "--"
        )
    axis.set(xscale="log", yscale="log", xlabel="files in the store", ylabel="milliseconds a call")
    axis.set_title("Listing", fontsize=11)
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    axis.grid(alpha=0.3)
    return figure


def _threads(pyplot: Any, tables: Tables) -> Any:
    found = [tables[name] for name in ("threads.durable", "threads.slow", "threads.create") if name in tables]
    if not found:
        return None
    figure, axes = pyplot.subplots(1, len(found), figsize=(4.8 * len(found), 3.4), squeeze=False)
    for axis, table in zip(axes[0], found, strict=True):
        for store in dict.fromkeys(who.rpartition(", ")[0] for who in table.series):
            points = [
                (int(who.rpartition(", ")[2].split()[0]), 1 / (table.median(who) or 1))
                for who in table.series
                if who.rpartition(", ")[0] == store
            ]
            points.sort()
            axis.plot(*zip(*points, strict=True), marker="o", ms=4, color=_colour(store), label=store)
        axis.set(xscale="log", xlabel="threads", ylabel="creates a second", ylim=(0, None), xticks=[1, 8, 64])
        axis.set_xticklabels(["1", "8", "64"])
        axis.set_title(table.title.replace(", on", "\non"), fontsize=10)
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    return figure


def _server(pyplot: Any, tables: Tables) -> Any:
    found = [tables[name] for name in ("server.upload", "server.page", "server.download") if name in tables]
    if not found:
        return None
    figure, axes = pyplot.subplots(2, len(found), figsize=(4.6 * len(found), 6.4), squeeze=False)
    for column, table in enumerate(found):
        waits = tables[f"{table.name}.p99"]
        for store in sorted({who.rpartition(", ")[0] for who in table.series}):
            clients = sorted(int(who.split()[-2]) for who in table.series if who.rpartition(", ")[0] == store)
            names = [f"{store}, {n} client{'s' if n > 1 else ''}" for n in clients]
            style = {"marker": "o", "ms": 4, "color": _colour(store), "ls": "--" if "fsync=false" in store else "-"}
            rates = [1 / (table.median(name) or 1) for name in names]
            axes[0][column].plot(clients, rates, label=store, **style)
            axes[1][column].plot(clients, [(waits.median(name) or 0) * 1e3 for name in names], **style)
        for axis, what in zip(axes[:, column], ("requests a second", "longest wait but 1 in 100, ms"), strict=True):
            axis.set(xscale="log", yscale="log", xlabel="clients", ylabel=what, xticks=clients)
            axis.set_xticklabels([str(n) for n in clients])
            axis.grid(alpha=0.3)
        axes[0][column].set_title(table.title.partition(", wall")[0], fontsize=10)
        axes[0][column].legend(fontsize=7)
    figure.tight_layout()
    return figure


_PLOTS = {
    "local.png": _local,
    "listing.png": _listing,
    "threads.png": _threads,
    "s3.png": _s3,
    "server.png": _server,
}
