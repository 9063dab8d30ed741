"""What a store remembers of its files: it saves reading, and never shows what is not there."""

from __future__ import annotations

import pytest
from tests import fakes, strategies

import holdall
from holdall import Capability, CorruptMetadata, FileNotFound, FileStore, InvalidRequest
from holdall.backends.memory import MemoryBackend
from holdall.model import decode_meta, encode_meta

ordered = pytest.mark.parametrize("without", [Capability(0), Capability.ORDERED_LISTING], ids=["ordered", "unordered"])


def put(store, count=1, **options):
    return [store.create(f"{n}.txt", b"%d" % n, purpose="batch", **options) for n in range(count)]


@ordered
def test_what_was_listed_or_created_is_not_read_again(without):
    """The second listing asks for ids only, whoever created the files; a file that came since is read once."""
    backend = fakes.Recording(without=without)
    store, other = FileStore(backend), FileStore(backend)
    files = put(other, 5)
    assert list(store) == files
    backend.calls.clear()

    files += put(other)
    assert list(store) == files
    assert backend.calls["read_meta"] == 1
    files += put(store)
    assert list(store) == files
    assert list(store.list(limit=3, order="desc")) == files[: -3 - 1 : -1]
    assert backend.calls["read_meta"] == 1


@ordered
def test_without_exact_listing_presence_is_read(without):
    """Where an id may be listed whose entry is gone, each listing reads the metadata."""
    backend = fakes.Recording(without=without | Capability.EXACT_LISTING)
    store = FileStore(backend)
    files = put(store, 3)
    for _ in range(2):
        backend.calls.clear()
        assert list(store) == files
        assert backend.calls["read_meta"] == 3


@pytest.mark.parametrize("url", ["memory://a-single-file", "file"])
def test_a_single_file_is_always_read(url, tmp_path):
    """`get` and reading notice at once that another handle deleted the file."""
    url = str(tmp_path) if url == "file" else url
    with holdall.open_store(url) as store, holdall.open_store(url) as other:
        (file,) = put(store)
        assert store.get(file.id) == file
        other.delete(file.id)
        for call in (store.get, store.get_content, store.open, store.delete):
            with pytest.raises(FileNotFound):
                call(file.id)
        assert list(store) == []


def test_what_callers_modify_is_not_what_is_remembered():
    """The caller's own metadata is a dict: each call returns one of its own, whether it was read or remembered."""
    metadata = {"list": [1, {"deep": [2]}], "text": "t"}
    backend = fakes.Recording()
    store, other = FileStore(backend), FileStore(backend)
    (created,) = put(store, metadata=metadata)
    for file in (created, *store.list().data, *other.list().data, *other.list().data, store.get(created.id)):
        assert file.metadata == metadata
        file.metadata["list"][1]["deep"].append("changed")
        file.metadata["text"] = "changed"
    for again in (store, other):
        assert again.get(created.id).metadata == again.list().data[0].metadata == metadata


def test_a_document_is_decoded_once(monkeypatch):
    """Reading a single file again decodes its metadata only if the document has changed, and then returns the change."""
    decoded = []
    monkeypatch.setattr("holdall._metadata.decode_meta", lambda raw, i: decoded.append(i) or decode_meta(raw, i))
    backend = fakes.Recording()
    store, other = FileStore(backend), FileStore(backend)
    (file,) = put(store)
    for who, times in ((store, 0), (other, 1)):
        for _ in range(2):
            assert who.get(file.id) == file
        assert len(decoded) == times
    renamed = file.model_copy(update={"filename": "renamed"})
    for document, found in ((encode_meta(renamed), renamed), (b"{", None), (encode_meta(file), file)):
        monkeypatch.setattr(backend, "read_meta", lambda _, document=document: document)
        for who in (store, other):
            if found is None:
                with pytest.raises(CorruptMetadata):
                    who.get(file.id)
            else:
                assert who.get(file.id) == found


def test_what_is_remembered_is_deleted_without_reading_it():
    """The backend looks whether it is there: once gone, from here or from elsewhere, it is not found."""
    backend = fakes.Recording()
    store, other = FileStore(backend), FileStore(backend)
    files = put(store, 2)
    store.delete(files[0].id)
    other.delete(files[1].id)
    assert (backend.calls["read_meta"], backend.calls["remove"]) == (1, 2), "only what the other store did not know"
    for file in files:
        with pytest.raises(FileNotFound):
            store.delete(file.id)
        assert not store.is_quick(file.id), "still remembered"


def test_what_has_expired_cannot_be_deleted():
    """That it is remembered does not let it be deleted once more than other calls can see it."""
    clock = fakes.Clock(strategies.NOW_MS / 1000)
    store = FileStore(fakes.Recording(), clock=clock)
    (file,) = put(store, expires_after=10)
    clock.now += 10
    with pytest.raises(FileNotFound, match="expired"):
        store.delete(file.id)


@ordered
def test_what_expires_is_no_longer_listed(without):
    """That it is remembered does not keep it alive."""
    clock = fakes.Clock(strategies.NOW_MS / 1000)
    store = FileStore(fakes.Recording(without=without), clock=clock)
    (file,) = put(store, expires_after=10)
    assert list(store) == [file]
    clock.now += 10
    assert list(store) == []


