"""`holdall key`: keys for the server."""

from __future__ import annotations

import fcntl
import json
import resource
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdall.server import Keys
from holdall.server._keys import add_line, new_key


def test_a_key_and_its_line_belong_together(run):
    """What is printed first lets in whom the second line names."""
    done = run("key", "alice")
    key, line = done.text.splitlines()

    assert (done.code, done.errors) == (0, "")
    assert key not in line
    assert run("key", "alice").text.splitlines()[0] != key
    told = run("key", "alice", "--json").json
    assert set(told) == {"tenant", "key", "line"}
    assert told["line"].startswith("alice:")


def test_keys_are_added_to_a_file(run, tmp_path):
    """The file is made for its owner alone, keeps what it had, and the server takes all keys of it."""
    path = tmp_path / "keys"
    first = run("key", "alice", "--file", path).text.strip()
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(path.read_text(encoding="utf-8") + "# without a line's end", encoding="utf-8")
    second = json.loads(run("key", "bob", "--file", path, "--json").output)["key"]

    known = Keys(file=path)
    assert (known.tenant_of(first), known.tenant_of(second)) == ("alice", "bob")
    assert first not in path.read_text(encoding="utf-8")


def test_what_cannot_be_a_tenant_or_a_file_is_refused(run, tmp_path):
    """With a sentence, and no key that belongs to nobody."""
    for arguments in (("../a",), ("file-x",), ("alice", "--file", tmp_path)):
        done = run("key", *arguments)
        assert done.code != 0
        assert done.output == b""
        assert done.errors.count("\n") == 1


def test_keys_added_at_the_same_time_are_all_kept(tmp_path):
    """Each of many that write at once ends up on a line of its own, however long the others' names are."""
    path = tmp_path / "keys"
    tenants = [f"t{'x' * number}" for number in range(24)]
    made = dict(new_key(tenant) for tenant in tenants)
    with ThreadPoolExecutor(len(made)) as pool:
        for _ in pool.map(lambda line: add_line(path, line), made.values()):
            pass

    assert sorted(path.read_text(encoding="utf-8").splitlines()) == sorted(made.values())
    assert [Keys(file=path).tenant_of(key) for key in made] == tenants


def test_of_two_who_add_the_second_waits_for_the_first(tmp_path):
    """Where the file ends is looked up under a lock."""
    path = tmp_path / "keys"
    path.write_text("# no end", encoding="utf-8")
    with open(path, "r+b") as other, ThreadPoolExecutor(1) as pool:
        fcntl.flock(other, fcntl.LOCK_EX)
        waiting = pool.submit(add_line, path, "bob:1")
        with pytest.raises(TimeoutError):
            waiting.result(0.2)
        other.seek(0, 2)
        other.write(b"\nalice:1\n")
        other.flush()
        fcntl.flock(other, fcntl.LOCK_UN)
        waiting.result(30)

    assert path.read_text(encoding="utf-8") == "# no end\nalice:1\nbob:1\n"


def test_a_line_for_which_there_is_no_room_leaves_nothing(program, tmp_path):
    """On a full disk the file of keys is as it was, and no key is printed that lets nobody in."""
    keys = tmp_path / "keys"
    keys.write_bytes(b"# none yet")
    done = program(
        *("key", "alice", "--file", keys),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50)),
    )

    assert (done.code, done.output) == (1, b"")
    assert "File too large" in done.errors
    assert keys.read_bytes() == b"# none yet"
