"""`holdall key`: keys for the server."""

from __future__ import annotations

import json

from holdall.server import Keys


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

    keys = Keys(file=path)
    assert (keys.tenant_of(first), keys.tenant_of(second)) == ("alice", "bob")
    assert first not in path.read_text(encoding="utf-8")


def test_what_cannot_be_a_tenant_or_a_file_is_refused(run, tmp_path):
    """With a sentence, and no key that belongs to nobody."""
    for arguments in (("../a",), ("file-x",), ("alice", "--file", tmp_path)):
        done = run("key", *arguments)
        assert done.code != 0
        assert done.output == b""
        assert done.errors.count("\n") == 1
