"""What a user may not do fails as `AccessDenied`, never as a missing file, and never hides what may be read."""

from __future__ import annotations

import os

import pytest

import holdall


@pytest.fixture
def shared(public_directory):
    """A root that others may read and not write, with one file."""
    root = f"{public_directory}/root"
    with holdall.open_store(root) as store:
        file = store.create("a", b"public", purpose="batch")
    os.chmod(root, 0o755)
    os.chmod(f"{root}/{file.id}", 0o755)
    for name in os.listdir(f"{root}/{file.id}"):
        os.chmod(f"{root}/{file.id}/{name}", 0o644)
    return root, file.id


def _attempts(child, code, **names):
    """Per attempt the classes of its error (empty if it worked) and its text."""
    *said, end = child.run("drop_privileges()\n" + code, **names)
    assert end == {"exit": 0}
    return [(message.get("error", []), message.get("text")) for message in said]


@pytest.mark.parametrize("staging", [False, True], ids=["never written", "written before"])
def test_read_only_root(child, shared, staging):
    """In a root that may only be read everything is read; writing is denied with a message that names the root."""
    root, file_id = shared
    if not staging:
        os.rmdir(f"{root}/.staging")
    if os.getuid():
        os.chmod(root, 0o555)
    read, listed, *denied = _attempts(
        child,
        """
store = holdall.open_store(root)
attempt(lambda: (store.get_content(file_id) == b"public") or 1 / 0)
attempt(lambda: (store.list().last_id == file_id) or 1 / 0)
attempt(store.create, "b", b"b", purpose="batch")
attempt(store.delete, file_id)
""",
        root=root,
        file_id=file_id,
    )
    assert read == listed == ([], None)
    for error, text in denied:
        assert error[0] == "AccessDenied"
        assert root in text
        assert "check the permissions" in text
    assert os.path.exists(f"{root}/{file_id}/data.bin")


def test_parent_that_is_not_writable(child, public_directory):
    """A root that cannot be made is `AccessDenied`, with its path."""
    os.chmod(public_directory, 0o555)
    ((error, text),) = _attempts(child, "attempt(holdall.open_store, root)", root=f"{public_directory}/new/root")
    assert error[0] == "AccessDenied"
    assert f"{public_directory}/new/root" in text


def test_parent_that_cannot_be_read(child, public_directory):
    """A directory in which one may create, but not look around, can hold a root."""
    os.chmod(public_directory, 0o733)
    ((error, _),) = _attempts(child, "attempt(lambda: holdall.open_store(root).close())", root=f"{public_directory}/b")
    assert error == []


@pytest.mark.parametrize("part", ["", "/meta.json"], ids=["directory", "metadata"])
def test_an_entry_that_may_not_be_read(child, shared, part):
    """An entry without permissions is `AccessDenied`, not absent, and is named, also by who wanted all of them; it is no
    leftover either.
    """
    root, file_id = shared
    os.rmdir(f"{root}/.staging")
    os.chmod(f"{root}/{file_id}{part}", 0)
    *denied, debris = _attempts(
        child,
        """
store = holdall.open_store(root)
attempt(store.get, file_id)
attempt(store.get_content, file_id)
attempt(store.delete, file_id)
attempt(store.list)
attempt(store.sweep)
attempt(lambda: list(store.backend.debris()) and 1 / 0)
""",
        root=root,
        file_id=file_id,
    )
    for error, text in denied:
        assert error[0] == "AccessDenied"
        assert "FileNotFoundError" not in error
        assert file_id in text
    assert debris == ([], None)


def test_anothers_write_in_progress(child, public_directory):
    """A write of another user, which may not be looked at, is not taken for a dead one."""
    root = f"{public_directory}/root"
    with holdall.open_store(root) as store:
        os.chmod(root, 0o777)
        with store.backend.stage(f"file-{'1' * 32}") as staged:
            staged.write(b"x")
            os.chmod(f"{root}/.staging", 0o777)
            ((error, _),) = _attempts(
                child,
                """
def look():
    with holdall.open_store(root) as store:
        assert store.sweep(older_than=0).leftovers == ()
attempt(look)
""",
                root=root,
            )
            assert error == []
            staged.publish(b"{}")
        assert list(store.backend.list_ids()) == [f"file-{'1' * 32}"]


@pytest.mark.parametrize("unreadable", [".staging/b.old", ".staging"])
def test_leftovers_that_may_not_be_read(child, public_directory, unreadable):
    """`verify` reports all files and the other leftovers, and names what it may not read. `sweep` fails for the same
    reason, after it has removed the others.
    """
    root = f"{public_directory}/root"
    with holdall.open_store(root) as store:
        store.create("a", b"a", purpose="batch")
    for name in (".staging/a.old", ".staging/b.old", ".staging/c.old"):
        os.mkdir(f"{root}/{name}")
    for directory, _, files in os.walk(root):
        for path in (directory, *(f"{directory}/{name}" for name in files)):
            os.chmod(path, 0o777)
    os.chmod(f"{root}/{unreadable}", 0)
    said = child.tell(
        """
        import dataclasses
        drop_privileges()
        with holdall.open_store(root) as store:
            say(verified=dataclasses.asdict(store.verify(older_than=0)))
            try:
                store.sweep(older_than=0)
            except holdall.AccessDenied as error:
                say(denied=str(error))
            say(left=store.verify(older_than=0).leftovers)
        """,
        root=root,
    )
    assert (said["verified"]["files"], said["verified"]["problems"]) == (1, [])
    found = [d["name"] for d in said["verified"]["leftovers"]]
    assert sorted(found) == ([] if unreadable == ".staging" else [".staging/a.old", ".staging/c.old"])
    for sentence in (*said["verified"]["unread"], said["denied"]):
        assert f" {unreadable}: Permission denied" in sentence
    assert len(said["verified"]["unread"]) == 1
    assert said["left"] == []


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o000])
def test_modes(child, root, umask):
    """Directories are 0700 and files 0600, whatever the process's mask is."""
    child.tell(
        """
        os.umask(umask)
        with holdall.open_store(root) as store:
            store.create("a", b"a", purpose="batch")
        """,
        root=root,
        umask=umask,
    )
    for directory, _, files in os.walk(root):
        assert os.stat(directory).st_mode & 0o7777 == 0o700, directory
        for name in files:
            assert os.stat(f"{directory}/{name}").st_mode & 0o7777 == 0o600, name
