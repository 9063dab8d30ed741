"""The S3 drivers on a real server, compared with the clients that they are based on."""

from __future__ import annotations

import collections
import contextlib
import json
import statistics
import time
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import holdall
from benchmarks import servers
from benchmarks.harness import MIB, Run, check, timed, warm_memory
from benchmarks.peers._base import FILENAME
from benchmarks.peers._objects import AT_ONCE, CLIENTS, Client, HoldallStore, RawObstore, RawS3fs
from holdall.ids import IdMinter

__all__ = ["DRIVERS", "Bucket", "bucket", "measure"]

DRIVERS = {"s3+obstore": "holdall s3+obstore", "s3": "holdall s3"}
_OPS = ("create", "get", "get_content", "delete")


class Bucket:
    """A server, its bucket, and access to a prefix in it for each client."""

    def __init__(self, module: Any, server: Any) -> None:
        self.module = module
        self.port: int = server.port
        # References are kept because s3fs closes its connections when it is garbage-collected, which fails within
        # another event loop.
        self._kept: list[Any] = []

    def url(self, driver: str, prefix: str, port: int | None = None, **options: Any) -> str:
        """The URL of a store."""
        query = {"endpoint_url": f"http://127.0.0.1:{port or self.port}", "region": "us-east-1"}
        query |= {"key": self.module.KEY, "secret": self.module.SECRET, **options}
        return f"{driver}://{self.module.BUCKET}/{prefix}?{urllib.parse.urlencode(query)}"

    def raw(self, kind: type[Any], prefix: str, port: int | None = None) -> Any:
        """A client without holdall."""
        endpoint = f"http://127.0.0.1:{port or self.port}"
        client = kind(endpoint, self.module.BUCKET, prefix, self.module.KEY, self.module.SECRET)
        self._kept.append(client)
        return client

    def everybody(self, prefix: str, port: int | None = None) -> dict[str, Client]:
        """A separate store for each client."""
        stores: list[Client] = [
            HoldallStore(self.url(driver, f"{prefix}/{driver.replace('+', '-')}", port), name)
            for driver, name in DRIVERS.items()
        ]
        stores += [self.raw(kind, f"{prefix}/{number}", port) for number, kind in enumerate(CLIENTS)]
        return {store.name: store for store in stores}


@contextlib.contextmanager
def bucket(run: Run) -> Iterator[Bucket | None]:
    """SeaweedFS; None if it is not available, which is reported."""
    try:
        module = servers.load()
    except ImportError as error:
        run.missing["S3"] = str(error)
        yield None
        return
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(module.seaweedfs(run.new_folder()))
        except module.Unavailable as error:
            run.missing["S3"] = str(error).partition("\n")[0][:200]
            yield None
            return
        yield Bucket(module, server)


def measure(run: Run) -> None:
    """Tables `s3.*`."""
    if run.wants("s3.page"):
        _pages(run)
    others = ("s3.create", "s3.get", "s3.get_content", "s3.list", "s3.delete", "s3.requests", "s3.many", "s3.parts")
    if not any(run.wants(name) for name in others):
        return
    with bucket(run) as where:
        if where is not None:
            _small(run, where)
            if run.wants("s3.requests"):
                _requests(run, where)
            if run.wants("s3.many"):
                _many(run, where)
            if run.wants("s3.parts"):
                _parts(run, where)


def _small(run: Run, where: Bucket) -> None:
    """Files of 1 KiB, one after another."""
    wanted = [call for call in (*_OPS, "list") if run.wants(f"s3.{call}")]
    if not wanted:
        return
    stores = where.everybody("small")
    count, rounds = run.pick(10, 15, 25), run.pick(3, 12, 20)
    run.say(f"s3.{{{','.join(wanted)}}}: {len(stores)} clients, {rounds} rounds of {count}")
    tables = {call: run.table(f"s3.{call}", f"{call.replace('_', ' ')}, 1 KiB, S3", "raw obstore") for call in wanted}
    data, ids = run.data(1024), {name: [] for name in stores}
    steps = [(number, call) for number in range(rounds + 1) for call in ("create", "get", "get_content")]
    # SeaweedFS lists emptied folders for a while, so nothing is deleted before all listings.
    steps += [(number, "list") for number in range(min(rounds, 5) + 1)]
    steps += [(number, "delete") for number in range(rounds + 1)]
    for number, call in steps:
        if call != "create" and call not in wanted:
            continue
        for name in run.shuffled(stores):
            store, known = stores[name], ids[name]
            if call == "list":
                seconds = _list_once(store, known)
            else:
                arguments = [data] * count if call == "create" else known[-count:]
                measured, found = timed(getattr(store, call), arguments)
                seconds = statistics.median(measured)
                known += found if call == "create" else []
                check(call != "get" or all(f["bytes"] == 1024 for f in found), f"{name}: wrong metadata")
                check(call != "get_content" or all(f == data for f in found), f"{name}: other bytes came back")
                if call == "delete":
                    del known[-count:]
            if number and call in wanted:
                tables[call].add(name, seconds)
    for store in stores.values():
        store.close()


