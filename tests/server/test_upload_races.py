"""Two who end one upload, call by call of the storage: one wins, and a death on the way leaves nothing or all."""

from __future__ import annotations

import contextlib
import errno

import anyio
import anyio.lowlevel
import pytest
from tests.server._stores import begun, uploads_on

import holdall
from holdall import AsyncFileStore, FileStore
from holdall.backends.memory import MemoryBackend
from holdall.server import _assembly
from holdall.server._assembly import Completion, Uploads
from holdall.server._ends import COMPLETING, End
from holdall.server._errors import APIError
from holdall.server._places import PREFIX, inside
from holdall.wrappers import Intercepting, Prefixed


class _Steps(MemoryBackend):
    """Stops before the publish of an entry that `before` names, and lets others act then. If not `exclusive`, an entry
    replaces one that has its id.
    """

    def __init__(self, *, exclusive=True):
        super().__init__()
        self.before = lambda file_id: None
        self.exclusive = exclusive

    def stage(self, file_id):
        staged = super().stage(file_id)
        publish = staged.publish

        def stopping(meta):
            self.before(file_id)
            if not self.exclusive:
                with contextlib.suppress(holdall.FileNotFound):
                    self.remove(file_id)
            publish(meta)

        staged.publish = stopping
        return staged


def _two(**options):
    """Two servers of one store, as two processes see it, and the backend that stops in between."""
    backend = _Steps(**options)
    return backend, [uploads_on(backend) for _ in range(2)]


def _contents(uploads):
    store = inside(uploads._files)
    return [store.get_content(file.id) for file in store]


def _is_end(file_id):
    return file_id.endswith("-end-0")


def _is_file(file_id):
    return file_id.count("-") == 1 and "_" not in file_id


@pytest.mark.parametrize("moment", [_is_end, _is_file])
@pytest.mark.parametrize("second", ["the same", "another order", "cancel"])
def test_of_two_at_once_one_ends_the_upload(moment, second, monkeypatch):
    """The other comes when the first is about to claim the end, or has claimed it: who completes it the same way gets
    the one file there is; who wants it otherwise is refused; after a cancel there is none.
    """
    monkeypatch.setattr(_assembly, "PATIENCE_SECONDS", 60.0)
    backend, (first, other) = _two()

    async def run():
        upload, ids = await begun(first, b"one", b"two")
        results, ended = {}, anyio.Event()

        async def act(name, call, *args):
            try:
                results[name] = await call(upload, *args)
            except APIError as error:
                results[name] = error.message

        async def come_second():
            if second == "cancel":
                await act("second", other.cancel)
            else:
                order = ids if second == "the same" else ids[::-1]
                await act("second", other.complete, Completion(part_ids=order))
            ended.set()

        async with anyio.create_task_group() as tasks:

            def before(file_id):
                if moment(file_id):
                    backend.before = lambda _: None
                    # The second is at work, and has ended unless it has to wait for the first.
                    anyio.from_thread.run_sync(tasks.start_soon, come_second)
                    if not (second == "the same" and moment is _is_file):
                        anyio.from_thread.run(ended.wait)

            backend.before = before
            await act("first", first.complete, Completion(part_ids=ids))
        return results

    results = anyio.run(run)
    won = moment is _is_file  # the first has claimed the end
    if second == "the same":
        assert results["first"] == results["second"]
        assert _contents(first) == [b"onetwo"]
    elif second == "cancel":
        assert _contents(first) == ([b"onetwo"] if won else [])
        assert results["first" if not won else "second"].endswith("begin another.")
    else:
        assert _contents(first) == [b"onetwo" if won else b"twoone"]
        assert "other parts" in results["second" if won else "first"]


