"""Concurrency: threads, handles, processes, and callers that are cancelled."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from holdall.backend import Capability
from holdall.conformance._kit import Kit, broken, expect, show
from holdall.conformance._process import Nursery
from holdall.conformance._registry import check
from holdall.errors import FileNotFound, HoldallError, InvalidRequest

THREADS = 8
_PATIENCE_SECONDS = 60
_MEETING_SECONDS = 0.5
# More than the default connection pools of clients.
_MANY = 32


def together(count: int, action: Callable[[int], Any], *, interleaved: bool = False) -> list[Any]:
    """The results or exceptions of `action(0)`, `action(1)`, …, each on its own thread, all starting at the same
    moment.

    `interleaved` threads yield to each other at every call, which finds races reliably but is slow.
    """
    barrier = threading.Barrier(count)
    results: list[Any] = [None] * count

    def run(n: int) -> None:
        try:
            barrier.wait(_PATIENCE_SECONDS)
            if interleaved:
                sys.setprofile(_give_way)
            results[n] = action(n)
        except BaseException as error:
            results[n] = error
        finally:
            sys.setprofile(None)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE_SECONDS)
        if thread.is_alive():
            raise broken(f"run {count} calls at once", "all come back", f"no end within {_PATIENCE_SECONDS} s")
    return results


def _give_way(*_: object) -> None:
    """A profile function that lets another thread run at every call.

    Otherwise a thread is seldom preempted between a check and the change that relies on it.
    """
    time.sleep(0)


def meeting(data: bytes, barrier: threading.Barrier) -> Iterator[bytes]:
    """The data in two halves; in between, waits until the other uploads are at the same point.

    So uploads overlap reliably. A store that makes one upload wait for another is slow but correct: then the barrier
    times out.
    """
    half = len(data) // 2
    yield data[:half]
    with contextlib.suppress(threading.BrokenBarrierError):
        barrier.wait(_MEETING_SECONDS)
    yield data[half:]


@check("concurrent.creates_all_survive")
def creates_all_survive(kit: Kit) -> None:
    """Eight threads open a new location, and each creates five files through its own handle; then an upload while other
    handles are opened and closed.
    """
    _all_begin(kit)
    contents = {(t, n): kit.noise(20_000 + 1000 * t + n) for t in range(THREADS) for n in range(5)}
    handles = [kit.open() for _ in range(THREADS)]
    barrier = threading.Barrier(THREADS)

    def create(t: int) -> list[tuple[str, bytes]]:
        first = kit.put(meeting(contents[t, 0], barrier), f"{t}-0", store=handles[t])
        others = [(kit.put(contents[t, n], f"{t}-{n}", store=handles[t]).id, contents[t, n]) for n in range(1, 5)]
        return [(first.id, contents[t, 0]), *others]

    results = together(THREADS, create, interleaved=True)
    _none_failed(results, f"create 5 files on each of {THREADS} threads")
    stored = [pair for result in results for pair in result]
    _all_there(kit, stored, f"{len(stored)} files created on {THREADS} threads")
    did = "begin an upload, meanwhile open, list, sweep() and close other handles, finish it"
    data = kit.noise(100_000)
    with kit.store.begin("slow", purpose="batch") as upload:
        for part in (data[:50_000], data[50_000:]):
            upload.write(part)
            with kit.open() as passing:
                passing.list()
                # The default grace period: an upload in progress is younger.
                passing.sweep()
        try:
            file = upload.finish()
        except Exception as error:
            raise broken(did, "no error", show(error)) from error
    _all_there(kit, [*stored, (file.id, data)], did)


def _all_begin(kit: Kit) -> None:
    """A location that was never opened before, as a program with many workers finds it."""
    kit.store  # noqa: B018 - creates the check's own location first
    url = kit.adopt(kit.target.fresh())
    did = f"open a new location on {THREADS} threads, and create a file on each"
    results = together(THREADS, lambda n: kit.put(b"%d" % n, store=kit.open(url)).id)
    _none_failed(results, did)
    expect(sorted(kit.listed(kit.open(url))), sorted(results), f"list() after {did}")


def _none_failed(results: list[Any], did: str) -> None:
    for result in results:
        if isinstance(result, BaseException):
            raise broken(did, "no error", show(result)) from result


def _all_there(kit: Kit, stored: list[tuple[str, bytes]], did: str) -> None:
    ids = [file_id for file_id, _ in stored]
    expect(len(set(ids)), len(ids), f"the number of different ids of {did}")
    listed = kit.listed()
    expect(sorted(listed), sorted(ids), f"list() after {did}")
    other = kit.open()
    for file_id, data in stored:
        expect(other.get_content(file_id), data, f"get_content of one of {did}")


@check("concurrent.reader_never_sees_partial")
def reader_never_sees_partial(kit: Kit) -> None:
    """Lists between the chunks of an upload; then readers run next to a writer that creates and deletes."""
    data = kit.noise(300_000)
    other = kit.open()
    kept = kit.put(b"stays")
    kit.settle()

    def watched() -> Iterator[bytes]:
        for start in range(0, len(data), 60_000):
            yield data[start : start + 60_000]
            expect([f.id for f in other.list()], [kept.id], f"list() on another handle after {start + 60_000} bytes")

    file = kit.put(watched())
    expect(other.get_content(file.id), data, "get_content on another handle, after create returned")

    done = threading.Event()

    def write() -> None:
        try:
            for _ in range(40):
                kit.store.delete(kit.put(data).id)
        finally:
            done.set()

    def read() -> int:
        seen = 0
        reader = kit.open()
        while not done.is_set():
            for found in reader.list():
                try:
                    content = reader.get_content(found.id)
                except FileNotFound:
                    continue
                seen += 1
                wanted = b"stays" if found.id == kept.id else data
                expect(content, wanted, "get_content of a listed file, while another thread creates and deletes")
        return seen

    results = together(3, lambda n: write() if n == 0 else read())
    for result in results:
        if isinstance(result, BaseException):
            raise result


@check("concurrent.delete_race_one_winner", needs=Capability.EXCLUSIVE_REMOVE)
def delete_race_one_winner(kit: Kit) -> None:
    """Thirty files, each deleted by six threads at the same moment through separate handles; then by processes."""
    racers = 6
    handles = [kit.open() for _ in range(racers)]
    for _ in range(30):
        file_id = kit.put(b"contested").id
        results = together(racers, lambda n: handles[n].delete(file_id), interleaved=True)
        for result in results:
            if result is not None and not isinstance(result, FileNotFound):
                raise broken(f"delete one file on {racers} threads", "one success, FileNotFound for the others", result)
        winners = sum(result is None for result in results)
        expect(winners, 1, f"the number of successes when {racers} threads delete one file at once")
        expect(kit.listed(), [], "list() after the race")
    if Capability.SHARED in kit.capabilities:
        _processes_race(kit)


def _processes_race(kit: Kit) -> None:
    """A lock within one process does not exclude another process."""
    racers = 3
    file_ids = [kit.put(b"contested").id for _ in range(20)]
    did = f"delete {len(file_ids)} files in each of {racers} processes at once"
    with Nursery(kit.target) as nursery:
        outcomes = nursery.run("race_to_delete", kit.url, copies=racers, file_ids=file_ids)
    for outcome in outcomes:
        if outcome.error:
            raise broken(did, "one success, FileNotFound for the others", outcome.error)
    deleted = [said["deleted"] for outcome in outcomes for said in outcome.said]
    expect(sorted(deleted), sorted(file_ids), f"{did}: for which of them it succeeded")
    expect(kit.listed(), [], f"list() after {did}")


@check("concurrent.processes_create", needs=Capability.SHARED)
def processes_create(kit: Kit) -> None:
    """Four processes start at the same moment and create eight files each."""
    kit.store  # noqa: B018 - creates the location before the processes open it
    with Nursery(kit.target) as nursery:
        outcomes = nursery.run("create", kit.url, copies=4, count=8, size=30_000)
    stored = []
    for outcome in outcomes:
        if outcome.error:
            raise broken("create 8 files in each of 4 processes", "no error", outcome.error)
        stored += [(m["id"], m["sha256"]) for m in outcome.said]
    expect(len(stored), 32, "the number of files that 4 processes said they created")
    expect(sorted(kit.listed()), sorted(i for i, _ in stored), "list() after 4 processes created 8 files each")
    report = kit.open().verify()
    expect([p.detail for p in report.problems], [], "verify() after 4 processes created 8 files each")


@check("concurrent.handle_shared_by_threads")
def handle_shared_by_threads(kit: Kit) -> None:
    """Eight threads create, read, list and delete through one handle; one thread alternates between three uploads, and
    has many uploads and readers open at once.
    """
    store = kit.store
    contents = [[kit.noise(70_000 + 100 * t + n) for n in range(6)] for t in range(THREADS)]
    barrier = threading.Barrier(THREADS)

    def work(t: int) -> list[tuple[str, bytes]]:
        kept = []
        for n, data in enumerate(contents[t]):
            file = kit.put(meeting(data, barrier) if n == 0 else data, f"{t}-{n}")
            expect(store.get_content(file.id), data, "get_content of one's own file, one handle on 8 threads")
            expect(store.get(file.id).filename, f"{t}-{n}", "get of one's own file, one handle on 8 threads")
            kit.settle()
            expect(file.id in [f.id for f in store.list()], True, "one's own file is listed, one handle on 8 threads")
            with store.open(file.id) as stream:
                stream.seek(n * 1000)
                expect(stream.read(5000), data[n * 1000 :][:5000], "open, seek and read, one handle on 8 threads")
            if n % 2:
                store.delete(file.id)
            else:
                kept.append((file.id, data))
        return kept

    results = together(THREADS, work)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    kept = [pair for result in results for pair in result]
    # On a single thread, uploads that wait for each other would wait forever.
    turns = together(1, lambda _: _by_turns(kit))
    _none_failed(
        turns, "write three uploads by turns on one thread, through one handle, and discard a fourth meanwhile"
    )
    many = together(1, lambda _: _many(kit))
    _none_failed(many, f"begin {_MANY} uploads on one thread, through one handle, then as many readers")
    kept += turns[0] + many[0]
    _all_there(kit, kept, f"what {THREADS} threads and three uploads by turns kept through one handle")
    _hops(kit)
    _same_file(kit)
    _none_failed(together(1, lambda _: _walks_by_turns(kit)), "walk the ids twice by turns, and work between the steps")


def _hops(kit: Kit) -> None:
    """An upload, a reader, a listing and a handle that move between threads, as with event loops and worker threads."""
    data = kit.noise(100_000)

    def step(did: str, action: Callable[[], Any]) -> Any:
        results = together(1, lambda _: action())
        _none_failed(results, f"{did} on a thread of its own")
        return results[0]

    # This thread stays alive: a new thread may reuse the id of one that has ended, and would then look like the same
    # thread.
    with kit.store.begin("hops", purpose="batch") as upload:
        upload.write(data[:50_000])
        step("write to an upload", lambda: upload.write(data[50_000:]))
        file_id = step("finish an upload", upload.finish).id
    stream = kit.store.open(file_id)
    saw = [step("read from a file", lambda: stream.read(50_000)), stream.read()]
    step("close a file", stream.close)
    expect(b"".join(saw), data, "upload and read, some steps on a thread of their own")
    walk = kit.store.backend.list_ids()
    found = [next(walk), step("go on with a listing", lambda: next(walk)), *walk]
    expect(len(set(found)), len(found), "backend.list_ids(), a step on a thread of its own: how many different ids")
    passing = kit.open()
    passing.get(file_id)
    step("close a handle", passing.close)


def _same_file(kit: Kit) -> None:
    """All threads read the same file through one handle, each at a different position."""
    data = kit.noise(400_000)
    file_id = kit.put(data).id

    def read(t: int) -> None:
        for start in range(t * 1000, 300_000, 60_000):
            expect(kit.store.get_content(file_id, start, start + 50_000), data[start:][:50_000], "the range")

    _none_failed(together(THREADS, read, interleaved=True), f"read ranges of one file on {THREADS} threads, one handle")


def _walks_by_turns(kit: Kit) -> None:
    """A listing in progress holds nothing that another call through the same handle waits for, or ends."""
    ids = sorted(kit.put(b"%d" % n).id for n in range(6))
    kit.settle()
    backend = kit.store.backend
    first, second = backend.list_ids(), backend.list_ids()
    saw: tuple[list[str], list[str]] = ([], [])
    for _ in range(3):
        saw[0].append(next(first))
        saw[1].append(next(second))
        kit.store.delete(kit.put(b"passing").id)
        expect(kit.store.get_content(ids[0]), b"0", "get_content while a listing goes on")
    for walk, seen in zip((first, second), saw, strict=True):
        every = [*seen, *walk]
        expect([i for i in every if i in ids], ids, "backend.list_ids(), two by turns, with other calls between")


def _by_turns(kit: Kit) -> list[tuple[str, bytes]]:
    """Three uploads through one handle, written in turn, finished in reverse order; a fourth is discarded."""
    contents = [kit.noise(20_000 + n) for n in range(3)]
    uploads = [kit.store.begin(f"turn {n}", purpose="batch") for n in range(3)]
    given_up = kit.store.begin("given up", purpose="batch")
    for at in range(0, 20_100, 5_000):
        for upload, data in zip(uploads, contents, strict=True):
            upload.write(data[at : at + 5_000])
        if at == 5_000:
            given_up.write(contents[0])
        elif at == 10_000:
            given_up.discard()
    stored = []
    for n in reversed(range(3)):
        stored.append((uploads[n].finish().id, contents[n]))
        # Not even those whose data is complete.
        early = {upload.file_id for upload in (*uploads[:n], given_up)} & set(kit.listed())
        expect(len(early), 0, f"finish upload {n + 1} of 3, list(): how many of the others are shown")
    return stored


def _many(kit: Kit) -> list[tuple[str, bytes]]:
    """As with slow clients: all are begun before the first one ends."""
    contents = [kit.noise(1000) for _ in range(_MANY)]
    with contextlib.ExitStack() as begun:
        uploads = [begun.enter_context(kit.store.begin(f"{n} of many", purpose="batch")) for n in range(_MANY)]
        for upload, data in zip(uploads, contents, strict=True):
            upload.write(data)
        stored = [(upload.finish().id, data) for upload, data in zip(uploads, contents, strict=True)]
        streams = [begun.enter_context(kit.store.open(file_id)) for file_id, _ in stored]
        expect([stream.read(10) for stream in streams], [data[:10] for data in contents], f"reading {_MANY} files")
    return stored


@check("concurrent.cancelled_create_leaves_nothing")
def cancelled_create_leaves_nothing(kit: Kit) -> None:
    """Cancelled while its source is awaited: before the first chunk, after one, and after several."""
    import anyio

    from holdall.aio import AsyncFileStore

    async def cancelled_after(chunks: int) -> None:
        waiting = anyio.Event()

        async def source() -> AsyncIterator[bytes]:
            for _ in range(chunks):
                yield b"z" * 100_000
            waiting.set()
            await anyio.sleep_forever()

        store = AsyncFileStore(kit.store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: store.create("cancelled.bin", source(), purpose="user_data"))
            with anyio.fail_after(_PATIENCE_SECONDS):
                await waiting.wait()
            tasks.cancel_scope.cancel()

    for chunks in (0, 1, 3):
        anyio.run(cancelled_after, chunks)
        expect(kit.listed(), [], f"list() after a create that was cancelled after {chunks} chunks")
    data = kit.noise(1000)
    try:
        file = kit.put(data)
    except (HoldallError, InvalidRequest) as error:
        raise broken("create after cancelled creates", "it works", error) from error
    expect(kit.listed(), [file.id], "list() after a create that was not cancelled")
