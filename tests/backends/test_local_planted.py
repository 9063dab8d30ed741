"""Links, FIFOs and directories planted in a root: nothing outside is read, listed or removed, and nothing hangs."""

from __future__ import annotations

import os
import socket

import pytest

import holdall

_ID = f"file-{'5' * 32}"


@pytest.fixture
def outside(tmp_path):
    """A whole entry that is not in the store, for links to lead to."""
    path = tmp_path / "outside"
    with holdall.open_store(path) as store:
        file = store.create("secret", b"secret", purpose="batch")
    os.rename(path / file.id, path / _ID)
    meta = path / _ID / "meta.json"
    meta.write_bytes(meta.read_bytes().replace(file.id.encode(), _ID.encode()))
    yield str(path)
    with holdall.open_store(path) as store:
        assert store.get_content(_ID) == b"secret", "what is outside was touched"


@pytest.fixture
def store(root):
    """A store with a file of its own, which must stay."""
    with holdall.open_store(root, fsync=False) as opened:
        file = opened.create("own", b"own", purpose="batch")
        yield opened
        assert [f.id for f in opened] == [file.id]
        assert opened.get_content(file.id) == b"own"


def _is_absent(store, file_id):
    for call in (store.get, store.get_content, store.open, store.delete, store.backend.open_data, store.backend.remove):
        with pytest.raises(holdall.FileNotFound):
            call(file_id)
    return file_id not in {f.id for f in store}


def _plant(kind, path, outside, inner):
    if kind == "link":
        os.symlink(f"{outside}/{_ID}/{inner}", path)
    elif kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        # The path of a socket has to be short.
        with socket.socket(socket.AF_UNIX) as listener:
            here = os.getcwd()
            os.chdir(os.path.dirname(path))
            try:
                listener.bind(inner)
            finally:
                os.chdir(here)
    else:
        os.mkdir(path)
        with open(f"{path}/inside", "wb") as file:
            file.write(b"x")


@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_to_an_entry(store, root, outside, dangling):
    """A link where an entry's directory would be is no entry; sweep removes the link, and only that."""
    os.symlink(f"{outside}/nothing" if dangling else f"{outside}/{_ID}", f"{root}/{_ID}")
    assert _is_absent(store, _ID)
    (debris,) = store.verify(older_than=0).leftovers
    assert debris.kind == "stray file"
    store.sweep(older_than=0)
    assert not os.path.lexists(f"{root}/{_ID}")


@pytest.mark.parametrize("kind", ["link", "FIFO", "socket", "directory"])
def test_in_place_of_metadata(store, root, outside, kind):
    """What is not a file holds no metadata: the entry is damaged, does not block a listing, is reported by verify, is
    not swept away, and can be deleted.
    """
    os.mkdir(f"{root}/{_ID}")
    with open(f"{root}/{_ID}/data.bin", "wb") as file:
        file.write(b"secret")
    _plant(kind, f"{root}/{_ID}/meta.json", outside, "meta.json")
    for call in (store.get, store.get_content, store.open):
        with pytest.raises(holdall.CorruptMetadata):
            call(_ID)
    assert _ID not in {f.id for f in store}
    assert [(p.file_id, p.kind) for p in store.verify().problems] == [(_ID, "unreadable metadata")]
    assert store.sweep(older_than=0).leftovers == ()
    store.delete(_ID)
    assert _is_absent(store, _ID)
    store.backend._reaper.wait()
    assert os.listdir(f"{root}/.staging") == []


@pytest.mark.parametrize("kind", ["link", "FIFO", "socket", "directory"])
def test_in_place_of_data(store, root, outside, kind):
    """What is not a file holds no data: reading says that the data is missing, verify too; the entry can be deleted."""
    file = store.create("damaged", b"secret", purpose="batch")
    os.unlink(f"{root}/{file.id}/data.bin")
    _plant(kind, f"{root}/{file.id}/data.bin", outside, "data.bin")
    for call in (store.get_content, store.open):
        with pytest.raises(holdall.IntegrityError, match="missing"):
            call(file.id)
    with pytest.raises(holdall.FileNotFound):
        store.backend.local_path(file.id)
    assert [(p.file_id, p.kind) for p in store.verify().problems] == [(file.id, "missing data")]
    store.delete(file.id)
    store.backend._reaper.wait()
    assert os.listdir(f"{root}/.staging") == []


def test_a_fifo_with_a_writer(store, root):
    """A FIFO that somebody holds open for writing delivers nothing and does not block."""
    os.mkdir(f"{root}/{_ID}")
    os.mkfifo(f"{root}/{_ID}/meta.json")
    held = os.open(f"{root}/{_ID}/meta.json", os.O_RDWR)
    try:
        with pytest.raises(holdall.CorruptMetadata):
            store.get(_ID)
    finally:
        os.close(held)
    store.delete(_ID)


