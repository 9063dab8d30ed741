"""`Prefixed`: several stores in one storage that see nothing of each other."""

from __future__ import annotations

from typing import get_args

import pytest
from tests.fakes import Clock

from holdall import FileStore
from holdall.backend import Debris
from holdall.backends.local import LocalBackend
from holdall.backends.memory import MemoryBackend
from holdall.errors import FileNotFound, InvalidRequest, StorageError
from holdall.wrappers import Fault, Faulty, Prefixed, Verb, Wrapper

UUID = "0" * 32


def fill(backend, *ids):
    for file_id in ids:
        with backend.stage(file_id) as staged:
            staged.publish(b"{}")


def test_prefixes_keep_stores_apart_and_are_no_part_of_the_ids_outside():
    """Each sees its own files only, under ids that holdall minted, even where one prefix begins the other."""
    inner = MemoryBackend()
    stores = {name: FileStore(Prefixed(inner, name)) for name in ("a", "ab", "a-b", "b")}
    files = {name: [store.create(name, b"x", purpose="user_data") for _ in range(2)] for name, store in stores.items()}

    for name, store in stores.items():
        assert list(store) == files[name]
        for other in stores:
            if other != name:
                with pytest.raises(FileNotFound):
                    store.delete(files[other][0].id)
    assert sorted(inner.list_ids()) == sorted(f"file-{n}_{f.id[5:]}" for n, both in files.items() for f in both)


def test_a_store_on_the_storage_itself_has_nothing_of_those_with_a_prefix(caplog):
    """Not in listings, not by id, not damaged when verified, not swept, and without a word in the log; prefixes within
    prefixes neither.
    """
    inner = MemoryBackend()
    root, clock = FileStore(inner), Clock()
    deep = FileStore(Prefixed(Prefixed(inner, "a"), "b"), clock=clock)
    theirs = deep.create("a", b"x", purpose="user_data", expires_after=1)
    [inside] = inner.list_ids()

    for store in (root, FileStore(Prefixed(inner, "a"))):
        [seen] = store.backend.list_ids()
        assert list(store) == []
        assert store.list(order="desc").data == []
        for call in (store.get, store.get_content, store.open, store.delete):
            with pytest.raises(FileNotFound):
                call(seen)
        assert store.verify().files == 0
        assert store.verify().ok
        clock.now += 10
        assert FileStore(store.backend, clock=clock).sweep(older_than=0).expired == ()
    assert inside == f"file-a_b_{theirs.id[5:]}"
    assert caplog.text == ""
    assert deep.sweep().expired == (theirs.id,)


def test_a_prefixed_store_does_not_see_what_has_no_prefix_or_no_valid_id_without_it():
    """Neither plain entries, nor what would be no id once the prefix is taken away."""
    inner = MemoryBackend()
    fill(inner, f"file-{UUID}", "file-t-1", "file-t`1", "file-t_", f"file-t_{'A' * 32}", "file-t_1")

    assert list(Prefixed(inner, "t").list_ids()) == ["file-1"]


@pytest.mark.parametrize("after", [None, "", "a", "file", "file-", "file-3", "file-35", "file-9", "file-~", "g", "~"])
@pytest.mark.parametrize("before", [None, "", "a", "file", "file-", "file-3", "file-35", "file-9", "file-~", "g", "~"])
def test_bounds_of_a_listing_mean_the_same_with_and_without_a_prefix(after, before):
    """Any text is a bound, and cuts the ids of a prefixed store exactly as it cuts those of a plain one."""
    ids = [f"file-{n}" for n in (1, 3, 5, 9, "A", "_", "a", "z")]
    plain, shared = MemoryBackend(), MemoryBackend()
    fill(plain, *ids)
    for prefix in ("s", "t", "u"):
        fill(Prefixed(shared, prefix), *ids)

    assert list(Prefixed(shared, "t").list_ids(after, before)) == list(plain.list_ids(after, before))


@pytest.mark.parametrize("prefix", ["", "A", "a_b", "-a", "a-", "a/b", "a.b", "ä", "a" * 33, "a\n", "file-"])
def test_what_could_be_mistaken_for_another_is_no_prefix(prefix):
    """A prefix is safe in a name everywhere, and cannot contain what ends it."""
    with pytest.raises(InvalidRequest, match="cannot be a prefix"):
        Prefixed(MemoryBackend(), prefix)