def _list_once(store: Client, known: list[str]) -> float:
    """Seconds for each entry. The plain clients read as many concurrently as they can."""
    expected = len(known)
    if isinstance(store, HoldallStore):
        # Without cached metadata, but with open connections, as the others have.
        store.forget()
    call = store.list_threads if isinstance(store, RawObstore) else store.list
    if isinstance(store, RawS3fs):
        call = store.list_together
    (seconds,), (found,) = timed(lambda _: call(), [None])
    check(len(found) == expected, f"{store.name}: listed {len(found)} of {expected} files")
    return seconds / expected


def _requests(run: Run, where: Bucket) -> None:
    """The requests of each call, counted by a proxy; nothing is timed."""
    run.say("s3.requests: counted by a proxy")
    proxy = servers.counting(where.module, where.port)
    table = run.table("s3.requests", "requests a call, S3, 1 KiB", "", unit="requests")
    try:
        for name, store in where.everybody("counted", proxy.server_port).items():
            made: list[str] = []
            calls: dict[str, Callable[[], Any]] = {
                "create": lambda store=store, made=made: made.append(store.create(b"x" * 1024)),
                "get": lambda store=store, made=made: store.get(made[0]),
                "get_content": lambda store=store, made=made: store.get_content(made[0]),
                "delete": lambda store=store, made=made: store.delete(made[0]),
            }
            store.create(b"x")  # one-time requests of a client do not count
            for call, action in calls.items():
                asked = collections.Counter(request.partition(" ")[0] for request in proxy.counted(action))
                table.add(f"{name}: {call}", sum(asked.values()))
                table.details[f"{name}: {call}"] = ", ".join(f"{n} {method}" for method, n in sorted(asked.items()))
            store.close()
    finally:
        proxy.stop()


def documents(count: int) -> dict[str, bytes]:
    """The metadata of this many files, with ids that are a second apart, up to a minute ago."""
    clock = [time.time() - 60 - count]
    minter = IdMinter(lambda: clock[0])
    found: dict[str, bytes] = {}
    for _ in range(count):
        clock[0] += 1
        file_id, created = minter.mint()
        meta = {"id": file_id, "object": "file", "filename": FILENAME, "purpose": "user_data", "bytes": 1}
        found[file_id] = json.dumps(meta | {"created_at": created, "status": "uploaded"}, indent=2).encode()
    return found


def _many(run: Run, where: Bucket) -> None:
    """The metadata of all of very many files, listed the first time and again."""
    count, rounds = run.pick(600, 5000, 5000), run.pick(1, 2, 3)
    run.say(f"s3.many: {count} files")
    # Sequential reads are so slow that only a part is read, except in a full run.
    part = run.pick(200, 500, count)
    found = documents(count)
    raw: RawObstore = where.raw(RawObstore, "many")
    raw.put_many({f"{i}/{name}": text for i, text in found.items() for name, text in _objects_of(text)})
    some = where.raw(RawObstore, "some")
    some.put_many({f"{i}/{n}": t for i, text in list(found.items())[:part] for n, t in _objects_of(text)})
    table = run.table(
        "s3.many",
        f"list {count} files, S3, an entry",
        "raw s3fs, one after another",
        note=f"Sequential readers list {part} files; parallel readers read {AT_ONCE} at once.",
    )
    slow = {f"{kind.name}, one after another": where.raw(kind, "some").list for kind in CLIENTS}
    fast = {
        f"{RawObstore.name}, {AT_ONCE} threads": raw.list_threads,
        f"{RawObstore.name}, {AT_ONCE} at once": raw.list_async,
        f"{RawS3fs.name}, its cat": where.raw(RawS3fs, "many").list_together,
    }
    for _ in range(rounds):
        ways: dict[str, tuple[Callable[[], Any], int]] = {name: (call, part) for name, call in slow.items()}
        ways |= {name: (call, count) for name, call in fast.items()}
        with contextlib.ExitStack() as stack:
            opened = {
                name: stack.enter_context(holdall.open_store(where.url(driver, "many")))
                for driver, name in DRIVERS.items()
            }
            ways |= {f"{name}, first": (store.list, count) for name, store in opened.items()}
            order = run.shuffled(ways)
            ways |= {f"{name}, again": (store.list, count) for name, store in opened.items()}
            for who in [*order, *(f"{name}, again" for name in opened)]:
                call, expected = ways[who]
                (seconds,), (result,) = timed(lambda _, call=call: call(), [None])
                check(len(result) == expected, f"{who}: {len(result)} of {expected} files")
                table.add(who, seconds / expected)


