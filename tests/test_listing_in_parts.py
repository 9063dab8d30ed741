"""All files of a storage that was listed before: in several listings at once, and no file less for it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests import fakes
from tests.test_listing import make

from holdall import FileStore, StorageUnavailable
from holdall.model import encode_meta


class Waiting(fakes.Recording):
    """A storage far away, whose listings each begin only once as many as `together` have been asked for."""

    quick = False

    def __init__(self, together=1):
        super().__init__()
        self.asked = []
        self.together = threading.Barrier(together)
        self.fails_after = None

    def list_ids(self, after=None, before=None):
        self.asked.append((after, before))
        if before is not None:
            self.together.wait(10)
        if self.fails_after is not None and after is not None and after >= self.fails_after:
            raise StorageUnavailable("cannot list: gone")
        return super().list_ids(after, before)


def many(store, count):
    """So many files, the last of them created last."""
    made = [make(store._minter.mint()[0]) for _ in range(count)]
    for file in made:
        store.backend.put(file.id, encode_meta(file))
    return made


def test_what_was_listed_before_is_listed_in_parts_at_once():
    """All parts are under way before one has to end; what came, went, or has an id from elsewhere is where it belongs."""
    store = FileStore(Waiting(together=4))
    files = many(store, 2100)
    assert list(store.list()) == files
    assert len(store.backend.asked) == 2, "nothing was known to divide it by"
    store.backend.asked.clear()
    gone = [files[0], files[1049], files[1050], files[-1]]
    for file in gone:
        store.backend.remove(file.id)
    files = [f for f in files if f not in gone] + many(store, 3)
    files.append(make("file-zzz", created_at=files[-1].created_at + 9))
    store.backend.put("file-zzz", encode_meta(files[-1]))

    assert list(store.list()) == files
    assert sum(before is not None for _, before in store.backend.asked) == 4


@pytest.mark.parametrize("options", [{"limit": 20}, {"order": "desc"}, {"after": True}], ids=str)
def test_only_all_files_upwards_are_listed_in_parts(options):
    """A page, or what follows a cursor, is not worth it."""
    store = FileStore(Waiting())
    files = many(store, 1100)
    store.list()
    store.backend.asked.clear()
    if "after" in options:
        options = {"after": files[-3].id}
    store.list(**options)
    assert not any(before and before.endswith(".") for _, before in store.backend.asked)


def test_a_part_that_fails_fails_the_listing():
    """Whichever it is: nothing is left out silently, and afterwards the store works."""
    store = FileStore(Waiting())
    files = many(store, 1100)
    store.list()
    for place in (540, 1090):
        store.backend.fails_after = files[place].id
        with pytest.raises(StorageUnavailable):
            store.list()
    store.backend.fails_after = None
    assert list(store.list()) == files


def test_without_threads_the_parts_are_one(monkeypatch):
    """While the interpreter exits no thread can be started, at whichever part: all files are listed all the same."""
    store = FileStore(Waiting())
    files = many(store, 1100)
    store.list()
    real, begun = ThreadPoolExecutor.submit, []

    def submit(self, *arguments):
        if len(begun) == most:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        begun.append(arguments)
        return real(self, *arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    for most in (0, 1):
        begun.clear()
        assert list(store.list()) == files
        assert len(begun) == most


def test_no_thread_is_left_by_a_listing_that_is_left():
    """Whoever stops early waits for what was begun, and for nothing else."""
    store = FileStore(Waiting())
    many(store, 1100)
    store.list()
    walk = store._walk(hint=None)
    next(walk)
    walk.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("holdall-list")]
