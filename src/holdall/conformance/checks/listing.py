"""Listings: every file once, in a single order, whatever changes between two pages."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from holdall.conformance._entries import (
    minted,
    minted_ago,
    pages_of,
    plant,
    position,
    quietly,
    same_ids,
    same_pages,
)
from holdall.conformance._kit import Kit, broken, expect, expect_error
from holdall.conformance._registry import check
from holdall.errors import InvalidRequest
from holdall.model import FileObject, FilePage
from holdall.store import FileStore

FOREIGN = ("file-Zebra", "file-abc", "file-abc-1", "file-abc_1", "file-0", "file-z9", "file-AbC")
PURPOSES = ("batch", "fine-tune", "user_data", "my-own")


def _make(kit: Kit, count: int, **options: Any) -> list[FileObject]:
    """Files created through two handles in turn, in the order of listings."""
    handles = (kit.store, kit.open())
    files = [kit.put(b"%d" % n, f"{n}.txt", handles[n % 2], **options) for n in range(count)]
    kit.settle()
    return sorted(files, key=position)


def _ids(files: FilePage | Sequence[FileObject]) -> list[str]:
    return [f.id for f in files]


@check("list.empty")
def empty(kit: Kit) -> None:
    """Every way to list a new location."""
    for store in (kit.store, kit.open()):
        for options in ({}, {"limit": 1}, {"order": "desc"}, {"purpose": "batch"}, {"order": "desc", "limit": 10_000}):
            page = store.list(**options)
            saw = (list(page.data), page.has_more, page.first_id, page.last_id)
            expect(
                saw, ([], False, None, None), f"list(**{options}) of a new location: data, has_more, first_id, last_id"
            )
        expect(list(store), [], "iterating a store on a new location")
        expect(list(store.backend.list_ids()), [], "backend.list_ids() of a new location")
        expect(list(store.backend.read_metas(iter(()))), [], "backend.read_metas of no ids")


@check("list.pages_cover_exactly_once")
def pages_cover_exactly_once(kit: Kit) -> None:
    """Thirteen files in pages of 1, 2, 3, 12, 13 and 14; then the backend's own `after`."""
    expected = _ids(_make(kit, 13))
    store = kit.open()
    same_ids(_ids(store.list()), expected, "list() of 13 files")
    same_ids([f.id for f in store], expected, "iterating the store of 13 files")
    for limit in (1, 2, 3, 12, 13, 14, 10_000):
        same_pages(store, limit, expected)
    for n, after in enumerate(expected):
        found = [i for i in store.backend.list_ids(after=after) if i in expected]
        same_ids(found, expected[n + 1 :], f"backend.list_ids(after=<id number {n} of 13>)")


@check("list.more_than_1000")
def more_than_1000(kit: Kit) -> None:
    """1003 files, created from eight threads, listed completely and by pages; iterated over while some are deleted."""
    count, threads = 1003, 8
    numbers = iter(range(count))
    lock = threading.Lock()

    def fill(store: FileStore) -> list[str]:
        made: list[str] = []
        while True:
            with lock:
                n = next(numbers, None)
            if n is None:
                return made
            made.append(kit.put(b"%d" % n, f"{n}.txt", store).id)

    with ThreadPoolExecutor(threads) as pool:
        expected = sorted(itertools.chain(*pool.map(fill, [kit.open() for _ in range(threads)])))
    kit.settle()
    store = kit.open()
    same_ids(_ids(store.list()), expected, f"list() of {count} files")
    same_ids([f.id for f in store], expected, f"iterating a store of {count} files")
    for limit in (1000, 500):
        same_pages(store, limit, expected)
    same_pages(store, 1000, expected[::-1], order="desc")
    for after, before in ((None, "file-~"), ("file-", None), ("file-", "file-~")):
        saw = list(store.backend.list_ids(after, before))
        same_ids(saw, expected, f"backend.list_ids({after!r}, {before!r}) of {count} files")
    # Lazily, as a sweep does.
    saw = [file_id for file_id, _ in store.backend.read_metas(store.backend.list_ids())]
    same_ids(saw, expected, f"backend.read_metas(backend.list_ids()) of {count} files")
    # A listing that continues by offset skips as many entries as were deleted.
    walk = store.backend.list_ids()
    saw = [next(walk) for _ in range(50)]
    for file_id in saw[:3]:
        kit.store.delete(file_id)
    saw += walk
    did = f"iterating backend.list_ids() of {count} files, of which the first 3 are deleted meanwhile"
    same_ids(saw, expected, did)
    # Exactly a thousand entries: a server's full response is followed by an empty one.
    kit.settle()
    left = dict.fromkeys(expected[3:])
    same_ids([i for i in store.backend.list_ids() if i in left], left, f"backend.list_ids() of {len(left)} files")