def test_who_comes_after_somebody_died_completes_it(monkeypatch):
    """Dead between its claim and its file: the next waits, then makes the file; the dead one, awake again, gives way."""
    monkeypatch.setattr(_assembly, "PATIENCE_SECONDS", 0.01)
    backend, (first, other) = _two()

    async def run():
        upload, ids = await begun(first, b"one", b"two")
        completion = Completion(part_ids=ids)
        made = []

        def before(file_id):
            if _is_file(file_id):
                backend.before = lambda _: None
                made.append(anyio.from_thread.run(other.complete, upload, completion))

        backend.before = before
        made.append(await first.complete(upload, completion))
        assert made[0] == made[1]
        assert await other.complete(upload, completion) == made[0]
        with pytest.raises(APIError, match="completed"):
            await other.cancel(upload)

    anyio.run(run)
    assert _contents(first) == [b"onetwo"]


@pytest.mark.parametrize("exclusive", [True, False])
def test_who_is_slow_but_not_dead_has_made_the_file(exclusive, monkeypatch):
    """The second gave up waiting, and sees the file of the first before it claims the end itself, which a storage may
    let it do although the first has sealed it.
    """
    monkeypatch.setattr(_assembly, "PATIENCE_SECONDS", 0.0)
    backend, (first, other) = _two(exclusive=exclusive)

    async def run():
        upload, ids = await begun(first, b"one", b"two")
        completion, results = Completion(part_ids=ids), []
        opened, other_reads = anyio.Event(), MemoryBackend.open_data

        async def come_second():
            results.append(await other.complete(upload, completion))

        async with anyio.create_task_group() as tasks:

            def reads(self, *args):
                # The second has begun to make the file.
                monkeypatch.setattr(MemoryBackend, "open_data", other_reads)
                anyio.from_thread.run_sync(opened.set)
                anyio.from_thread.run(made.wait)
                return other_reads(self, *args)

            def before(file_id):
                if _is_file(file_id):
                    backend.before = lambda _: None
                    monkeypatch.setattr(MemoryBackend, "open_data", reads)
                    anyio.from_thread.run_sync(tasks.start_soon, come_second)
                    anyio.from_thread.run(opened.wait)

            made = anyio.Event()
            remove = first._remove_parts

            async def remove_later(record):
                made.set()
                while not results:
                    await anyio.lowlevel.checkpoint()
                await remove(record)

            monkeypatch.setattr(first, "_remove_parts", remove_later)
            backend.before = before
            results.append(await first.complete(upload, completion))
        assert results[0] == results[1]

    anyio.run(run)
    assert _contents(first) == [b"onetwo"]


@pytest.mark.parametrize("deleted", [False, True])
def test_who_awakes_with_a_file_too_many_is_told_of_the_one_that_counts(deleted, monkeypatch):
    """Whether its own file is still there, or somebody who saw it in a listing has deleted it."""
    monkeypatch.setattr(_assembly, "PATIENCE_SECONDS", 0.0)
    backend, (first, other) = _two()

    async def run():
        upload, ids = await begun(first, b"one", b"two")
        completion, made, seal = Completion(part_ids=ids), [], first._seal

        def before(file_id):
            if _is_file(file_id):
                backend.before = lambda _: None
                made.append(anyio.from_thread.run(other.complete, upload, completion))

        async def deleted_meanwhile(record, claim):
            if deleted:
                await first._files.delete(claim.file_id)
            return await seal(record, claim)

        monkeypatch.setattr(first, "_seal", deleted_meanwhile)
        backend.before = before
        made.append(await first.complete(upload, completion))
        assert made[0] == made[1]

    anyio.run(run)
    assert _contents(first) == [b"onetwo"]


def test_who_finds_the_parts_gone_is_told_of_the_file_that_was_made_of_them():
    """The other one has completed the upload, and removed the parts, just before they are read again."""
    _, (first, other) = _two()

    async def run():
        upload, ids = await begun(first, b"one", b"two")
        completion, made, chunks = Completion(part_ids=ids), [], other._chunks

        async def after_the_first(parts):
            made.append(await first.complete(upload, completion))
            async for chunk in chunks(parts):
                yield chunk

        other._chunks = after_the_first
        made.append(await other.complete(upload, completion))
        assert made[0] == made[1]

    anyio.run(run)
    assert _contents(first) == [b"onetwo"]


