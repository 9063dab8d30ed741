"""How an upload ends: once, whoever comes second, whenever somebody dies; and what is left of it then."""

from __future__ import annotations

import contextlib
import errno

import anyio
import anyio.lowlevel
import openai
import pytest
from tests.fakes import Clock
from tests.server._serving import serving

import holdall
from holdall import AsyncFileStore, FileStore
from holdall.backends.memory import MemoryBackend
from holdall.server import Keys, Quota, _assembly, create_app
from holdall.server._assembly import Completion, NewUpload, Uploads
from holdall.server._errors import APIError
from holdall.server._places import PREFIX, inside
from holdall.wrappers import Intercepting, Prefixed

UNKNOWN = "part_" + "0" * 32


class Server:
    """The SDK before a store in memory by a clock of ours, and a look at what is kept of uploads."""

    def __init__(self):
        self.clock, self.backend = Clock(), MemoryBackend()
        self.store = FileStore(self.backend, clock=self.clock)

    def begin(self, size=5, **more):
        return self.sdk.uploads.create(
            **{"bytes": size, "filename": "a.bin", "mime_type": "text/plain", "purpose": "user_data"} | more
        )

    def part(self, upload, data=b"hello"):
        return self.sdk.uploads.parts.create(upload.id, data=data).id

    def refused(self, call, *args, **options):
        with pytest.raises(openai.BadRequestError) as refused:
            call(*args, **options)
        assert set(refused.value.body) == {"message", "type", "param", "code"}
        return refused.value.message

    def parts(self):
        """How many parts the storage holds."""
        return len([i for i in Prefixed(self.backend, PREFIX).list_ids() if i.count("-") == 2])


@pytest.fixture
def server():
    made = Server()
    with serving(create_app(made.store)) as running:
        made.sdk = openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0)
        yield made


def test_an_upload_can_be_completed_for_an_hour(server):
    """One second before the hour is over, all goes; from then on nothing does, and the parts go at once."""
    early, late = server.begin(), server.begin()
    assert early.expires_at == early.created_at + 3600
    parts = [server.part(early), server.part(late)]
    server.clock.now += 3599
    assert server.sdk.uploads.complete(early.id, part_ids=parts[:1]).status == "completed"
    server.clock.now += 1

    assert server.parts() == 1
    assert "expired" in server.refused(server.sdk.uploads.parts.create, late.id, data=b"x")
    assert server.parts() == 0
    assert "expired" in server.refused(server.sdk.uploads.complete, late.id, part_ids=parts[1:])
    assert "expired" in server.refused(server.sdk.uploads.cancel, late.id)
    # Who lost the answer can still ask for it.
    assert server.sdk.uploads.complete(early.id, part_ids=parts[:1]).status == "completed"
    server.clock.now += 3600
    with pytest.raises(openai.NotFoundError):
        server.sdk.uploads.complete(late.id, part_ids=[])


def test_what_nobody_came_back_for_expires(server):
    """Of an abandoned upload a sweep of its place removes all, an hour after it could be completed."""
    server.part(server.begin())
    place = FileStore(Prefixed(server.backend, PREFIX), clock=server.clock)
    server.clock.now += 7199
    assert place.sweep().expired == ()
    server.clock.now += 1
    assert len(place.sweep().expired) == 2
    assert list(server.backend.list_ids()) == []


def test_the_file_expires_counted_from_its_own_creation(server):
    """`expires_after` of the upload is that of the file, which is created when the upload is completed."""
    upload = server.begin(expires_after={"anchor": "created_at", "seconds": 3600})
    plain, batch = server.begin(), server.begin(purpose="batch")
    server.clock.now += 1800
    files = [server.sdk.uploads.complete(u.id, part_ids=[server.part(u)]).file for u in (upload, plain, batch)]

    assert [file.created_at for file in files] == [upload.created_at + 1800] * 3
    assert [file.expires_at for file in files] == [upload.created_at + 5400, None, batch.created_at + 1800 + 30 * 86400]
    for wrong in ({"anchor": "created_at", "seconds": 60}, {"anchor": "now", "seconds": 3600}, {}):
        server.refused(server.begin, expires_after=wrong)


def test_what_is_no_list_of_parts_is_refused_and_changes_nothing(server):
    """A part named twice, unknown, of another upload, none at all, a wrong size, a wrong md5: then the right one."""
    upload, other = server.begin(10), server.begin(5)
    part, foreign = server.part(upload), server.part(other)
    for wrong in (
        [part, part],
        [part, UNKNOWN],
        [part, "part_x"],
        [part, foreign],
        [part, ""],
        [part, "../x"],
        [],
        [part],
    ):
        server.refused(server.sdk.uploads.complete, upload.id, part_ids=wrong)
    both = [part, server.part(upload)]
    for md5 in ("0" * 32, "", "nonsense"):
        assert "md5" in server.refused(server.sdk.uploads.complete, upload.id, part_ids=both, md5=md5)
    assert list(server.store) == []

    assert server.sdk.uploads.complete(upload.id, part_ids=both).file.bytes == 10


def test_an_upload_of_nothing_is_an_empty_file(server):
    """No parts, no bytes."""
    done = server.sdk.uploads.complete(server.begin(0).id, part_ids=[])

    assert server.sdk.files.content(done.file.id).read() == b""
    assert [file.id for file in server.store] == [done.file.id]


