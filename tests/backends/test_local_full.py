"""A full disk: its own error, nothing stored, everything else readable, and deleting is the way out."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess

import pytest

import holdall

_PAGE = 4096


@pytest.fixture
def small_disk(tmp_path, missing):
    """Mounts a file system in memory with these options, and returns its path."""
    mounted = []

    def mount(options):
        path = str(tmp_path / f"disk{len(mounted)}")
        os.mkdir(path)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, text=True, check=False
        )
        if done.returncode:
            missing(f"a small file system cannot be mounted here: {done.stderr.strip()}")
        mounted.append(path)
        return path

    yield mount
    for path in mounted:
        # Lazily: the traceback of a test that failed keeps its store open.
        subprocess.run(["umount", "--lazy", path], check=True)


def _free_pages(path):
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize // _PAGE


@pytest.mark.parametrize("excess_pages", [0, 1, 1000], ids=["metadata", "end of the data", "data"])
def test_full_disk(small_disk, check_store, leftovers, excess_pages):
    """The disk gets full while data or metadata is written: `StorageFull`, nothing is stored or left, the rest can be
    read, and after a delete there is room again.
    """
    root = f"{small_disk('size=512k')}/root"
    with holdall.open_store(root, fsync=False) as store:
        first = store.create("a", b"a" * 20 * _PAGE, purpose="batch")
        free = _free_pages(root)
        # Without an excess the data fits exactly, and the metadata does not.
        size = (free + excess_pages) * _PAGE
        for _ in range(3):
            with pytest.raises(holdall.StorageFull, match="free some space"):
                store.create("b", b"b" * size, purpose="batch")
            assert leftovers(root) == []
            assert _free_pages(root) == free
        assert store.get_content(first.id) == b"a" * 20 * _PAGE
        assert check_store(root) == {first.id}
        second = store.create("c", b"c" * (free - 2) * _PAGE, purpose="batch")
        with pytest.raises(holdall.StorageFull):
            store.create("d", b"d" * 2 * _PAGE, purpose="batch")
        store.delete(second.id)
        third = store.create("d", b"d" * 2 * _PAGE, purpose="batch")
    assert check_store(root) == {first.id, third.id}


@pytest.mark.parametrize("fsync", [False, True])
def test_delete_on_a_disk_without_room_for_a_name(small_disk, leftovers, calls, fsync):
    """Where not even a directory can be made any more, deleting still works, once, is durable, and gives its space
    back.
    """
    disk = small_disk("nr_inodes=12")
    with holdall.open_store(f"{disk}/root", fsync=fsync) as store:
        file = store.create("a", b"a", purpose="batch")
    os.rmdir(f"{disk}/root/.staging")
    with contextlib.suppress(OSError):
        for i in range(20):
            os.close(os.open(f"{disk}/{i}", os.O_CREAT))
    with holdall.open_store(f"{disk}/root", fsync=fsync) as store:
        with pytest.raises(holdall.StorageFull):
            store.create("b", b"b", purpose="batch")
        assert store.get_content(file.id) == b"a"
        made = calls.count(lambda: store.delete(file.id))
        assert [name for name in made if name in {"unlink", "fsync"}][:2] == ["unlink", "fsync" if fsync else "unlink"]
        with pytest.raises(holdall.FileNotFound):
            store.delete(file.id)
        assert os.listdir(f"{disk}/root") == []
        os.unlink(f"{disk}/0")
        assert store.create("b", b"", purpose="batch").bytes == 0
    assert leftovers(f"{disk}/root") == []


@pytest.mark.parametrize("inodes", [12, 13, 14], ids=["directory", "data", "metadata"])
def test_what_was_just_deleted_makes_room(small_disk, check_store, inodes):
    """Whichever of a file's three inodes is one too many: a create right after a delete has those of the deleted file."""
    root = f"{small_disk(f'nr_inodes={inodes}')}/root"
    with holdall.open_store(root, fsync=False) as store:
        files = [store.create(name, b"", purpose="batch") for name in "abc"]
        with pytest.raises(holdall.StorageFull):
            store.create("d", b"", purpose="batch")
        store.delete(files[0].id)
        fourth = store.create("d", b"d", purpose="batch")
    assert check_store(root) == {files[1].id, files[2].id, fourth.id}


@pytest.mark.parametrize(("data", "metadata"), [(100_000, 10), (10, 60_000)], ids=["in the data", "in the metadata"])
def test_largest_file_of_the_process(child, root, check_store, leftovers, data, metadata):
    """Where a process may not write files this large, it gets `StorageFull` in the same way; smaller ones still work."""
    said = child.run(
        """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
        with holdall.open_store(root) as store:
            attempt(store.create, "a", b"a" * data, purpose="batch", metadata={"k": "v" * metadata})
            attempt(store.create, "b", b"b" * 40_000, purpose="batch")
        """,
        root=root,
        data=data,
        metadata=metadata,
    )
    failed, done, end = said
    assert "StorageFull" in failed["error"]
    assert (done, end) == ({"done": True}, {"exit": 0})
    assert leftovers(root) == []
    assert len(check_store(root)) == 1


def test_too_many_open_files(child, root, check_store):
    """Out of descriptors, every call says that trying again may help, and leaks none: afterwards all work again."""
    said = child.tell(
        """
        import resource
        store = holdall.open_store(root, fsync=False)
        file = store.create("a", b"a", purpose="batch")
        before = len(os.listdir("/proc/self/fd"))
        for spare in range(3):
            held = []
            resource.setrlimit(resource.RLIMIT_NOFILE, (before + spare, limit))
            names = []
            for call in (
                lambda: store.create("b", b"b", purpose="batch"),
                lambda: store.get(file.id),
                lambda: store.get_content(file.id),
                lambda: store.list(),
                lambda: store.verify(),
            ):
                try:
                    call()
                except holdall.HoldallError as error:
                    names.append(type(error).__name__)
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            say(**{f"errors{spare}": names})
        store.create("c", b"c", purpose="batch")
        say(leaked=len(os.listdir("/proc/self/fd")) - before)
        store.close()
        """,
        root=root,
        limit=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
    )
    assert said["errors0"]
    assert {name for spare in range(3) for name in said[f"errors{spare}"]} == {"StorageUnavailable"}
    assert said["leaked"] == 0
    check_store(root)
