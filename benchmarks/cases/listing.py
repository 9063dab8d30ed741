"""How listing scales: 1 000, 10 000 and 100 000 files, in one directory that several programs read."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import holdall
from benchmarks.harness import Run, check, timed
from benchmarks.peers import find
from holdall.ids import IdMinter

__all__ = ["fill", "measure"]

_LOOP = "scandir, read, json.loads"
_PEERS = ("SeedPort", "Filedepot", "FileKeeper", "Fsspec", "Obstore", "OpenDAL", "Minimalkv")


def measure(run: Run) -> None:
    """Tables `listing.1k`, `listing.10k`, `listing.100k`: milliseconds a call, all or a page of 20."""
    for name, count, rounds in (
        ("listing.1k", 1_000, run.pick(3, 8, 10)),
        ("listing.10k", 10_000, run.pick(2, 5, 8)),
        ("listing.100k", 100_000, run.pick(2, 3, 5)),
    ):
        if not run.wants(name) or (run.scale == "quick" and not run.only and count > 10_000):
            continue
        run.say(f"{name}: {count} files, {rounds} rounds")
        table = run.table(name, f"list {count} files, a call", _LOOP)
        root = run.new_folder()
        fill(root, count)
        calls = _calls(root)
        calls |= _peers(run, count)
        for number in range(rounds + 1):
            for who in run.shuffled(calls):
                (seconds,), (found,) = timed(lambda _, call=calls[who]: call(), [None])
                result, clock = found if isinstance(found, tuple) else (found, seconds)
                check(len(result) == (20 if "page" in who else count), f"{who}: {len(result)} of {count} files")
                if number:
                    table.add(who, clock)


def fill(root: Path, count: int) -> None:
    """Entries as holdall writes them, with ids that are a second apart, up to a minute ago; by plain calls, since this
    is not measured.
    """
    now = time.time() - 60 - count
    template = (
        '{\n  "id": "%s",\n  "object": "file",\n  "filename": "report.jsonl",\n  "purpose": "user_data",\n'
        '  "bytes": 5,\n  "created_at": %d,\n  "status": "uploaded",\n  "sha256": '
        '"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"\n}'
    )
    clock = [now]
    minter = IdMinter(lambda: clock[0])
    for _ in range(count):
        clock[0] += 1
        file_id, created = minter.mint()
        entry = f"{root}/{file_id}"
        os.mkdir(entry, 0o700)
        for name, data in (("data.bin", b"hello"), ("meta.json", (template % (file_id, created)).encode())):
            fd = os.open(f"{entry}/{name}", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(fd, data)
            os.close(fd)
    os.sync()
    # A recently changed directory could change again with the same timestamp: wait until a store may trust its cache.
    time.sleep(0.2)


def _calls(root: Path) -> dict[str, Callable[[], Any]]:
    """The ways to list one directory. A tuple contains its own seconds, if opening the store must not count."""
    kept = holdall.open_store(str(root), fsync=False)
    port = find(["SeedPort"])[0][0](root)
    expected = len(kept.list())
    check(expected == len(kept.list()), "listing again gave another number")

    def new() -> Any:
        with holdall.open_store(str(root), fsync=False) as store:
            (seconds,), (page,) = timed(lambda _: store.list(), [None])
        return page.data, seconds

    def new_page(order: str) -> Any:
        with holdall.open_store(str(root), fsync=False) as store:
            (seconds,), (page,) = timed(lambda _: store.list(limit=20, order=order), [None])
        return page.data, seconds

    return {
        "holdall, first": new,
        "holdall, again": lambda: kept.list().data,
        "holdall, newest page of 20": lambda: new_page("desc"),
        "holdall, oldest page of 20": lambda: new_page("asc"),
        "holdall, newest page of 20 again": lambda: kept.list(limit=20, order="desc").data,
        _LOOP: lambda: _loop(root),
        "plain port of the seed": port.list,
    }


def _peers(run: Run, count: int) -> dict[str, Callable[[], Any]]:
    """The peers have different layouts: each lists a store that it filled itself."""
    if count > run.pick(0, 1_000, 10_000):
        return {}
    found, missing = find(_PEERS)
    run.missing |= missing
    calls: dict[str, Callable[[], Any]] = {}
    for kind in found:
        if kind.name != "plain port of the seed":
            peer = kind(run.new_folder())
            for _ in range(count):
                peer.create(b"hello")
            calls[kind.name] = peer.list
    return calls


def _loop(root: Path) -> Sequence[Any]:
    """The code that an application without a store would write."""
    found = []
    with os.scandir(root) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                with open(f"{entry.path}/meta.json", "rb") as file:
                    found.append(json.loads(file.read()))
    return found