@check("list.order_is_stated_and_stable")
def order_is_stated_and_stable(kit: Kit) -> None:
    """Files of one second, then older ones, then ones with ids of other programs; through three handles."""
    files = _make(kit, 20)
    # Planted newest first, so that the order of arrival differs from the order of the list.
    files += [plant(kit.store, i, created_at=at) for i, at in reversed(minted_ago())]
    kit.settle()
    _same_order(kit, files, "20 files and older ones that came later")
    second = files[0].created_at - 3
    files += [plant(kit.store, i, created_at=second - n % 3) for n, i in enumerate(FOREIGN)]
    kit.settle()
    _same_order(kit, files, "files of which some have ids from elsewhere")


def _same_order(kit: Kit, files: list[FileObject], what: str) -> None:
    files.sort(key=position)
    for store in (kit.store, kit.open(), kit.open()):
        same_ids(_ids(store.list()), _ids(files), f"list() of {what}, by (created_at, id)")
        saw = [i for i in store.backend.list_ids() if i in set(_ids(files))]
        same_ids(saw, sorted(_ids(files)), f"backend.list_ids() of {what}, ascending as text")
    same_pages(kit.store, 7, _ids(files))


@check("list.reverse_is_exact_reverse")
def reverse_is_exact_reverse(kit: Kit) -> None:
    """Recent files and files of months ago, by pages; then the backend's own `before`; then ids of other programs."""
    files = _make(kit, 9) + [plant(kit.store, i, created_at=at) for i, at in reversed(minted_ago())]
    kit.settle()
    files.sort(key=position)
    expected = _ids(files)
    store = kit.open()
    same_ids(_ids(store.list(order="desc")), expected[::-1], f'list(order="desc") of {len(files)} files')
    for limit in (1, 2, 7, len(files) - 1, len(files), len(files) + 1):
        same_pages(store, limit, expected[::-1], order="desc")
    for n, before in enumerate(expected):
        found = [i for i in store.backend.list_ids(before=before) if i in expected]
        same_ids(found, expected[:n], f"backend.list_ids(before=<id number {n} of {len(expected)}>)")
    for low, high in ((0, 5), (3, 4), (4, 9), (2, len(expected) - 1)):
        found = [i for i in store.backend.list_ids(expected[low], expected[high]) if i in expected]
        same_ids(found, expected[low + 1 : high], f"backend.list_ids(<id number {low}>, <id number {high}>)")
    files += [plant(kit.store, i, created_at=files[-1].created_at) for i in FOREIGN[:3]]
    kit.settle()
    files.sort(key=position, reverse=True)
    same_pages(kit.open(), 7, _ids(files), order="desc")


@check("list.cursor_survives_delete")
def cursor_survives_delete(kit: Kit) -> None:
    """The last file of a page is deleted before the next page is requested; alone, with neighbours, and with all."""
    expected = _ids(_make(kit, 12))
    for order, ids in (("asc", list(expected)), ("desc", expected[::-1])):
        pager = kit.open()
        first = pager.list(limit=3, order=order)
        same_ids(_ids(first), [i for i in ids if i in expected][:3], f"list(limit=3, order={order!r})")
        cursor = first.data[-1].id
        kit.store.delete(cursor)
        expected.remove(cursor)
        kit.settle()
        rest = [i for i in ids[ids.index(cursor) + 1 :] if i in expected]
        for store in (pager, kit.open()):
            page = store.list(limit=3, after=cursor, order=order)
            same_ids(_ids(page), rest[:3], f"list(limit=3, order={order!r}, after=<id just deleted>)")
        same_pages(kit.open(), 2, rest, order=order, after=cursor)
    cursor = expected[3]
    for file_id in expected[2:6]:
        kit.store.delete(file_id)
    kit.settle()
    same_ids(_ids(kit.open().list(after=cursor)), expected[6:], "list(after=<id deleted with its neighbours>)")
    # Ids of files just deleted may still be listed, so only existing ones are compared.
    for bound, wanted in (("before", expected[:2]), ("after", expected[6:])):
        named = [i for i in kit.open().backend.list_ids(**{bound: cursor}) if i in (*expected[:2], *expected[6:])]
        same_ids(named, wanted, f"backend.list_ids({bound}=<id deleted with its neighbours>)")
    foreign = plant(kit.store, "file-elsewhere", created_at=1)
    kit.settle()
    same_ids(_ids(kit.open().list(after=cursor)), expected[6:], "list(after=<deleted id>) with an id from elsewhere")
    same_ids(_ids(kit.open().list(after=foreign.id, limit=2)), expected[:2], "list(after=<id from elsewhere>, limit=2)")
    for file_id in (*expected[:2], *expected[6:], foreign.id):
        kit.store.delete(file_id)
    kit.settle()
    page = kit.open().list(after=cursor)
    expect((list(page.data), page.has_more), ([], False), "list(after=<deleted id>) when all is deleted")