def _objects_of(meta: bytes) -> Iterator[tuple[str, bytes]]:
    yield "data.bin", b"x"
    yield "meta.json", meta


def _pages(run: Run) -> None:
    """The requests for a page out of 100 000, sent to a server that has them in memory."""
    count = run.pick(10_000, 100_000, 100_000)
    run.say(f"s3.page: {count} files, requests counted")
    table = run.table("s3.page", f"requests for a page of 20 out of {count}, S3", "", unit="requests")
    found = documents(count)
    newest = list(found)[-20:]
    server = servers.ListingServer("pages", found)
    with server.running() as endpoint:
        query = urllib.parse.urlencode({"endpoint_url": endpoint, "region": "us-east-1", "key": "k", "secret": "s"})
        for driver, name in DRIVERS.items():
            for order, expected in (("desc", newest[::-1]), ("asc", list(found)[:20])):
                try:
                    with holdall.open_store(f"{driver}://bucket/pages?{query}") as store:
                        server.requests.clear()
                        page = store.list(limit=20, order=order)
                except holdall.UnknownScheme as error:
                    run.missing[name] = str(error)
                    continue
                check([file.id for file in page] == expected and page.has_more, f"{name}: another page came")
                what = f"{name}, {'newest' if order == 'desc' else 'oldest'}"
                for kind in ("list", "read"):
                    table.add(f"{what}: {kind}s", server.requests.count(kind))


def _parts(run: Run, where: Bucket) -> None:
    """A large upload, by part size and concurrency."""
    size, rounds = run.pick(32, 128, 256) * MIB, run.pick(1, 3, 5)
    run.say(f"s3.parts: {size // MIB} MiB")
    data = run.data(size)
    table = run.table("s3.parts", f"create {size // MIB} MiB, S3, by part size", f"{RawObstore.name}, put")
    read = run.table("s3.read", f"get content, {size // MIB} MiB, S3", f"{RawObstore.name}, get")
    raw: RawObstore = where.raw(RawObstore, "parts")
    settings = [(part, at_once) for part in (8, 16, 64) for at_once in (1, 4)]
    opened: dict[str, Any] = {
        f"{name}, {part} MiB × {at_once}": holdall.open_store(
            where.url(driver, "parts", part_size=f"{part}MiB", max_concurrency=at_once)
        )
        for driver, name in DRIVERS.items()
        for part, at_once in settings
    }
    for _ in range(rounds):
        for who in run.shuffled([*opened, table.reference]):
            warm_memory(2 * size)
            if who == table.reference:
                (seconds,), _ = timed(lambda _: raw.put_large("large", data), [None])
                (reading,), (content,) = timed(lambda _: raw.read("large"), [None])
                check(content == data, f"{who}: other bytes came back")
                raw.remove("large")
                read.add(read.reference, reading)
            else:
                store = opened[who]
                (seconds,), (file,) = timed(lambda _, s=store: s.create("a", data, purpose="user_data"), [None])
                if who.endswith(f"{settings[0][0]} MiB × 1"):
                    (reading,), (content,) = timed(store.get_content, [file.id])
                    check(content == data, f"{who}: other bytes came back")
                    read.add(who.partition(",")[0], reading)
                store.delete(file.id)
            table.add(who, seconds)
    for store in opened.values():
        store.close()
