"""The layout on disk, byte for byte, and roots that the layout's first program wrote."""

from __future__ import annotations

import os

import pytest

import holdall

# As serde_json's pretty printer writes the first program's struct.
_META = """{
  "id": "%s",
  "object": "file",
  "filename": "%s",
  "purpose": "%s",
  "bytes": %d,
  "created_at": %d,
  "status": "uploaded"
}"""

_FIRST = "file-f47ac10b58cc4372a5670e02b2c3d479"
_SECOND = "file-0e8400e29b41d4a716446655440000aa"
_THIRD = "file-9b2d6e1c5f0a4c3e8d7b6a5f4e3d2c1b"


def _write(path, data):
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)


@pytest.fixture
def old_root(root):
    """A root as the first program leaves it, after a crash or two: random ids, no SHA-256, temporary files."""
    for file_id, name, purpose, data, created_at in (
        (_FIRST, "zweite Größe.jsonl", "fine_tune", b"second", 1_700_000_002),
        (_SECOND, 'quoted \\"name\\"\\t', "assistants", b"", 1_700_000_001),
        (_THIRD, "c", "batch", b"third" * 100, 1_700_000_003),
    ):
        meta = _META % (file_id, name, purpose, len(data), created_at)
        _write(f"{root}/{file_id}/data.bin", data)
        _write(f"{root}/{file_id}/meta.json", meta.encode())
    _write(f"{root}/{_THIRD}/.tmpUq3x0Z", b"left over")
    _write(f"{root}/file-{'d' * 32}/data.bin", b"its metadata was never written")
    _write(f"{root}/file-{'e' * 32}/.tmpA1b2C3", b"nor its data")
    return root


def test_what_is_written(root):
    """The seven keys as the first program writes them, in its order and spelling, then the ones it does not know."""
    with holdall.open_store(root) as store:
        file = store.create('naïve \u2028 "q" \\ \x01\t/.txt', b"abc", purpose="fine-tune")
        entry = f"{root}/{file.id}"
        assert sorted(os.listdir(root)) == sorted([".staging", file.id])
        assert sorted(os.listdir(entry)) == ["data.bin", "meta.json"]
        with open(f"{entry}/data.bin", "rb") as data:
            assert data.read() == b"abc"
        with open(f"{entry}/meta.json", "rb") as meta:
            raw = meta.read()
    escaped = 'naïve \u2028 \\"q\\" \\\\ \\u0001\\t/.txt'
    known = (_META % (file.id, escaped, "fine_tune", 3, file.created_at)).encode()
    sha256 = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert raw == known.removesuffix(b"\n}") + b',\n  "sha256": "' + sha256 + b'"\n}'


def test_reading_an_old_root(old_root):
    """It opens as it is, and lists by `created_at`; every file reads back, and verify finds nothing wrong."""
    with holdall.open_store(old_root) as store:
        files = store.list().data
        assert [f.id for f in files] == [_SECOND, _FIRST, _THIRD]
        assert [f.filename for f in files] == ['quoted "name"\t', "zweite Größe.jsonl", "c"]
        assert [str(f.purpose) for f in files] == ["assistants", "fine-tune", "batch"]
        assert [f.sha256 for f in files] == [None] * 3
        assert [store.get_content(f.id) for f in files] == [b"", b"second", b"third" * 100]
        assert [f.id for f in store.list(order="desc", limit=2)] == [_THIRD, _FIRST]
        assert [f.id for f in store.list(after=_SECOND)] == [_FIRST, _THIRD]
        for incomplete in ("d", "e"):
            with pytest.raises(holdall.FileNotFound):
                store.get(f"file-{incomplete * 32}")
            with pytest.raises(holdall.FileNotFound):
                store.delete(f"file-{incomplete * 32}")
        report = store.verify(older_than=0)
        assert report.ok
        assert {d.file_id for d in report.leftovers} == {f"file-{'d' * 32}", f"file-{'e' * 32}"}


def test_nothing_is_changed_by_reading(old_root):
    """Opening, listing, reading and verifying write nothing."""

    def snapshot():
        return {path: (os.stat(path).st_mtime_ns, files) for path, _, files in os.walk(old_root)}

    before = snapshot()
    with holdall.open_store(old_root) as store:
        for file in store:
            store.get_content(file.id)
        store.verify()
        store.sweep(dry_run=True, older_than=0)
    assert snapshot() == before


def test_changing_an_old_root(old_root, leftovers):
    """New files stand beside the old ones; the old ones can be deleted, stray files included; leftovers are swept."""
    with holdall.open_store(old_root) as store:
        new = store.create("new", b"new", purpose="batch")
        store.delete(_THIRD)
        assert [f.id for f in store] == [_SECOND, _FIRST, new.id]
        assert store.sweep().leftovers == (), "younger than the grace"
        assert len(store.sweep(older_than=0).leftovers) == 2
    assert leftovers(old_root) == []
    assert sorted(os.listdir(old_root)) == sorted([".staging", _FIRST, _SECOND, new.id])


def test_a_root_that_was_copied(old_root, tmp_path, check_store):
    """A root copied file by file, with other modes and without the staging directory, is the same store."""
    with holdall.open_store(old_root) as store:
        file = store.create("a", b"a" * 10, purpose="batch")
    for name in ("data.bin", "meta.json"):
        with open(f"{old_root}/{file.id}/{name}", "rb") as source:
            _write(f"{tmp_path}/copy/{file.id}/{name}", source.read())
    assert check_store(f"{tmp_path}/copy") == {file.id}
