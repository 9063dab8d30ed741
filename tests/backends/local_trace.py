"""Reading what strace has seen of a program that uses a store."""

from __future__ import annotations

import re

WATCHED = "trace=openat,mkdirat,rename,renameat,renameat2,unlinkat,write,fsync,fdatasync,sync,syncfs"


def steps_of(trace, root):
    """The calls that concern the store, as `name what`, in the order in which they were begun."""
    steps = []
    for line in trace.splitlines():
        match = re.match(r"\d+ +(\w+)\((.*)", line)
        if not match:
            continue
        call, rest = match.groups()
        if call == "write" and "acknowledged" in rest:
            steps.append("acknowledge")
        elif root in rest and "(deleted)" not in rest:
            what = re.sub(rf"\d*<?{re.escape(root)}", "ROOT", rest)
            what = re.sub(r"file-[0-9a-f]{32}(\.[0-9a-f]{12}\.(?P<kind>new|old))?", _short, what)
            steps.append(f"{re.sub('at2?$', '', call)} {what.partition(') ')[0]}")
    return steps


def _short(match):
    return (match["kind"] or "entry").upper()


def where(steps, pattern):
    """The places of the steps that match; there is one at least."""
    found = [i for i, step in enumerate(steps) if re.match(pattern, step)]
    assert found, f"{pattern} is not among {steps}"
    return found