def test_each_who_makes_the_file_has_its_own_time_for_it(monkeypatch):
    """If a second one takes over from a dead one, who waits gives it as long as the first one had."""
    _, (second, waiting) = _two()
    now = 0.0

    async def run():
        upload, ids = await begun(second, b"one")
        record, completion = await second.taking_parts(upload), Completion(part_ids=ids)
        wanted = _assembly._fingerprint(completion)

        async def sleep(seconds):
            nonlocal now
            before, now = now, now + seconds
            if before < 4 <= now:
                await second._claim(record, End(1, COMPLETING, "file-second", wanted))

        await second._claim(record, End(0, COMPLETING, "file-first", wanted))
        with monkeypatch.context() as patch:
            patch.setattr(_assembly.anyio, "current_time", lambda: now)
            patch.setattr(_assembly.anyio, "sleep", sleep)
            assert await waiting._outcome(record, completion) == (None, 2)

    anyio.run(run)
    assert now >= 4 + _assembly.PATIENCE_SECONDS


class _Dying(Intercepting):
    """A storage that does its `last` call, or fails at it, and nothing from then on, as for a process that is killed."""

    def __init__(self, inner, last, *, done):
        super().__init__(inner)
        self.left, self._done = last, done

    def around(self, verb, file_id, call):
        self.left -= 1
        if self.left == 0 and self._done:
            call()
        if self.left <= 0:
            raise OSError(errno.EIO, "dead")
        return call()


@pytest.mark.parametrize("done", [False, True])
@pytest.mark.parametrize("end", ["complete", "cancel"])
def test_a_death_at_any_call_of_the_storage_leaves_nothing_or_all_and_can_be_repeated(end, done, monkeypatch):
    """The file is there whole or not at all; then another server does the same, of which one file comes, and the parts
    are gone.
    """
    monkeypatch.setattr(_assembly, "PATIENCE_SECONDS", 0.0)

    async def died(last):
        backend = MemoryBackend()
        dying = _Dying(backend, last, done=done)
        doomed, healthy = (
            Uploads(AsyncFileStore(FileStore(b)), AsyncFileStore(FileStore(Prefixed(b, PREFIX))))
            for b in (dying, backend)
        )
        upload, ids = await begun(healthy, b"one", b"two")
        arguments = (Completion(part_ids=ids),) if end == "complete" else ()
        with contextlib.suppress(holdall.HoldallError):
            await getattr(doomed, end)(upload, *arguments)
        assert _contents(healthy) in ([], [b"onetwo"])

        body = await getattr(healthy, end)(upload, *arguments)
        files = list(inside(healthy._files))
        assert [file.id for file in files] == ([body["file"]["id"]] if body["file"] else [])
        assert _contents(healthy) == ([b"onetwo"] if end == "complete" else [])
        left = list(Prefixed(backend, PREFIX).list_ids())
        assert [i for i in left if i.count("-") == 2] == []
        return dying.left <= 0

    deaths = 0
    while anyio.run(died, deaths + 1):
        deaths += 1
    assert deaths >= (20 if end == "complete" else 8)


def test_a_part_that_ends_after_its_upload_is_refused_and_gone():
    """The upload was cancelled while the part came in."""
    backend, (first, other) = _two()

    async def run():
        upload, _ = await begun(first, b"one")
        record = await first.taking_parts(upload)
        async with await first.begin_part(record) as incoming:
            await incoming.write(b"two")
            await other.cancel(upload)
            with pytest.raises(APIError, match="cancelled"):
                await first.finish_part(record, incoming)

    anyio.run(run)
    assert [i for i in Prefixed(backend, PREFIX).list_ids() if i.count("-") == 2] == []