def test_after_completion_nothing_more_is_taken_and_no_part_is_left(server):
    """Parts that the file is not made of go, too; other parts or another md5 than the first time are refused."""
    upload = server.begin(10)
    a, b, _ = server.part(upload), server.part(upload, b"world"), server.part(upload, b"spare")
    md5 = "fc5e038d38a57032085441e7fe7010b0"
    done = server.sdk.uploads.complete(upload.id, part_ids=[a, b], md5=md5)

    assert server.parts() == 0
    assert "completed" in server.refused(server.sdk.uploads.parts.create, upload.id, data=b"x")
    assert "completed" in server.refused(server.sdk.uploads.cancel, upload.id)
    assert "other parts" in server.refused(server.sdk.uploads.complete, upload.id, part_ids=[b, a], md5=md5)
    assert "md5" in server.refused(server.sdk.uploads.complete, upload.id, part_ids=[a, b], md5="0" * 32)
    assert server.sdk.uploads.complete(upload.id, part_ids=[a, b], md5=md5.upper()) == done
    server.sdk.files.delete(done.file.id)
    assert "gone" in server.refused(server.sdk.uploads.complete, upload.id, part_ids=[a, b], md5=md5)
    assert list(server.store) == []


def test_a_cancelled_upload_is_gone_with_its_parts(server):
    """Cancelled again, it is told the same, as the SDK repeats a call whose answer was lost."""
    upload = server.begin()
    part = server.part(upload)

    assert server.sdk.uploads.cancel(upload.id) == server.sdk.uploads.cancel(upload.id)
    assert server.parts() == 0
    assert "cancelled" in server.refused(server.sdk.uploads.parts.create, upload.id, data=b"x")
    assert "cancelled" in server.refused(server.sdk.uploads.complete, upload.id, part_ids=[part])


class _Steps(MemoryBackend):
    """Stops before the publish of an entry that `before` names, and lets others act then."""

    def __init__(self):
        super().__init__()
        self.before = lambda file_id: None

    def stage(self, file_id):
        staged = super().stage(file_id)
        publish = staged.publish

        def stopping(meta):
            self.before(file_id)
            publish(meta)

        staged.publish = stopping
        return staged


def _two():
    """Two servers of one store, as two processes see it, and the backend that stops in between."""
    backend = _Steps()
    return backend, [
        Uploads(AsyncFileStore(FileStore(backend)), AsyncFileStore(FileStore(Prefixed(backend, PREFIX))))
        for _ in range(2)
    ]


async def _begun(uploads, *contents):
    body = await uploads.create(
        NewUpload(bytes=sum(map(len, contents)), filename="a", mime_type="text/plain", purpose="batch")
    )
    record, ids = await uploads.taking_parts(body["id"]), []
    for content in contents:
        async with await uploads.begin_part(record) as incoming:
            await incoming.write(content)
            ids.append((await uploads.finish_part(record, incoming))["id"])
    return body["id"], ids


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
        upload, ids = await _begun(first, b"one", b"two")
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
        upload, ids = await _begun(first, b"one", b"two")
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


def test_who_is_slow_but_not_dead_has_made_the_file(monkeypatch):
    """The second gave up waiting, and sees the file of the first before it claims the end itself."""
    monkeypatch.setattr(_assembly, "PATIENCE_SECONDS", 0.0)
    backend, (first, other) = _two()

    async def run():
        upload, ids = await _begun(first, b"one", b"two")
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
        upload, ids = await _begun(healthy, b"one", b"two")
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
        upload, _ = await _begun(first, b"one")
        record = await first.taking_parts(upload)
        async with await first.begin_part(record) as incoming:
            await incoming.write(b"two")
            await other.cancel(upload)
            with pytest.raises(APIError, match="cancelled"):
                await first.finish_part(record, incoming)

    anyio.run(run)
    assert [i for i in Prefixed(backend, PREFIX).list_ids() if i.count("-") == 2] == []


@pytest.mark.parametrize("url", ["local", "memory://", "memory://named"])
def test_an_upload_needs_no_more_of_a_quota_than_its_file(url, tmp_path):
    """Parts count with their bytes, until they are the file's; given up, they count no more. No part counts as a file."""
    app = create_app(str(tmp_path) if url == "local" else url, keys=Keys("a:a"), quota=Quota(1_000_000, max_files=2))
    with serving(app) as running:
        sdk = openai.OpenAI(base_url=f"{running.url}/v1", api_key="a", max_retries=0)

        def begin():
            return sdk.uploads.create(bytes=900_000, filename="a", mime_type="text/plain", purpose="batch")

        def full(call, *args, **options):
            with pytest.raises(openai.InternalServerError) as refused:
                call(*args, **options)
            assert refused.value.code == "quota_exceeded"

        def parts_of(upload):
            return [sdk.uploads.parts.create(upload.id, data=b"x" * 300_000).id for _ in range(3)]

        given_up = begin()
        parts_of(given_up)
        full(sdk.uploads.parts.create, given_up.id, data=b"x" * 300_000)
        full(sdk.files.create, file=("a", b"x" * 200_000), purpose="batch")
        sdk.uploads.cancel(given_up.id)
        upload = begin()
        done = sdk.uploads.complete(upload.id, part_ids=parts_of(upload))
        full(sdk.files.create, file=("a", b"x" * 200_000), purpose="batch")
        sdk.files.create(file=("a", b"x" * 100_000), purpose="batch")
        full(sdk.files.create, file=("a", b""), purpose="batch")
        sdk.files.delete(done.file.id)
        sdk.files.create(file=("a", b"x" * 900_000), purpose="batch")
