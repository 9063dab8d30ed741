"""`python -m benchmarks`: measure, print, and keep what came out. `make bench` is this."""

from __future__ import annotations

import argparse
import importlib
import time
from pathlib import Path

from benchmarks import machine, report, targets
from benchmarks.harness import Run, scratch
from benchmarks.peers import find

CASES = ("local", "threads", "listing", "asynchronous", "streams", "memory", "objects", "server", "calls")
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the requested measurements. Only a complete run replaces the stored results."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a minute or two, for whoever changes something")
    size.add_argument("--full", action="store_true", help="the whole grid")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="tables whose name begins so")
    parser.add_argument("--dir", help="where to measure: a directory on the disk in question")
    parser.add_argument("--out", type=Path, help="write results.json, README.md and the plots here")
    parser.add_argument("--seed", type=int, help="of the random order")
    arguments = parser.parse_args()
    scale = "quick" if arguments.quick else "full" if arguments.full else "default"
    began = time.time()
    with scratch(arguments.dir) as folder:
        run = Run(folder, scale=scale, only=arguments.only, seed=arguments.seed)
        run.tables.about = machine.about(folder, scale)
        run.tables.about["promises"] = {kind.name: kind.promises for kind in find()[0]}
        for name in CASES:
            importlib.import_module(f"benchmarks.cases.{name}").measure(run)
        run.finish()
        run.tables.about |= {"missing": run.missing, "took_seconds": round(time.time() - began)}
        # Printed before the directory is removed, which takes a while.
        print(report.markdown(run.tables))
        print(targets.markdown(run.tables), flush=True)
        whole = not arguments.quick and not arguments.only
        if arguments.out or whole:
            report.write(run.tables, arguments.out or RESULTS)


if __name__ == "__main__":
    main()