def test_ids_from_elsewhere_are_not_remembered():
    """Such an id may be given to another file once the first is deleted."""
    backend = fakes.Recording()
    store = FileStore(backend)
    (file,) = put(FileStore(MemoryBackend()))
    for name in ("one", "two"):
        again = file.model_copy(update={"id": "file-abc", "filename": name})
        backend.put("file-abc", encode_meta(again))
        assert [f.filename for f in store] == [name]
        store.delete("file-abc")


def test_ids_from_elsewhere_keep_no_other_from_being_remembered():
    """Listed together, those of holdall's own are not read again."""
    backend = fakes.Recording()
    store = FileStore(backend)
    files = put(store, 3)
    backend.put("file-abc", encode_meta(files[0].model_copy(update={"id": "file-abc"})))
    other = FileStore(backend)
    assert len(list(other)) == 4
    backend.calls.clear()
    assert len(list(other)) == 4
    assert backend.calls["read_meta"] == 1


@pytest.mark.parametrize("most", [0, 1, 10])
def test_no_more_are_remembered_than_said(most):
    """Those kept longest are let go; what is listed stays the same."""
    backend = fakes.Recording()
    store = FileStore(backend, remember=most)
    files = put(store, 25)
    for _ in range(2):
        assert list(store) == files
        assert len(store._metadata._files) <= most
        assert len(store._metadata._decoded) <= most
    backend.calls.clear()
    assert list(store) == files
    assert backend.calls["read_meta"] >= 25 - most


def test_setting_remember_lets_go_of_all():
    """And says how many are kept from then on."""
    backend = fakes.Recording()
    store = FileStore(backend)
    files = put(store, 3)
    store.remember = 0
    assert store.remember == 0
    for _ in range(2):
        backend.calls.clear()
        assert list(store) == files
        assert backend.calls["read_meta"] == 3


@pytest.mark.parametrize("value", [-1, 1.5, True, "10", None])
def test_how_many_are_remembered_is_a_whole_number(value):
    """Anything else is refused at once, and what was said before stays."""
    with pytest.raises(InvalidRequest, match="remember must be"):
        FileStore(fakes.Recording(), remember=value)
    store = FileStore(fakes.Recording(), remember=5)
    with pytest.raises(InvalidRequest, match="remember must be"):
        store.remember = value
    assert store.remember == 5


def test_large_metadata_is_not_remembered():
    """The caller's own metadata, up to 64 KiB a file, is not kept in memory."""
    backend = fakes.Recording()
    store = FileStore(backend)
    files = put(store, 2, metadata={"text": "x" * 3000}) + put(store)
    for _ in range(2):
        backend.calls.clear()
        assert list(store) == files
        assert backend.calls["read_meta"] == 2


def test_quick_is_what_was_read_before_on_a_quick_backend():
    """And with `max_bytes`, only if the file is not larger. Anything that is no id is not quick."""
    backend = fakes.Recording()
    writer, store = FileStore(backend), FileStore(backend)
    file = writer.create("a", b"12345", purpose="batch")
    assert writer.is_quick(file.id)
    assert not store.is_quick(file.id)
    store.get(file.id)
    assert store.is_quick(file.id)
    assert store.is_quick(file.id, 5)
    assert not store.is_quick(file.id, 4)
    assert not store.is_quick([])  # type: ignore[arg-type]
    backend.quick = False
    assert not store.is_quick(file.id)
    backend.quick = True
    store.delete(file.id)
    assert not store.is_quick(file.id)


def test_what_is_found_deleted_is_remembered_no_more():
    """Another handle has deleted it: what this one remembers would only take memory."""
    backend = MemoryBackend()
    store = FileStore(backend)
    file = store.create("a", b"a", purpose="batch")
    backend.remove(file.id)
    assert store.is_quick(file.id)
    with pytest.raises(FileNotFound):
        store.get(file.id)
    assert not store.is_quick(file.id)


def test_a_storage_that_fails_half_way_fails_after_the_files_before():
    """Iterating delivers what was read or remembered before the failure, then raises it."""
    backend = fakes.Recording()
    writer, store = FileStore(backend), FileStore(backend)
    files = put(writer, 6)
    for known in (0, 2, 4):
        store.get(files[known].id)
    read = backend.read_meta

    def read_meta(file_id):
        if file_id == files[3].id:
            raise OSError("broken")
        return read(file_id)

    backend.read_meta = read_meta
    walk, seen = iter(store), []
    with pytest.raises(holdall.StorageError):
        while True:
            seen.append(next(walk))
    assert seen == files[:3]


class Versioned(fakes.Recording):
    """A backend that can tell whether its listing has changed, but cannot begin in the middle of it."""

    def __init__(self):
        super().__init__(without=Capability.ORDERED_LISTING)

    def listing_version(self):
        self.calls["listing_version"] += 1
        return self.calls["changes"]

    def stage(self, file_id):
        self.calls["changes"] += 1
        return super().stage(file_id)


def test_an_unchanged_listing_is_not_asked_for_again():
    """Pages, whole listings and both orders are served from the ids of the listing before; a change is seen."""
    backend = Versioned()
    store = FileStore(backend)
    files = put(store, 5)
    for _ in range(3):
        assert list(store) == files
        assert list(store.list(order="desc", limit=2)) == files[:-3:-1]
        assert list(store.list(after=files[2].id)) == files[3:]
    assert backend.calls["list_ids"] == 1
    files += put(store)
    assert list(store) == files
    assert backend.calls["list_ids"] == 2