def test_an_id_that_has_no_room_for_the_prefix_is_absent_and_cannot_be_created():
    """The longest ids belong to other stores: they are not found, left out of listings, and refused when writing."""
    backend = Prefixed(MemoryBackend(), "tenant")
    fits, too_long = f"file-{'x' * 121}", f"file-{'x' * 122}"
    fill(backend, fits)

    assert [file_id for file_id, _ in backend.read_metas([too_long, fits, too_long])] == [fits]
    with pytest.raises(FileNotFound):
        backend.read_meta(too_long)
    with pytest.raises(FileNotFound):
        backend.remove(too_long)
    with pytest.raises(StorageError, match="too long"):
        backend.stage(too_long)


def _staged(use):
    def call(backend, file_id):
        with backend.stage(file_id) as staged:
            use(staged)

    return call


CALLS = {
    "stage": lambda backend, file_id: backend.stage(file_id),
    "write": _staged(lambda staged: staged.write(b"x")),
    "publish": _staged(lambda staged: staged.publish(b"{}")),
    "discard": _staged(lambda staged: None),
    "read_meta": lambda backend, file_id: backend.read_meta(file_id),
    "read_metas": lambda backend, file_id: list(backend.read_metas([file_id])),
    "open_data": lambda backend, file_id: backend.open_data(file_id),
    "read": lambda backend, file_id: backend.open_data(file_id).read(),
    "list_ids": lambda backend, file_id: list(backend.list_ids()),
    "listing_version": lambda backend, file_id: backend.listing_version(),
    "remove": lambda backend, file_id: backend.remove(file_id),
    "debris": lambda backend, file_id: list(backend.debris()),
    "discard_debris": lambda backend, file_id: backend.discard_debris(Debris("x", "stray file", file_id, 1, 0.0)),
    "signed_url": lambda backend, file_id: backend.signed_url(file_id, 60),
    "local_path": lambda backend, file_id: backend.local_path(file_id),
    "close": lambda backend, file_id: backend.close(),
}


@pytest.mark.parametrize("verb", get_args(Verb))
def test_errors_name_the_id_that_the_caller_knows(verb):
    """Whatever fails in the storage, no prefix shows, except in a path."""
    inner, file_id, id_inside = MemoryBackend(), f"file-{UUID}", f"file-t_{UUID}"
    if verb == "read":
        fill(Prefixed(inner, "t"), file_id)
    error = StorageError(f"cannot use {id_inside} in /srv/{id_inside}/data.bin", file_id=id_inside)
    backend = Prefixed(Faulty(inner, [Fault(verb, error)]), "t")

    with pytest.raises(StorageError) as caught:
        CALLS[verb](backend, file_id)
    assert str(caught.value) == f"cannot use {file_id} in /srv/{id_inside}/data.bin"
    assert caught.value.file_id == file_id


def test_an_absent_file_is_named_as_the_caller_knows_it():
    """No prefix shows."""
    with pytest.raises(FileNotFound, match=r"no file file-1$"):
        Prefixed(MemoryBackend(), "t").remove("file-1")


def test_a_stream_that_is_closed_closes_the_one_in_the_storage(tmp_path):
    """Nothing waits for the garbage collector."""
    inner = LocalBackend(tmp_path, fsync=False)
    fill(Prefixed(inner, "t"), "file-1")
    streams = []

    class Kept(Wrapper):
        def open_data(self, *args):
            streams.append(super().open_data(*args))
            return streams[-1]

    Prefixed(Kept(inner), "t").open_data("file-1").close()

    assert [stream.closed for stream in streams] == [True]


def test_a_prefixed_sweep_takes_its_own_leftovers_and_no_others(tmp_path):
    """What died under another prefix, or cannot be told, is not seen and not removed."""
    inner = LocalBackend(tmp_path, fsync=False)
    for name in ("file-a_1", "file-b_1", "file-1"):
        (tmp_path / name).mkdir()
    (tmp_path / ".staging").mkdir()
    (tmp_path / ".staging" / "stray").mkdir()

    swept = FileStore(Prefixed(inner, "a")).sweep(older_than=0).leftovers

    assert [d.file_id for d in swept] == ["file-1"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [".staging", "file-1", "file-b_1"]
