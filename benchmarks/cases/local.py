"""Small and large files on the local disk, compared with every peer."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from benchmarks.harness import MIB, Run, check, per_call, quiet, timed, warm_memory
from benchmarks.peers import Peer, find
from benchmarks.peers._base import FILENAME

__all__ = ["measure"]

LOOP = "open, read, json.loads"
FRESH = "holdall, just opened"
_DURABLE = ("HoldallDurable", "StageFloorDurable", "OpenDAL")
_OTHERS = ("Holdall", "SeedFloor", "StageFloor", "SeedPort", "Filedepot", "FileKeeper", "Fsspec", "Obstore", "OpenDAL")
_NOT_DURABLE = (*_OTHERS, "Minimalkv")


def measure(run: Run) -> None:
    """Tables `local.*`, `durable.*`, and the same for 1 MiB and 256 MiB."""
    for name, size, classes, files, rounds in (
        ("durable.", 1024, _DURABLE, run.pick(60, 400, 2000), run.pick(4, 10, 20)),
        ("local.", 1024, _NOT_DURABLE, run.pick(200, 2000, 2000), run.pick(5, 20, 20)),
        ("durable-1MiB.", MIB, _DURABLE, run.pick(16, 100, 200), run.pick(4, 10, 10)),
        ("local-1MiB.", MIB, _NOT_DURABLE, run.pick(20, 200, 200), run.pick(4, 10, 10)),
    ):
        if run.wants(name):
            _Side(run, name, size, classes).measure(files, rounds)
    for name, classes in (("durable-256MiB.", _DURABLE), ("local-256MiB.", _NOT_DURABLE)):
        # Deleting large files frees some inodes, so it happens after all creates of small ones.
        if run.wants(name) and run.scale != "quick":
            run.later(lambda name=name, classes=classes: _large(run, name, classes))


class _Side:
    """The peers of one table, each with a store that is filled round by round."""

    def __init__(self, run: Run, prefix: str, size: int, classes: tuple[str, ...]) -> None:
        found, missing = find(classes)
        run.missing |= missing
        self._run, self._prefix, self._size = run, prefix, size
        self._roots = {kind.name: run.new_folder() for kind in found}
        self._peers = {kind.name: kind(self._roots[kind.name]) for kind in found}
        self._ids: dict[str, dict[str, int]] = {name: {} for name in self._peers}
        durable = prefix.startswith("durable")
        self._ours = "holdall" if durable else "holdall, fsync=false"
        self._floor = "staging floor, four syncs" if durable else "seed-protocol floor"
        self._what = "1 KiB" if size == 1024 else f"{size // MIB} MiB"
        self._block = run.data(size)

    def measure(self, files: int, rounds: int) -> None:
        """Fill the stores, read them, and postpone the deletes."""
        run = self._run
        run.say(f"{self._prefix}*: {len(self._peers)} stores, {files} files of {self._what}, {rounds} rounds")
        # The first round is not counted: it includes imports and other one-time costs.
        for number in range(rounds + 1):
            for name in run.shuffled(self._peers):
                self._create(name, files // rounds, counted=number > 0)
            for call in ("get", "get_content"):
                for name in run.shuffled([*self._peers, *([LOOP, FRESH] if call == "get" else [])]):
                    self._read(name, call, files // rounds, counted=number > 0)
        for number in range(min(5, rounds) + 1):
            for name in run.shuffled(self._peers):
                self._list(name, counted=number > 0)
        run.later(lambda: self._delete(files // rounds, rounds))

    def _table(self, call: str, reference: str | None = None) -> Any:
        title = f"{call.replace('_', ' ')}, {self._what}{', durable' if self._prefix.startswith('durable') else ''}"
        return self._run.table(self._prefix + call, title, reference or self._floor)

    def _create(self, name: str, count: int, *, counted: bool) -> None:
        first = len(self._ids[name])
        numbers = range(first, first + count)
        blocks = [self._content(number) for number in numbers]
        seconds, ids = per_call(self._peers[name].create, blocks)
        check(len(set(ids)) == count, f"{name}: create gave {len(set(ids))} ids for {count} files")
        self._ids[name] |= dict(zip(ids, numbers, strict=True))
        if counted and self._run.wants(f"{self._prefix}create"):
            self._table("create").add(name, seconds)

    def _content(self, number: int) -> bytes:
        """The content of the file with this number, in each store."""
        return f"{number:012d}".encode() + self._block[12:]

    def _read(self, name: str, call: str, count: int, *, counted: bool) -> None:
        if not self._run.wants(f"{self._prefix}{call}"):
            return
        store = self._ours if name in {LOOP, FRESH} else name
        ids = self._run.random.sample(list(self._ids[store]), k=count)
        peer = self._opened(store) if name == FRESH else self._peers[store]
        reads = _loop(self._roots[store]) if name == LOOP else getattr(peer, call)
        if self._size > 100_000:
            warm_memory(count * self._size)
        measured, found = timed(reads, ids)
        seconds = sorted(measured)[len(measured) // 2]
        for file_id, result in zip(ids, found, strict=True):
            if call == "get_content":
                check(result == self._content(self._ids[store][file_id]), f"{name}: other bytes came back")
            elif name == LOOP:
                check(result["bytes"] == self._size, f"{name}: wrong size")
            else:
                self._check_facts(peer, result)
        if name == FRESH:
            peer.close()
        if counted:
            self._table(call, LOOP if call == "get" else None).add(name, seconds)

    def _list(self, name: str, *, counted: bool) -> None:
        expected = len(self._ids[name])
        for call in ("list", "page"):
            if not self._run.wants(f"{self._prefix}{call}"):
                continue
            # A new instance on the same root, which has seen none of the files.
            peer = self._opened(name)
            (seconds,), (found,) = timed(lambda p, c=call: p.list() if c == "list" else p.page(20), [peer])
            check(
                len(found) == (expected if call == "list" else min(20, expected)),
                f"{name}: {call} gave {len(found)} files",
            )
            for result in found:
                self._check_facts(peer, result)
            if counted:
                self._table(call).add(name, seconds / (expected if call == "list" else 1))
            peer.close()

    def _opened(self, name: str) -> Peer:
        return type(self._peers[name])(self._roots[name])

    def _check_facts(self, peer: Peer, result: Any) -> None:
        filename, size = peer.facts(result)
        check(filename == FILENAME and size in {self._size, None}, f"{peer.name}: wrong metadata")

    def _delete(self, count: int, rounds: int) -> None:
        if self._run.wants(f"{self._prefix}delete"):
            table = self._table("delete", "shutil.rmtree")
            # Two contestants take files from the floor's store in every round.
            for number in range(min(rounds, 6, len(self._ids[self._floor]) // (2 * count))):
                for name in self._run.shuffled([*self._peers, "shutil.rmtree"]):
                    # rmtree removes entries with the same layout, from a store that is not used any more.
                    store = self._floor if name == "shutil.rmtree" else name
                    ids = [self._ids[store].popitem()[0] for _ in range(count)]
                    root = self._roots[store]
                    remove = (
                        self._peers[name].delete if name != "shutil.rmtree" else lambda i, r=root: shutil.rmtree(r / i)
                    )
                    seconds, _ = per_call(remove, ids)
                    if number:
                        table.add(name, seconds)
        for peer in self._peers.values():
            peer.close()


def _loop(root: Path) -> Any:
    """The time to read a file's metadata without a store: the reference of every `get`."""
    prefix = str(root)

    def read(file_id: str) -> Any:
        with open(f"{prefix}/{file_id}/meta.json", "rb") as file:
            return json.loads(file.read())

    return read


