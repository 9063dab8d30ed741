"""The decisions that no other test holds; the pages in docs/decisions say which those are."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import holdall
from holdall import FileStore
from holdall.backends.local import LocalBackend

FILE_ID = "file-0123456789abcdef0123456789abcdef"
DOCUMENT = """\
{
  "id": "file-0123456789abcdef0123456789abcdef",
  "object": "file",
  "filename": "Grüße.txt",
  "purpose": "fine_tune",
  "bytes": 5,
  "created_at": 1700000000,
  "status": "uploaded",
  "expires_at": 1700003600,
  "content_type": "text/plain",
  "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
  "metadata": {
    "key": "ä"
  }
}"""


def _modules_after(code):
    """The modules that are there once a new interpreter has run this code."""
    program = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, encoding="utf-8", check=True)
    return set(done.stdout.split())


def _entry(root, **changes):
    """An entry as another program left it, with these keys changed; None takes one away."""
    document = {name: value for name, value in {**json.loads(DOCUMENT), **changes}.items() if value is not None}
    entry = root / FILE_ID
    entry.mkdir()
    (entry / "data.bin").write_bytes(b"hello")
    (entry / "meta.json").write_text(json.dumps(document), encoding="utf-8")


def test_importing_holdall_imports_nothing_heavy():
    """`import holdall` brings in none of the dependencies; opening a store, none of those it does not need."""
    heavy = {"pydantic", "stevedore", "platformdirs", "anyio", "typer", "rich"}

    assert _modules_after("import holdall") & heavy == set()
    assert _modules_after("import holdall; holdall.open_store('memory://')") & {"anyio", "typer", "rich"} == set()


def test_every_public_name_stands_in_its_three_places():
    """The table, `__all__` and what type checkers see name the same, and each name is there."""
    tree = ast.parse(Path(holdall.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    typed = {alias.name: node.module for node in guarded.body for alias in node.names}

    assert {name: f"holdall.{module}" for name, module in holdall._HOME.items()} == typed
    assert sorted(typed) == sorted(holdall.__all__)
    assert [name for name in holdall.__all__ if not hasattr(holdall, name)] == []


def test_metadata_at_rest_is_written_to_the_byte_as_decided(tmp_path):
    """The keys, their order, the indent, unescaped text and snake case are those of the layout."""
    with FileStore(LocalBackend(tmp_path), clock=lambda: 1_700_000_000.0) as store:
        file = store.create(
            "Grüße.txt",
            b"hello",
            purpose="fine-tune",
            expires_after=3600,
            content_type="text/plain",
            metadata={"key": "ä"},
        )
        written = (tmp_path / file.id / "meta.json").read_text(encoding="utf-8")

    assert written == DOCUMENT.replace(FILE_ID, file.id)


@pytest.mark.parametrize("purpose", ["fine_tune", "fine-tune"])
def test_older_documents_are_read(tmp_path, purpose):
    """A document with the seven first keys only, its purpose in either spelling, and a key nobody knows is read."""
    absent = dict.fromkeys(["expires_at", "content_type", "sha256", "metadata"])
    _entry(tmp_path, **absent, purpose=purpose, from_the_future=1)
    with holdall.open_store(tmp_path) as store:
        file = store.get(FILE_ID)

        assert (file.purpose, file.sha256, file.metadata) == (holdall.FilePurpose.FINE_TUNE, None, None)
        assert store.get_content(FILE_ID) == b"hello"


def test_a_purpose_that_nobody_knows_is_kept(tmp_path):
    """A purpose of a later version is text, and no error."""
    _entry(tmp_path, purpose="telepathy", expires_at=None)
    with holdall.open_store(tmp_path) as store:
        assert store.get(FILE_ID).purpose == "telepathy"


@pytest.mark.parametrize(
    "changes",
    [{"bytes": "5"}, {"created_at": 1.5}, {"created_at": None}, {"filename": 7}, {"id": FILE_ID[:-1] + "0"}],
    ids=str,
)
def test_metadata_of_the_wrong_form_is_corrupt(tmp_path, changes):
    """A key that is missing or of a wrong type is never guessed at, and another entry's metadata is not this one's."""
    _entry(tmp_path, **changes)
    with holdall.open_store(tmp_path) as store, pytest.raises(holdall.CorruptMetadata):
        store.get(FILE_ID)


def test_a_sweep_takes_dead_writes_once_they_are_old_and_living_ones_never(tmp_path):
    """Left unlocked, a write is swept after the grace time and not before; held by its writer, not even then."""
    now = time.time()
    backend = LocalBackend(tmp_path)
    living = backend.stage("file-living")
    dead = tmp_path / ".staging" / "file-dead.0123456789ab.new"
    dead.mkdir()
    (dead / "data.bin").write_bytes(b"half of")

    with FileStore(backend, clock=lambda: now + 3500) as store:
        assert store.sweep().leftovers == ()
        young = store.sweep(older_than=60, dry_run=True).leftovers
        assert [leftover.file_id for leftover in young] == ["file-dead"]
    with FileStore(LocalBackend(tmp_path), clock=lambda: now + 7200) as later:
        assert [leftover.file_id for leftover in later.sweep().leftovers] == ["file-dead"]
        assert later.sweep(older_than=0).leftovers == ()
    assert not dead.exists()
    living.publish(b"{}")


@pytest.mark.parametrize("data", ["text", io.StringIO("text"), ["text"]], ids=["str", "text file", "iterable of str"])
def test_text_is_not_data(tmp_path, data):
    """Text is refused in each place where bytes are taken, and nothing is stored."""
    with holdall.open_store(tmp_path) as store:
        with pytest.raises(holdall.InvalidRequest, match="text"):
            store.create("a.txt", data, purpose="user_data")

        assert list(store) == []
