"""Successful creates: what create returns, and what it leaves unchanged. For failures, see `_create_failures`."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import tempfile
import time
from typing import Any

from holdall.conformance._kit import Kit, broken, elsewhere, expect, expect_error, expect_exactly, fields_of
from holdall.conformance._registry import check
from holdall.conformance._sources import Observed, OnlyRead, kinds_of
from holdall.conformance.checks import _create_failures  # noqa: F401 - registers its checks
from holdall.errors import FileNotFound
from holdall.model import FilePurpose

SIZE = 300_000
LARGE = 2 * 1024 * 1024 + 1
CLOCK_SKEW_SECONDS = 5


@check("create.returns_complete_info")
def returns_complete_info(kit: Kit) -> None:
    """With every argument, with none, and with every purpose; compared with the arguments and with get."""
    data = kit.noise(5000)
    metadata = {"user": "ü-1", "tags": ["a", "b"], "n": 2**60}
    full = kit.store.create(
        "Bericht 1.pdf",
        data,
        purpose="fine-tune",
        content_type="application/pdf",
        expires_after=86_400,
        metadata=metadata,
    )
    given = {
        "object": "file",
        "filename": "Bericht 1.pdf",
        "purpose": "fine-tune",
        "bytes": 5000,
        "status": "uploaded",
        "expires_at": full.created_at + 86_400,
        "content_type": "application/pdf",
        "sha256": hashlib.sha256(data).hexdigest(),
        "metadata": metadata,
    }
    for name, value in given.items():
        expect_exactly(getattr(full, name), value, f"create(…, with every argument).{name}")
    bare = kit.store.create("x.json", b"", purpose="assistants")
    for name in ("expires_at", "content_type", "metadata"):
        expect(getattr(bare, name), None, f"create(… without {name}).{name}")
    lasting = kit.put(expires_after=dt.timedelta(days=1, seconds=9))
    expect(lasting.expires_at, lasting.created_at + 86_409, "create(…, expires_after=a day and 9 seconds).expires_at")
    purposes = [kit.put(purpose=purpose) for purpose in (*FilePurpose, "of-my-own")]
    for file, purpose in zip(purposes, (*FilePurpose, "of-my-own"), strict=True):
        expect(str(file.purpose), str(purpose), f"create(…, purpose={str(purpose)!r}).purpose")
    other = kit.open()
    for file in (full, bare, lasting, *purposes):
        expect_exactly(fields_of(other.get(file.id)), fields_of(file), f"create, then get({file.id}) from a new handle")


@check("create.checksum_matches")
def checksum_matches(kit: Kit) -> None:
    """Computed here from the source, and from what a new handle returns."""
    for size in (0, 1, 65_536, 65_537, SIZE):
        data = kit.noise(size)
        right = hashlib.sha256(data).hexdigest()
        for name, make in kinds_of(data).items():
            file = kit.put(make())
            other = kit.open()
            did = f"of {size} bytes from {name}"
            expect(file.sha256, right, f"create().sha256 {did}")
            expect(other.get(file.id).sha256, right, f"get().sha256 {did}")
            expect(hashlib.sha256(other.get_content(file.id)).hexdigest(), right, f"the SHA-256 of get_content {did}")
    data = kit.noise(LARGE)
    expect(kit.put(OnlyRead(data)).sha256, hashlib.sha256(data).hexdigest(), f"create().sha256 of {LARGE} bytes")


@check("create.same_bytes_two_ids")
def same_bytes_two_ids(kit: Kit) -> None:
    """Identical files; the first or the second is deleted, and a third is created."""
    for size in (0, 10, SIZE):
        data = kit.noise(size)
        for victim in (0, 1):
            twins = [kit.put(data, metadata={"same": 1}, store=kit.open()) for _ in range(2)]
            did = f"create the same {size} bytes twice"
            if twins[0].id == twins[1].id:
                raise broken(did, "two ids", twins[0].id)
            kit.open().delete(twins[victim].id)
            did += f", delete the {('first', 'second')[victim]}"
            survivor, other = twins[1 - victim], kit.open()
            expect(other.get_content(survivor.id), data, f"{did}, get_content of the other")
            expect(other.get(survivor.id).bytes, size, f"{did}, get the other, bytes")
            expect_error(FileNotFound, f"{did}, get it", lambda i=twins[victim].id: kit.open().get(i))  # type: ignore[misc]
            third = kit.put(data, metadata={"same": 1})
            listed = kit.listed()
            expect([i for i in (twins[victim].id, survivor.id, third.id) if i in listed], [survivor.id, third.id], did)
            expect(kit.open().get_content(third.id), data, f"{did}, create it again, get_content")
    _nearly_the_same(kit)


def _nearly_the_same(kit: Kit) -> None:
    data = kit.noise(SIZE)
    contents = [data, *(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :] for at in (SIZE // 2, 0, SIZE - 1))]
    files = [kit.put(content) for content in contents]
    for file, content in zip(files, contents, strict=True):
        did = f"create four files of {SIZE} bytes that differ in one of them, get_content"
        expect(kit.open().get_content(file.id), content, did)


@check("create.does_not_close_or_rewind_source")
def does_not_close_or_rewind_source(kit: Kit) -> None:
    """Sources positioned in the middle, which record other calls; also when create fails."""
    data = kit.noise(SIZE)
    source = Observed(data, position=1000)
    file = kit.put(source)
    expect(kit.store.get_content(file.id), data[1000:], "create from a file that stands at 1000, then get_content")
    expect(source.done, [], "create from a file, then see what was done to it besides reading")
    expect(source.tell(), SIZE, "create from a file, then tell()")
    failures: dict[str, dict[str, Any]] = {
        "dying": {},
        "too large": {"max_bytes": 1000},
        "too short": {"expected_bytes": SIZE + 1},
    }
    for name, options in failures.items():
        source = Observed(data, dies=name == "dying")
        did = f"create that fails ({name})"
        # Other checks verify that it fails.
        with contextlib.suppress(Exception):
            kit.put(source, **options)
        expect(source.done, [], f"{did}, then see what was done to the source besides reading")
    with tempfile.TemporaryFile() as opened:
        opened.write(data)
        opened.seek(SIZE - 10)
        file = kit.put(opened)
        expect(kit.store.get_content(file.id), data[-10:], "create from a file on disk that stands near its end")
        expect(opened.closed, False, "create from a file on disk, then closed")
        expect(opened.tell(), SIZE, "create from a file on disk, then tell()")
    array = bytearray(data)
    kit.put(array)
    try:
        array.append(0)
    except BufferError as error:
        raise broken(
            "create from a bytearray, then append to it", "no error: it is the caller's again", error
        ) from error


@check("create.created_at_is_utc_and_monotone_enough")
def created_at_is_utc_and_monotone_enough(kit: Kit) -> None:
    """In another time zone, through two handles in turn; read again in the next second."""
    handles = (kit.store, kit.open())
    with elsewhere():
        earliest = int(time.time()) - CLOCK_SKEW_SECONDS
        files = [kit.put(store=handles[n % 2]) for n in range(30)]
        latest = int(time.time()) + CLOCK_SKEW_SECONDS
        other = kit.open()
        for file in files:
            if type(file.created_at) is not int or not earliest <= file.created_at <= latest:
                raise broken(
                    "create().created_at",
                    f"whole Unix seconds in UTC, between {earliest} and {latest}",
                    repr(file.created_at),
                )
        times = [f.created_at for f in files]
        expect(times, sorted(times), "created_at of 30 files created one after another, by two handles in turn")
        while int(time.time()) <= times[-1]:
            time.sleep(0.01)
        expect([other.get(f.id).created_at for f in files], times, "created_at by get, a second later")
        listed = {f.id: f.created_at for f in other.list()}
        expect([listed.get(f.id) for f in files], times, "created_at by list, a second later")