def _large(run: Run, prefix: str, classes: tuple[str, ...]) -> None:
    """256 MiB: one file of each peer at a time, removed at once, because they would fill the disk."""
    found, missing = find(classes)
    run.missing |= missing
    size = 256 * MIB
    data = run.data(size)
    rounds = run.pick(1, 4, 4)
    floor = "staging floor, four syncs" if prefix.startswith("durable") else "seed-protocol floor"
    what = "256 MiB, durable" if prefix.startswith("durable") else "256 MiB"
    tables = {call: run.table(prefix + call, f"{call.replace('_', ' ')}, {what}", floor) for call in _LARGE_CALLS}
    run.say(f"{prefix}*: {len(found)} stores, {rounds} rounds of 256 MiB")
    for _ in range(rounds):
        for kind in run.shuffled(found):
            root = run.new_folder()
            peer = kind(root)
            quiet()
            warm_memory(2 * size)
            (create,), (file_id,) = timed(peer.create, [data])
            warm_memory(2 * size)
            (content,), (read,) = timed(peer.get_content, [file_id])
            check(read == data, f"{kind.name}: other bytes came back")
            del read
            quiet()
            (delete,), _ = timed(peer.delete, [file_id])
            peer.close()
            shutil.rmtree(root)
            for call, seconds in zip(_LARGE_CALLS, (create, content, delete), strict=True):
                tables[call].add(kind.name, seconds)
    os.sync()


_LARGE_CALLS = ("create", "get_content", "delete")