@check("list.insert_during_walk_no_dup_no_loss")
def insert_during_walk_no_dup_no_loss(kit: Kit) -> None:
    """Files appear before and after the current position of a listing, in both directions."""
    expected = _ids(_make(kit, 12))
    other = kit.open()
    base = int(time.time()) - 50_000
    fresh = iter(range(1000))

    def insert() -> None:
        # One at the very start of the order, one at its end.
        n = next(fresh)
        plant(other, minted((base - n) * 1000), created_at=base - n)
        kit.put(b"late", store=other)

    for order, ids in (("asc", expected), ("desc", expected[::-1])):
        saw: list[str] = []
        for page in pages_of(kit.store, 3, 40, order=order):
            saw += _ids(page)
            if len(saw) < 30:
                insert()
        _seen_once(saw, ids, f"list(limit=3, order={order!r}) with files created between the pages")
    for name, walk in (
        ("iterating the store", (f.id for f in kit.store)),
        ("iterating backend.list_ids()", kit.store.backend.list_ids()),
    ):
        saw = []
        for n, file_id in enumerate(walk):
            saw.append(file_id)
            if n < 4:
                insert()
        _seen_once(saw, expected, f"{name} with files created meanwhile")


def _seen_once(saw: list[str], kept: list[str], did: str) -> None:
    """These are all present, in order; others may be present, but none twice."""
    same_ids([i for i in saw if i in kept], kept, did)
    same_ids(saw, dict.fromkeys(saw), f"{did}: no id twice")


@check("list.delete_during_walk_no_error")
def delete_during_walk_no_error(kit: Kit) -> None:
    """Files already seen and files still to come are deleted during a listing."""
    expected = _ids(_make(kit, 30))
    other = kit.open()
    for order in ("asc", "desc"):
        kept = expected[:] if order == "asc" else expected[::-1]
        saw: list[str] = []
        for page in pages_of(kit.store, 3, 40, order=order):
            saw += _ids(page)
            # One before the current position, and one after it.
            for doomed in (saw[-2], *[i for i in kept if i not in saw][1:2]):
                if len(expected) > 22 and doomed in kept:
                    other.delete(doomed)
                    kept.remove(doomed)
                    expected.remove(doomed)
            kit.settle()
        same_ids(
            [i for i in saw if i in kept], kept, f"list(limit=3, order={order!r}) with files deleted between the pages"
        )
    for name in ("iterating the store", "iterating backend.list_ids()"):
        walk = (f.id for f in kit.store) if "store" in name else kit.store.backend.list_ids()
        saw = [next(walk, "nothing")]
        for doomed in (expected[0], expected[2], expected[-1]):
            other.delete(doomed)
            expected.remove(doomed)
        saw += walk
        same_ids([i for i in saw if i in expected], expected, f"{name} with files deleted meanwhile")
    swept = []
    for file_id, _ in kit.store.backend.read_metas(kit.store.backend.list_ids()):
        swept.append(file_id)
        # Deleted while iterating, as a sweep does.
        if file_id in expected[4:8]:
            kit.store.delete(file_id)
    same_ids(
        [i for i in swept if i in expected], expected, "iterating backend.read_metas, deleting some that it yields"
    )
    del expected[4:8]
    asked = [expected[0], expected[1], expected[2]]
    other.delete(expected[1])
    metas = [file_id for file_id, _ in kit.store.backend.read_metas(asked)]
    same_ids(metas, [asked[0], asked[2]], "backend.read_metas of three ids, the second of a deleted file")


@check("list.no_empty_page_with_more")
@quietly()
def no_empty_page_with_more(kit: Kit) -> None:
    """Few matches among many other, expired and damaged files; and pages that end exactly at the end."""
    now = int(time.time())
    matching = [kit.put(b"1", purpose="batch").id]
    for n, (file_id, at) in enumerate(minted_ago()):
        other: dict[str, Any] = ({"expires_at": now - 5}, {"meta": b"{damaged"}, {"purpose": "vision"})[n % 3]
        plant(kit.store, file_id, created_at=at, **{"purpose": "batch", **other})
    for n in range(40):
        kit.put(b"%d" % n, purpose="user_data")
    matching += [kit.put(b"2", purpose="batch").id, kit.put(b"3", purpose="batch").id]
    kit.settle()
    store = kit.open()
    for limit in (1, 2, 3, 4):
        for order in ("asc", "desc"):
            saw: list[str] = []
            for page in pages_of(store, limit, 50, purpose="batch", order=order):
                saw += _ids(page)
                did = (
                    f'list(purpose="batch", limit={limit}, order={order!r}) after {len(saw)} of {len(matching)} matches'
                )
                if not page.data:
                    raise broken(did, "a file on the page", f"none, has_more={page.has_more}")
                expect(page.has_more, len(saw) < len(matching), f"has_more of {did}")
    for limit in (1, 2, 100):
        page = store.list(purpose="evals", limit=limit)
        expect((_ids(page), page.has_more), ([], False), f'list(purpose="evals", limit={limit}), which none has')


