"""The performance page: the text of `performance.md.txt` with the stored results. `make docs` writes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import targets
from benchmarks.report import amount
from benchmarks.tables import Table, Tables

__all__ = ["PAGE", "RESULTS", "page"]

_HERE = Path(__file__).parent
RESULTS = _HERE / "results" / "results.json"
PAGE = _HERE.parent / "docs" / "performance.md"
_CALLS = ("create", "get", "get_content", "delete")


def page(tables: Tables) -> str:
    """The whole page. Missing results are marked as not measured."""
    text = (_HERE / "performance.md.txt").read_text(encoding="utf-8")

    def fill(match: re.Match[str]) -> str:
        try:
            return "\n".join(_PARTS[match[1]](tables))
        except KeyError:
            return "(not measured)"

    return re.sub(r"\{\{(\w+)\}\}", fill, text)


def _machine(tables: Tables) -> Iterator[str]:
    machine = tables.about["machine"]
    yield f"Measured on {tables.about['date']} on {machine['cores']} cores ({machine['cpu']}) with"
    yield f"{machine['memory_gib']} GiB of memory, by {machine['python']} on {machine['system']}."
    yield f"The disk's file system is {tables.about['disk']}."
    yield f"The load average was {machine['load_at_start']} when the run began."
    for name, why in tables.about.get("missing", {}).items():
        yield f"Not measured: {name} ({why})."


def _targets(tables: Tables) -> Iterator[str]:
    yield targets.markdown(tables).strip()


def _costs(tables: Tables) -> Iterator[str]:
    names = ("create", "get", "get_content", "list", "page", "delete")
    return _matrix([tables[f"local.{name}"] for name in names], names, _microseconds)


def _promises(tables: Tables) -> Iterator[str]:
    for name, promises in tables.about["promises"].items():
        yield f"- {name}: {promises}."


def _calls(tables: Tables) -> Iterator[str]:
    table = tables["calls.local"]
    return _split(table, _CALLS, lambda who: f"{table.series[who][0]:.0f}")


def _our_calls(tables: Tables) -> Iterator[str]:
    for call in _CALLS:
        yield f"- `{call}` of holdall: {tables['calls.local'].details[f'holdall: {call}']}."


def _durability(tables: Tables) -> Iterator[str]:
    durable = tables["durable.create"].median("holdall") or 0
    fast = tables["local.create"].median("holdall, fsync=false") or 1
    yield f"A create of 1 KiB takes {amount(durable, 's')} on this disk, and {amount(fast, 's')} with `fsync=false`."
    yield f"The difference, {amount(durable - fast, 's')}, is the time of four syncs; many disks take longer."


def _threads(tables: Tables) -> Iterator[str]:
    counts = ("1 thread", "8 threads", "64 threads")
    yield from _head(counts)
    for name, disk in (("threads.durable", ""), ("threads.slow", ", flush of 1 ms"), ("threads.create", "")):
        table = tables.get(name, Table(name, "", ""))
        for store in dict.fromkeys(who.rpartition(", ")[0] for who in table.series):
            rates = (f"{1 / (table.median(f'{store}, {count}') or 1):,.0f}" for count in counts)
            yield _line(f"{store}{disk}", rates)


def _growth(tables: Tables) -> Iterator[str]:
    sizes = ("1k", "10k", "100k")
    return _matrix([tables[f"listing.{size}"] for size in sizes], ("1 000", "10 000", "100 000"), _milliseconds)


def _large(tables: Tables) -> Iterator[str]:
    yield from _head(("ms", "×"))
    for table in (tables["stream.create"], tables["content.256MiB"]):
        for who in sorted(table.series, key=lambda who, t=table: t.median(who) or 0):
            ratio = table.ratio(who)
            yield _line(
                who, (_milliseconds(table.median(who)), f"{ratio.median:.2f} of {table.reference}" if ratio else "")
            )


def _verified(tables: Tables) -> Iterator[str]:
    table = tables["content.256MiB"]
    plain, hashed = table.median("holdall, open, by the MiB"), table.median("holdall, open, and SHA-256 of it")
    if not plain or not hashed or hashed <= plain:
        raise KeyError("content.256MiB")
    speed = 0.25 / (hashed - plain)
    yield f"Checking the SHA-256 too costs {amount(hashed - plain, 's')} for 256 MiB here, {speed:.1f} GiB per second:"
    yield "the time that hashing takes."


def _memory(tables: Tables) -> Iterator[str]:
    table = tables["memory.stream"]
    yield f"{_capital(table.title)}, each measured in a separate process:"
    yield ""
    yield from _split(table, ("create", "open and read"), lambda who: amount(table.series[who][0], "B"))


def _s3(tables: Tables) -> Iterator[str]:
    names = ("create", "get", "get_content", "list", "delete")
    return _matrix([tables[f"s3.{name}"] for name in names], names, _milliseconds)


def _requests(tables: Tables) -> Iterator[str]:
    table = tables["s3.requests"]
    return _split(table, _CALLS, lambda who: table.details[who])


def _many_title(tables: Tables) -> Iterator[str]:
    yield f"{_capital(tables['s3.many'].title)}. {tables['s3.many'].note}"


def _many(tables: Tables) -> Iterator[str]:
    return _matrix([tables["s3.many"]], ("ms",), _milliseconds)


def _page_title(tables: Tables) -> Iterator[str]:
    yield f"{_capital(tables['s3.page'].title)}:"


def _s3_page(tables: Tables) -> Iterator[str]:
    table = tables["s3.page"]
    return _split(table, ("lists", "reads"), lambda who: f"{table.series[who][0]:g}")


def _parts_title(tables: Tables) -> Iterator[str]:
    yield f"{_capital(tables['s3.parts'].title)} (`part_size`) × number of parts sent at once (`max_concurrency`), ms:"


def _parts(tables: Tables) -> Iterator[str]:
    table = tables["s3.parts"]
    settings = list(dict.fromkeys(who.rpartition(", ")[2] for who in table.series if "×" in who))
    settings.sort(key=lambda text: [int(word) for word in text.replace("MiB ×", "").split()])
    yield from _head(settings)
    for store in sorted({who.rpartition(", ")[0] for who in table.series if "×" in who}):
        yield _line(store, (_milliseconds(table.median(f"{store}, {setting}")) for setting in settings))
    yield ""
    yield f"obstore itself, with its default part sizes, takes {_milliseconds(table.median(table.reference))} ms."


def _http(tables: Tables) -> Iterator[str]:
    for call in ("upload", "page", "download"):
        table = tables[f"server.{call}"]
        waits = tables[f"server.{call}.p50"], tables[f"server.{call}.p99"]
        counts = list(dict.fromkeys(who.rpartition(", ")[2] for who in table.series))
        counts.sort(key=lambda text: int(text.split()[0]))
        yield f"{_capital(table.title.partition(', wall')[0])}:"
        yield ""
        yield from _head(counts)
        for who in sorted({who.rpartition(", ")[0] for who in table.series}):
            names = [f"{who}, {count}" for count in counts]
            yield _line(
                who,
                [
                    " · ".join([f"{1 / (table.median(n) or 1):,.0f}", *(_milliseconds(w.median(n)) for w in waits)])
                    for n in names
                ],
            )
        yield ""


def _took(tables: Tables) -> Iterator[str]:
    yield f"The run took {tables.about['took_seconds'] / 60:.0f} minutes."


def _matrix(tables: Sequence[Table], heads: Sequence[str], form: Callable[[float | None], str]) -> Iterator[str]:
    """One row for each contestant, one column for each table, in the order of the first column."""
    yield from _head(heads)
    everybody = dict.fromkeys(who for table in tables for who in table.series)
    for who in sorted(everybody, key=lambda who: [table.median(who) or float("inf") for table in tables]):
        yield _line(who, (form(table.median(who)) for table in tables))


def _split(table: Table, heads: Sequence[str], cell: Callable[[str], str]) -> Iterator[str]:
    """A table whose series are named `row: column`."""
    yield from _head(heads)
    for row in dict.fromkeys(who.rpartition(": ")[0] for who in table.series):
        names = [f"{row}: {head}" for head in heads]
        yield _line(row, (cell(name) if name in table.series else "" for name in names))


def _head(columns: Sequence[str]) -> Iterator[str]:
    yield _line("", columns)
    yield "|---" * (len(columns) + 1) + "|"


def _line(name: str, cells: Iterator[str] | Sequence[str]) -> str:
    bold = f"**{name}**" if name.startswith("holdall") else name
    return "| " + " | ".join([bold, *cells]) + " |"


def _microseconds(value: float | None) -> str:
    return "" if value is None else _digits(value * 1e6)


def _milliseconds(value: float | None) -> str:
    return "" if value is None else _digits(value * 1e3)


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


_PARTS: dict[str, Callable[[Tables], Iterator[str]]] = {
    name.removeprefix("_"): part
    for name, part in list(globals().items())
    if name.startswith("_") and not name.startswith("__") and callable(part)
}

if __name__ == "__main__":
    PAGE.write_text(page(Tables.load(RESULTS)), encoding="utf-8")
