"""Whether the local backend can tell that a listing is current, and the ways in which it opens files."""

from __future__ import annotations

import errno
import os
import time
import types

import pytest

import holdall
from holdall.backend import Capability
from holdall.backends.local import LocalBackend, _backend, _files
from holdall.backends.local._backend import _READ_AT_ONCE, _version
from holdall.backends.local._filesystem import is_on_this_machine


@pytest.fixture
def later(monkeypatch):
    """Sets the clock of the backend a minute ahead: what has changed so far changed long ago."""
    real = time.time_ns
    ahead = [0]
    monkeypatch.setattr("holdall.backends.local._backend.time.time_ns", lambda: real() + ahead[0])

    def go():
        ahead[0] += 60_000_000_000

    return go


def _put(store):
    return store.create("a", b"a", purpose="batch")


@pytest.fixture
def store(root):
    with holdall.open_store(root, fsync=False) as store:
        if not store.backend.quick:
            pytest.skip("the tests' directory is on no file system of this machine")
        yield store


def test_the_version_changes_with_every_create_and_delete(store, root, later):
    """Whoever does it; and while nothing happens it stays, also through reads and an unfinished write."""
    versions = []

    def note():
        later()
        versions.append(store.backend.listing_version())

    note()
    with holdall.open_store(root, fsync=False) as other:
        file = _put(other)
        note()
        other.delete(file.id)
    note()
    file = _put(store)
    note()
    store.delete(file.id)
    note()
    assert None not in versions
    assert len(set(versions)) == len(versions)

    _put(store)
    note()
    with store.begin("a", purpose="batch") as upload:
        upload.write(b"half")
        list(store)
        note()
    note()
    assert len(set(versions[-3:])) == 1


@pytest.mark.parametrize(("fraction", "grain_ns"), [(123, 50_000_000), (0, 2_100_000_000)], ids=["fine", "coarse"])
def test_just_after_a_change_the_version_is_not_known(fraction, grain_ns):
    """A second change within the grain of the clock would not show; a file system that keeps whole seconds has a
    coarse one.
    """
    changed = 1_700_000_000_000_000_000 + fraction
    status = types.SimpleNamespace(st_ctime_ns=changed, st_mtime_ns=changed - 5, st_nlink=2)
    assert _version(status, changed + grain_ns - 1) is None
    assert _version(status, changed - 10**12) is None
    known = _version(status, changed + grain_ns)
    assert known is not None
    for name in ("st_ctime_ns", "st_mtime_ns", "st_nlink"):
        other = types.SimpleNamespace(**{**vars(status), name: getattr(status, name) - 1})
        assert _version(other, changed + 10**12) != known


def test_a_second_listing_reads_nothing(store, later, monkeypatch):
    """Neither the directory nor any metadata, until somebody changes it."""
    files = [_put(store) for _ in range(3)]
    later()
    assert list(store) == files
    monkeypatch.setattr(os, "listdir", lambda *_: pytest.fail("the directory was read"))
    monkeypatch.setattr(LocalBackend, "read_metas", lambda *_: pytest.fail("metadata was read"))
    assert list(store) == files
    assert list(store.list(limit=1, order="desc")) == [files[-1]]


def test_not_of_this_machine_nothing_is_taken_for_current(root, monkeypatch):
    """On a network file system directories may look as they did: nothing is remembered, and nothing is quick."""
    monkeypatch.setattr("holdall.backends.local._backend.is_on_this_machine", lambda _: False)
    with holdall.open_store(root, fsync=False) as store:
        _put(store)
        assert store.backend.listing_version() is None
        assert Capability.EXACT_LISTING not in store.capabilities
        assert not store.backend.quick


_MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / /mnt/far rw,relatime shared:5 - nfs4 server:/export rw
31 22 0:41 / /mnt/far/near rw,relatime - tmpfs tmpfs rw
32 22 0:42 / /mnt/with\\040space rw,relatime master:1 propagate_from:2 - fuse.sshfs me@there: rw
33 22 0:43 / /mnt/twice rw,relatime - xfs /dev/sdb1 rw
34 33 0:44 / /mnt/twice rw,relatime - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "here"),
    [
        ("/srv/files", True),
        ("/mnt", True),
        ("/mnt/far", False),
        ("/mnt/far/files", False),
        ("/mnt/farther", True),
        ("/mnt/far/near/files", True),
        ("/mnt/with space/files", False),
        ("/mnt/twice/files", False),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount(tmp_path, path, here):
    """The longest point above the path counts, of two on one point the later; unknown types are not this machine's."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(_MOUNTS)
    assert is_on_this_machine(path, str(mounts)) is here


def test_a_link_leads_to_the_file_system_of_its_target(tmp_path):
    """Where the files are is what counts, not where the link to them is."""
    far = tmp_path / "far"
    far.mkdir()
    (tmp_path / "link").symlink_to(far)
    mounts = tmp_path / "mountinfo"
    mounts.write_text(_MOUNTS + f"35 22 0:45 / {far} rw - nfs4 server:/export rw\n")

    assert is_on_this_machine(str(tmp_path / "link" / "files"), str(mounts)) is False
    assert is_on_this_machine(str(tmp_path / "files"), str(mounts)) is True


def test_a_mount_whose_name_is_no_text_hides_no_other(tmp_path):
    """Names of directories are bytes; one of them may be no UTF-8."""
    mounts = tmp_path / "mountinfo"
    mounts.write_bytes(_MOUNTS.encode() + b"35 22 0:45 / /mnt/\xff rw - nfs4 server:/export rw\n")

    assert is_on_this_machine("/var/files", str(mounts)) is True


@pytest.mark.parametrize("content", ["", "no mounts\n", "22 1 8:1 / relative rw - ext4 /dev/sda1 rw\n", None])
def test_what_cannot_be_told_is_not_this_machine(tmp_path, content):
    """No such file, as on other systems, or one that says something else."""
    mounts = tmp_path / "mountinfo"
    if content is not None:
        mounts.write_text(content)
    assert is_on_this_machine("/", str(mounts)) is False


@pytest.mark.timeout(30)
def test_without_openat2_the_same_is_read(root, monkeypatch):
    """Where the kernel or a sandbox refuses it, files are opened step by step; nothing is waited for or left open."""
    monkeypatch.setattr(_files, "open_unlinked", None)
    with holdall.open_store(root, fsync=False) as store:
        file = _put(store)
        os.mkdir(f"{root}/file-{'e' * 32}")
        os.mkfifo(f"{root}/file-{'e' * 32}/meta.json")
        descriptors = os.listdir("/dev/fd")
        assert store.get(file.id) == file
        assert store.get_content(file.id) == b"a"
        assert list(store) == [file]
        os.symlink(f"{root}/{file.id}", f"{root}/file-{'f' * 32}")
        with pytest.raises(holdall.FileNotFound):
            store.get(f"file-{'f' * 32}")
        with pytest.raises(holdall.CorruptMetadata):
            store.get(f"file-{'e' * 32}")
        assert len(os.listdir("/dev/fd")) == len(descriptors)


def test_many_are_read_as_one_by_one(store, root):
    """In the order that was asked for, over any number of portions; absent ones are left out, damaged ones are not."""
    ids = [_put(store).id for _ in range(2 * _READ_AT_ONCE + 5)]
    gone, damaged = ids[3], ids[_READ_AT_ONCE]
    store.delete(gone)
    meta = os.path.join(root, damaged, _files.META)
    os.unlink(meta)
    os.mkdir(meta)
    asked = [*reversed(ids), ids[0]]
    found = list(store.backend.read_metas(iter(asked)))
    assert found == [(i, store.backend.read_meta(i)) for i in asked if i != gone]
    assert dict(found)[damaged] == b""


def test_what_was_read_before_a_failure_is_given_out_first(store, monkeypatch):
    """In whatever portion the storage fails, those before the failure are delivered, then the error."""
    ids = [_put(store).id for _ in range(_READ_AT_ONCE + 5)]
    real = _backend.read_in_entry

    def read(entry, name, dir_fd):
        if entry == broken:
            raise OSError(errno.EIO, "broken")
        return real(entry, name, dir_fd)

    monkeypatch.setattr(_backend, "read_in_entry", read)
    for place in (0, 7, _READ_AT_ONCE, _READ_AT_ONCE + 4):
        broken = ids[place]
        walk = store.backend.read_metas(ids)
        assert [next(walk)[0] for _ in range(place)] == ids[:place]
        with pytest.raises(OSError, match="broken"):
            next(walk)
