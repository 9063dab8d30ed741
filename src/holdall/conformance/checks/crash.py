"""Killed processes: acknowledged files exist, and what was in progress is complete or absent."""

from __future__ import annotations

import time
from collections.abc import Callable

from holdall.backend import Capability
from holdall.conformance._kit import Kit, NotChecked, broken, elsewhere, expect, show
from holdall.conformance._process import Nursery, Outcome
from holdall.conformance._registry import check
from holdall.errors import FileNotFound, HoldallError
from holdall.upkeep import DEFAULT_GRACE_SECONDS

OUTLIVING = Capability.PERSISTENT | Capability.SHARED
MOST_KILLS = 40
SIZE = 20_000
# More than a usual buffer of 8 KiB, then a chunk that stays in it: publishing before it is flushed would lose data.
CHUNKS = [SIZE, 1000]
SMALL = [100]
# Growth of the storage from which on leftovers must account for it: less may be the storage's own bookkeeping.
GROWTH = 100_000
# Time zones differ by an hour or more, so a local time is further off than any clock.
_CLOCKS_APART = DEFAULT_GRACE_SECONDS / 2


class _Leftovers:
    """The leftovers of killed processes according to `debris`, checked repeatedly: they must not change any more."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        # If the storage's clock differed by more, leftovers would be swept too soon, or never.
        self._earliest = time.time() - _CLOCKS_APART
        self._changed: dict[str, float] = {}
        self._used = self._used_bytes()

    def look(self, did: str) -> None:
        """Leftovers changed after the check began, but not since they were first seen, and report the
        space they use.
        """
        new = []
        with elsewhere(), self._kit.open() as store:
            found = list(store.backend.debris())
        for debris in found:
            what = f"of the leftover {debris.name} ({debris.kind}) {did}"
            latest = time.time() + _CLOCKS_APART
            if not self._earliest <= debris.modified_at <= latest:
                saw = f"{debris.modified_at}, where it is {time.time():.0f} now"
                raise broken(f"modified_at {what}", "a time since the check began", saw)
            if debris.name not in self._changed:
                new.append(debris.bytes)
            expect(debris.modified_at, self._changed.setdefault(debris.name, debris.modified_at), f"modified_at {what}")
            if type(debris.bytes) is not int or debris.bytes < 0:
                raise broken(f"bytes {what}", "a number of bytes", debris.bytes)
        used, self._used = self._used, self._used_bytes()
        if new and not any(new) and self._used - used >= GROWTH:
            grown = f"0, where the storage holds {self._used - used} bytes more than before"
            raise broken(f"bytes of {len(new)} new leftovers {did}", "the space they take", grown)

    def _used_bytes(self) -> int:
        try:
            return self._kit.raw.used_bytes()
        except (NotChecked, NotImplementedError):
            return 0


def _points(outcome: Outcome, did: str) -> list[int]:
    """Where to kill: at every point, or at forty points spread over them."""
    if outcome.error:
        raise broken(f"{did} in another process", "no error", outcome.error)
    total = outcome.value("points") or 0
    if not total:
        raise NotChecked(f"{did} made no call that could be interrupted")
    if total <= MOST_KILLS:
        return list(range(1, total + 1))
    return sorted({1 + n * (total - 1) // (MOST_KILLS - 1) for n in range(MOST_KILLS)})


def _kill(nursery: Nursery, task: str, url: str, **arguments: int | str | list[int]) -> Outcome:
    outcome = nursery.one(task, url, **arguments)
    if not outcome.killed and outcome.error:
        raise broken(f"{task} in another process", "no error", outcome.error)
    return outcome


def _survivors(kit: Kit, known: dict[str, bytes], did: str, may_appear: bytes) -> None:
    """Everything known is intact; at most one more file exists, is intact, and is added to `known`."""
    store = kit.open()
    listed = [f.id for f in store.list()]
    for file_id in known:
        expect(file_id in listed, True, f"an earlier file is listed, {did}")
    new = [file_id for file_id in listed if file_id not in known]
    if len(new) > 1:
        raise broken(did, "at most one new file", f"{len(new)} new files")
    for file_id in new:
        try:
            content = store.get_content(file_id)
        except HoldallError as error:
            raise broken(f"get_content of a file that is listed {did}", "all of it", error) from error
        expect(content, may_appear, f"get_content of a file that is listed {did}")
        known[file_id] = may_appear
    for file_id, data in list(known.items())[:1]:
        expect(store.get_content(file_id), data, f"get_content of an earlier file, {did}")
    problems = store.verify().problems
    if problems:
        raise broken(f"verify() {did}", "no problem", problems[0].detail)
    store.close()


def _swept(kit: Kit, did: str) -> None:
    store = kit.open()
    before = kit.listed()
    found = list(store.backend.debris())
    # Discarding leftovers must not harm an upload in progress.
    with store.begin("alive", purpose="batch") as upload:
        upload.write(b"alive")
        for debris in found:
            store.backend.discard_debris(debris)
        try:
            alive = upload.finish().id
        except HoldallError as error:
            raise broken(
                f"begin an upload, discard_debris of {len(found)}, finish, {did}", "no error", error
            ) from error
    expect(store.get_content(alive), b"alive", f"get_content of an upload during which debris was discarded, {did}")
    store.delete(alive)
    store.sweep(older_than=0)
    for debris in found:
        try:
            store.backend.discard_debris(debris)
        except HoldallError as error:
            raise broken(f"discard_debris of what is gone already, {did}", "nothing happens", error) from error
    expect(kit.listed(), before, f"list() after sweep, {did}")
    left = [d.name for d in store.backend.debris()]
    expect(left, [], f"leftovers that sweep(older_than=0) leaves, {did}")
    kept = kit.leftovers()
    if kept is not None:
        expect(kept, [], f"leftovers in the storage after sweep(older_than=0), {did}")


@check("crash.create_killed_anywhere_is_all_or_nothing", needs=OUTLIVING)
def create_killed_anywhere_is_all_or_nothing(kit: Kit) -> None:
    """Killed before each call that acts on the storage, with a file of two chunks and a small one; and between the
    chunks of a longer upload.
    """
    known = {kit.put(data).id: data for data in (b"was there before", b"")}
    left = _Leftovers(kit)
    with Nursery(kit.target) as nursery:
        for sizes in (CHUNKS, SMALL):
            data = b"x" * sum(sizes)
            dry = nursery.one("create_killed", kit.url, at=0, sizes=sizes)
            points = _points(dry, "create")
            known[dry.value("id")] = data
            if sizes == SMALL:
                # A small file may be stored in a different way, which differs at its end.
                points = points[-len(points) // 3 :]
            for at in points:
                outcome = _kill(nursery, "create_killed", kit.url, at=at, sizes=sizes)
                did = f"after a process was killed at step {at} of {points[-1]} of create of {len(data)} bytes"
                _survivors(kit, known, did, data)
                if not outcome.killed:
                    expect(outcome.value("id") in known, True, "a file whose create returned is listed")
                if at in {points[len(points) // 2], *points[-2:]}:
                    left.look(did)
        for after in (0, 10_000, 300_000):
            _kill(nursery, "create_while_killed_reading", kit.url, after=after, size=400_000)
            _survivors(kit, known, f"after a process was killed when {after} bytes were uploaded", b"y" * 400_000)
        left.look("after processes were killed that uploaded")
    _swept(kit, "after processes were killed in create")


@check("crash.delete_killed_anywhere_is_all_or_nothing", needs=OUTLIVING)
def delete_killed_anywhere_is_all_or_nothing(kit: Kit) -> None:
    """Killed before each call that acts on the storage."""
    data = kit.noise(SIZE)
    known = {kit.put(content).id: content for content in (b"was there before", b"")}
    left = _Leftovers(kit)
    new: Callable[[], str] = lambda: kit.put(data).id  # noqa: E731 - a short helper
    with Nursery(kit.target) as nursery:
        points = _points(nursery.one("delete_killed", kit.url, at=0, file_id=new()), "delete")
        for at in points:
            file_id = new()
            outcome = _kill(nursery, "delete_killed", kit.url, at=at, file_id=file_id)
            did = f"after a process was killed at step {at} of {points[-1]} of delete"
            there = _whole_or_gone(kit, file_id, data, did)
            if not outcome.killed:
                expect(there, False, "a file whose delete returned is there")
            if there:
                # Closed, so that nothing is pending to be erased while leftovers are examined.
                with kit.open() as store:
                    store.delete(file_id)
            _survivors(kit, known, did, data)
            if at in {points[len(points) // 2], *points[-2:]}:
                left.look(did)
    _swept(kit, "after processes were killed in delete")


def _whole_or_gone(kit: Kit, file_id: str, data: bytes, did: str) -> bool:
    store = kit.open()
    try:
        content = store.get_content(file_id)
    except FileNotFound:
        expect(file_id in [f.id for f in store.list()], False, f"a file that is gone is listed, {did}")
        if Capability.EXACT_LISTING in kit.capabilities:
            kit.settle()
            expect(file_id in list(store.backend.list_ids()), False, f"backend.list_ids() yields what is gone, {did}")
        return False
    except HoldallError as error:
        raise broken(f"get_content {did}", "all of it, or FileNotFound", show(error)) from error
    finally:
        store.close()
    expect(content, data, f"get_content {did}")
    expect(file_id in kit.listed(), True, f"a file that can be read is listed, {did}")
    return True


@check("crash.acknowledged_create_is_there", needs=OUTLIVING)
def acknowledged_create_is_there(kit: Kit) -> None:
    """Killed right after create has returned, with small and large files."""
    kit.store  # noqa: B018 - creates the location before the processes open it
    with Nursery(kit.target) as nursery:
        for size in filter(kit.fits, (0, 100, 70_000, 3_000_000)):
            outcome = nursery.one("create_and_die", kit.url, size=size)
            did = f"get_content of a file of {size} bytes whose process was killed right after create returned"
            file_id = outcome.value("id")
            if file_id is None:
                raise broken("create in another process", "an id", outcome.error or "nothing")
            with kit.open() as store:
                try:
                    content = store.get_content(file_id)
                except HoldallError as error:
                    raise broken(did, f"{size} bytes", error) from error
                expect(len(content), size, f"the length of {did}")
                expect(store.get(file_id).sha256, outcome.value("sha256"), "its sha256")
                expect(store.verify().problems, (), "verify()")
            expect(file_id in kit.listed(), True, "it is listed")