@pytest.mark.parametrize("kind", ["link", "file"])
def test_in_place_of_the_staging_directory(root, outside, kind):
    """Nothing is ever written through `.staging` if it is a link; the error says what to do, and a sweep does it."""
    before = sorted(os.listdir(outside))
    os.mkdir(root)
    if kind == "link":
        os.symlink(outside, f"{root}/.staging")
    else:
        with open(f"{root}/.staging", "wb"):
            pass
    with holdall.open_store(root, fsync=False) as store:
        with pytest.raises(holdall.StorageError, match=r"its \.staging is not a directory; remove it"):
            store.create("a", b"a", purpose="batch")
        (debris,) = store.verify(older_than=0).leftovers
        assert (debris.name, debris.kind) == (".staging", "stray file")
        assert len(store.sweep(older_than=0).leftovers) == 1
        file = store.create("a", b"a", purpose="batch")
        assert store.get_content(file.id) == b"a"
    assert sorted(os.listdir(outside)) == before


def test_the_staging_directory_replaced_by_a_link(store, root, outside):
    """Exchanged for a link while the store is open, it is not followed: neither a create nor a delete gets out."""
    before = sorted(os.listdir(outside))
    file = store.create("a", b"a", purpose="batch")
    os.rename(f"{root}/.staging", f"{root}/moved")
    os.symlink(outside, f"{root}/.staging")
    store.create("b", b"b", purpose="batch")
    store.delete(file.id)
    assert sorted(os.listdir(outside)) == before
    for f in list(store)[1:]:
        store.delete(f.id)
    store.backend._reaper.wait()
    os.unlink(f"{root}/.staging")


def test_links_in_the_staging_directory(store, root, outside):
    """A link or a stray file among the leftovers is itself the leftover; what it leads to stays."""
    os.symlink(f"{outside}/{_ID}", f"{root}/.staging/{_ID}.000000000000.old")
    os.symlink(f"{outside}/{_ID}", f"{root}/.staging/{_ID}.000000000000.new")
    os.mkdir(f"{root}/.staging/{_ID}.111111111111.new")
    os.symlink(f"{outside}/{_ID}/data.bin", f"{root}/.staging/{_ID}.111111111111.new/data.bin")
    os.mkfifo(f"{root}/.staging/fifo.new")
    assert len(store.sweep(older_than=0).leftovers) == 4
    assert os.listdir(f"{root}/.staging") == []


def test_odd_leftovers(store, root):
    """Whatever lies in `.staging`, and an entry without metadata that holds directories, is swept."""
    os.makedirs(f"{root}/.staging/{_ID}.000000000000.new/data.bin/deep")
    os.makedirs(f"{root}/.staging/{_ID}.111111111111.old/meta.json/deep")
    os.makedirs(f"{root}/.staging/plain")
    os.makedirs(f"{root}/{_ID}/sub/deep")
    with open(f"{root}/{_ID}/sub/.tmpAbC", "wb") as file:
        file.write(b"x" * 10)
    assert len(store.verify(older_than=0).leftovers) == 4
    assert len(store.sweep(older_than=0).leftovers) == 4
    assert os.listdir(f"{root}/.staging") == []
    assert not os.path.exists(f"{root}/{_ID}")


def test_what_has_no_id_for_a_name_is_left_alone(store, root):
    """Files of somebody else in the root are neither listed nor removed."""
    os.makedirs(f"{root}/notes/data.bin")
    with open(f"{root}/README", "wb"):
        pass
    store.sweep(older_than=0)
    assert {"notes", "README"} <= set(os.listdir(root))
    assert len(store.list()) == 1


def test_a_root_reached_by_a_link(tmp_path, check_store):
    """The root itself may be a link."""
    os.mkdir(tmp_path / "real")
    os.symlink(tmp_path / "real", tmp_path / "link")
    with holdall.open_store(tmp_path / "link") as store:
        file = store.create("a", b"a", purpose="batch")
        with open(store.backend.local_path(file.id), "rb") as data:
            assert data.read() == b"a"
    assert check_store(str(tmp_path / "real")) == {file.id}


@pytest.mark.parametrize("plant", ["file", "below a file", "dangling link", "loop"])
def test_a_root_that_is_no_directory(tmp_path, plant):
    """A root that cannot be a directory is `StorageError` at once, with its path."""
    path = tmp_path / "here"
    if plant in {"file", "below a file"}:
        path.write_bytes(b"")
    elif plant == "dangling link":
        path.symlink_to(tmp_path / "nowhere")
    else:
        path.symlink_to(path)
    with pytest.raises(holdall.StorageError, match="here") as caught:
        holdall.open_store(path / "root" if plant == "below a file" else path)
    assert not isinstance(caught.value, FileNotFoundError)
    assert os.listdir(tmp_path) == ["here"]