@check("list.limit_bounds")
def limit_bounds(kit: Kit) -> None:
    """Zero, negative values, and one too many; in an empty location and in one that is not."""
    for files in (0, 3):
        if files:
            _make(kit, files)
        for limit in (0, -1, -(10**9), 10_001, 10**12):
            for options in ({}, {"order": "desc"}, {"purpose": "batch"}):
                did = f"list(limit={limit}, **{options}) of {files} files"
                expect_error(InvalidRequest, did, lambda: kit.store.list(limit=limit, **options))
    expect(len(kit.store.list(limit=10_000).data), 3, "list(limit=10000) of 3 files")
    expect(len(kit.store.list(limit=1).data), 1, "list(limit=1) of 3 files")


@check("list.bad_cursor")
def bad_cursor(kit: Kit) -> None:
    """Texts that are not ids, and ids whose position cannot be known."""
    cursors = ("", " ", "garbage", "0", "../../etc", "file-", "file-a b", "file-é", "file-" + "a" * 129, "file-a/b")
    unknown = ("file-neverseen", "file-" + "0" * 32, "file-" + "f" * 32)
    for what in ("an empty location", "three files", "three files and one with an id from elsewhere"):
        if what.startswith("three"):
            _make(kit, 3)
        if "elsewhere" in what:
            plant(kit.store, "file-elsewhere")
            kit.settle()
        for cursor in (*cursors, *unknown):
            for options in ({}, {"order": "desc"}, {"limit": 2}):
                did = f"list(after={cursor!r}, **{options}) of {what}"
                expect_error(InvalidRequest, did, lambda: kit.store.list(after=cursor, **options))


@check("list.filter_equals_filtering_all")
def filter_equals_filtering_all(kit: Kit) -> None:
    """Each of four purposes, by pages of every size, in both directions and both spellings."""
    handles = (kit.store, kit.open())
    pattern = (0, 1, 2, 2, 2, 2, 1, 0, 2, 3, 2, 2, 2, 1, 3, 2, 2)
    files = [kit.put(b"%d" % n, f"{n}.txt", handles[n % 2], purpose=PURPOSES[p]) for n, p in enumerate(pattern)]
    kit.settle()
    files.sort(key=position)
    store = kit.open()
    for purpose in (*PURPOSES, "fine_tune", "vision"):
        expected = [f.id for f in files if f.purpose == purpose.replace("fine_tune", "fine-tune")]
        same_ids(_ids(store.list(purpose=purpose)), expected, f"list(purpose={purpose!r})")
        for limit in (1, 2, 3, 100):
            for order, ids in (("asc", expected), ("desc", expected[::-1])):
                same_pages(store, limit, ids, purpose=purpose, order=order)


@check("list.other_handle_sees_create_and_delete")
def other_handle_sees_create_and_delete(kit: Kit) -> None:
    """A handle that has already listed observes another create and delete, many times within a second."""
    watcher = kit.open(remembering=True)  # as applications use it: caching must not hide changes
    settle = kit.store.backend.limits.settle_seconds
    expected = _ids(_make(kit, 3))
    _watch(watcher, expected, settle, "a first list() through a second handle")
    for n in range(20 if settle < 0.1 else 3):
        expected.append(kit.put(b"%d" % n, f"{n}.txt").id)
        _watch(watcher, expected, settle, f"create number {n} through one handle, list through another")
        kit.store.delete(expected.pop(0))
        # The number of files stays the same, to detect a cache that only compares the number.
        expected.append(kit.put(b"%d" % n, f"{n}.txt").id)
        _watch(watcher, expected, settle, f"delete and create number {n} through one handle, list through another")
    for file_id in list(expected):
        watcher.delete(file_id)
        expected.remove(file_id)
        _watch(kit.store, expected, settle, "delete through the second handle, list through the first")


def _watch(store: FileStore, expected: list[str], settle: float, did: str) -> None:
    """The listing equals this one, at once or within the declared time, in each way of requesting it."""
    deadline = time.monotonic() + settle
    while True:
        late = time.monotonic() >= deadline
        ways = {
            "list()": _ids(store.list()),
            "iterating": [f.id for f in store],
            'list(order="desc") reversed': _ids(store.list(order="desc"))[::-1],
            'list(purpose="user_data")': _ids(store.list(purpose="user_data", limit=10_000)),
        }
        if all(ids == expected for ids in ways.values()):
            return
        if late:
            for way, ids in ways.items():
                same_ids(ids, expected, f"{did}: {way}" + (f" {settle} s later" if settle else ""))
        time.sleep(settle / 20)
