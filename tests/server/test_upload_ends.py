"""How an upload ends over HTTP: completed, cancelled or too late; what is refused then, and what is left of it."""

from __future__ import annotations

import openai
import pytest
from tests.fakes import Clock
from tests.server._serving import serving

from holdall import FileStore
from holdall.backends.memory import MemoryBackend
from holdall.server import Keys, Quota, create_app
from holdall.server._places import PREFIX
from holdall.wrappers import Prefixed

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
    for number, message in ((10_001, "at most 10000"), (10_000, "no such part")):
        many = [f"part_{n:032x}" for n in range(number)]
        assert message in server.refused(server.sdk.uploads.complete, upload.id, part_ids=many)
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
