"""`put`, `get`, `cat` and `rm`."""

from __future__ import annotations

import hashlib
import os
import re
import stat

import pytest

import holdall
from holdall.cli import _download

BYTES = bytes(range(256)) * 1000 + b"\r\n\x00\x1a"


def _damage(tmp_path, file):
    path = tmp_path / "store" / file.id / "data.bin"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


# put


def test_put_prints_the_ids_in_order(run, url, store, here):
    """Each file's id stands on a line of its own, so that a script can take it; the names kept are base names."""
    (here / "a.txt").write_bytes(b"a")
    (here / "b.txt").write_bytes(b"bb")
    done = run("-s", url, "put", "a.txt", here / "b.txt")

    assert (done.code, done.errors) == (0, "")
    assert [(f.filename, f.bytes) for f in (store.get(file_id) for file_id in done.text.splitlines())] == [
        ("a.txt", 1),
        ("b.txt", 2),
    ]


def test_put_keeps_what_it_is_told(run, url, store, here):
    """Purpose, name, lifetime, type and metadata arrive in the store; --json shows the stored file in an array."""
    (here / "a").write_bytes(b"a")
    done = run(
        *["-s", url, "put", "a", "--purpose", "fine-tune", "--name", "名.jsonl", "--expires-after", "1h30m"],
        *["--content-type", "text/plain", "--metadata", '{"ключ": [1, null]}', "--json"],
    )
    [shown] = done.json
    file = store.get(shown["id"])

    assert file.model_dump(mode="json", exclude_none=True) == shown
    assert (file.purpose, file.filename, file.content_type) == ("fine-tune", "名.jsonl", "text/plain")
    assert file.created_at + 5400 == file.expires_at
    assert file.metadata == {"ключ": [1, None]}
    assert "名".encode() in done.output


def test_put_without_a_purpose_is_user_data(run, url, store, here):
    """The purpose is user_data unless told otherwise, and nothing that was not given is set."""
    (here / "a").write_bytes(b"a")
    file = store.get(run("-s", url, "put", "a").text.strip())

    assert file.purpose == "user_data"
    assert (file.expires_at, file.content_type, file.metadata) == (None, None, None)


@pytest.mark.parametrize(("options", "name"), [([], "stdin"), (["--name", "x.bin"], "x.bin")])
def test_put_reads_standard_input(program, url, store, options, name):
    """- is standard input, to its end and byte for byte."""
    done = program("-s", url, "put", "-", *options, stdin=BYTES)
    file_id = done.text.strip()

    assert (done.code, done.errors) == (0, "")
    assert store.get_content(file_id) == BYTES
    assert name == store.get(file_id).filename


def test_put_goes_on_after_a_file_that_fails(run, url, store, here):
    """A path that cannot be read is named on standard error, the others are stored, and the exit code is 1."""
    (here / "a").write_bytes(b"a")
    (here / "d").mkdir()
    done = run("-s", url, "put", "missing", "a", "d", "--json")

    assert done.code == 1
    assert [file["filename"] for file in done.json] == ["a"]
    assert [file.filename for file in store] == ["a"]
    assert done.errors == "holdall: missing: No such file or directory\nholdall: d: Is a directory\n"


def test_put_names_the_file_that_cannot_be_stored(run, url, store, here):
    """Which of several it was is said, and since others were stored the exit code is 1, not that of wrong usage."""
    (here / "a").write_bytes(b"a")
    (here / os.fsdecode(b"bad\xff")).write_bytes(b"b")
    done = run("-s", url, "put", "a", os.fsdecode(b"bad\xff"))

    assert done.code == 1
    assert done.errors.startswith("holdall: bad")
    assert "filename contains an unpaired surrogate" in done.errors
    assert [file.filename for file in store] == ["a"]


def test_put_of_too_large_a_file_stores_nothing(run, url, store, here):
    """Over the limit of the URL the exit code is 1 and the store stays empty."""
    (here / "a").write_bytes(b"x" * 1025)
    done = run("-s", url + "?max_bytes=1KiB", "put", "a")

    assert (done.code, done.output) == (1, b"")
    assert "1024 bytes" in done.errors
    assert list(store) == []


def test_put_with_an_argument_nothing_can_hold_is_wrong_usage(run, url, here):
    """A purpose that the store refuses is the caller's mistake: code 2."""
    (here / "a").write_bytes(b"x")

    assert run("-s", url, "put", "a", "--purpose", "").code == 2


# cat


def test_cat_writes_the_bytes_unchanged(program, url, store):
    """Every byte value, line ends of all kinds, and nothing more."""
    file = store.create("x", BYTES, purpose="batch")
    done = program("-s", url, "cat", file.id)

    assert (done.code, done.output, done.errors) == (0, BYTES, "")


@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [("0:10", 0, 10), ("5:", 5, None), (":7", 0, 7), (":", 0, None), ("3:3", 3, 3), ("255990:9999999", 255_990, None)],
)
def test_cat_of_a_range(run, url, store, wanted, start, stop):
    """START:STOP is half open; past the end it is clipped."""
    file = store.create("x", BYTES, purpose="batch")

    assert BYTES[start:stop] == run("-s", url, "cat", file.id, "--range", wanted).output


@pytest.mark.parametrize("wanted", ["10:5", "9999999:", "9999999:10000000"])
def test_cat_of_a_range_that_is_not_there(run, url, store, wanted):
    """A range that starts past the end, or ends before it starts, is wrong usage."""
    file = store.create("x", BYTES, purpose="batch")
    done = run("-s", url, "cat", file.id, "--range", wanted)

    assert (done.code, done.output) == (2, b"")


def test_cat_of_damaged_bytes_fails(run, url, store, tmp_path):
    """Whoever reads all bytes learns that they are not the right ones: exit code 1."""
    file = store.create("x", BYTES, purpose="batch")
    _damage(tmp_path, file)
    done = run("-s", url, "cat", file.id)

    assert done.code == 1
    assert f"{file.id} is damaged" in done.errors


# get


def test_get_saves_under_the_stored_name(run, url, store, here):
    """Without -o the file appears in this directory under its stored name, and the name is printed."""
    file = store.create("report.bin", BYTES, purpose="batch")
    done = run("-s", url, "get", file.id)

    assert (done.code, done.text) == (0, "report.bin\n")
    assert (here / "report.bin").read_bytes() == BYTES
    umask = os.umask(0)
    os.umask(umask)
    assert 0o666 & ~umask == stat.S_IMODE(os.stat("report.bin").st_mode)


def test_get_saves_where_it_is_told(run, url, store, here):
    """-o is a file, or a directory to save into; --json tells where, how many bytes, and their SHA-256."""
    file = store.create("report.bin", BYTES, purpose="batch")
    (here / "d").mkdir()

    assert run("-s", url, "get", file.id, "-o", "d").text == "d/report.bin\n"
    digest = hashlib.sha256(BYTES).hexdigest()
    assert {"id": file.id, "path": "x", "bytes": len(BYTES), "sha256": digest} == run(
        *["-s", url, "get", file.id, "-o", "x", "--json"]
    ).json
    assert BYTES == (here / "x").read_bytes() == (here / "d" / "report.bin").read_bytes()


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/x", "..", ".", "", "a/..", "..\\x", ".profile", " .x", "\x1b[2Jx\n", "x" * 4000 + ".txt", "…/名",
     "-rf", "a/--help", " .-x", "-"],
)  # fmt: skip
def test_get_never_writes_elsewhere(run, url, store, here, tmp_path, name):
    """Whatever the stored name, one plain visible file appears in this directory, and nothing anywhere else."""
    before = {path for path in tmp_path.rglob("*") if "store" not in path.parts}
    file = store.create(name, BYTES, purpose="batch")
    done = run("-s", url, "get", file.id)

    assert done.code == 0
    [saved] = {path for path in tmp_path.rglob("*") if "store" not in path.parts} - before
    assert here == saved.parent
    assert saved.name.isprintable()
    assert not saved.name.startswith((".", " ", "-"))
    assert f"{saved.name}\n" == done.text


@pytest.mark.parametrize(
    ("stored", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("C:\\Users\\x\\report.pdf", "report.pdf"),
        ("a\tb", "a_b"),
        ("-rf", "_rf"),
        ("../--help", "_-help"),
        ("a-b", "a-b"),
        ("dir/", "file-x"),
        ("...", "file-x"),
        ("名" * 200 + ".txt", "名" * 83 + ".txt"),
        ("x." + "y" * 300, "x." + "y" * 253),
    ],
)
def test_safe_names(stored, name):
    """The last part of a path, without what is not shown and without a dash at its beginning; a long name keeps its
    suffix; the id if nothing is left.
    """
    assert name == _download.safe_name(stored, "file-x")
    assert len(name.encode()) <= 255


def test_get_replaces_nothing_unless_forced(run, url, store, here):
    """A file that is there stays, and the exit code is 1; --force replaces it, but not what a link points to."""
    file = store.create("a", BYTES, purpose="batch")
    (here / "mine").write_bytes(b"mine")
    (here / "a").symlink_to("mine")
    done = run("-s", url, "get", file.id)

    assert (done.code, done.output) == (1, b"")
    assert done.errors == "holdall: a: it exists already; add --force to replace it\n"
    assert (here / "a").read_bytes() == b"mine"

    assert run("-s", url, "get", file.id, "--force").code == 0
    assert (here / "a").read_bytes() == BYTES
    assert (here / "mine").read_bytes() == b"mine"
    assert sorted(os.listdir(here)) == ["a", "mine"]


def test_get_does_not_replace_what_appears_meanwhile(here):
    """A file made by somebody else while the download runs is not lost, with and without hard links."""
    for link in (os.link, _no_links):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "link", link)
            download = _download.Download("a", force=False)
            with pytest.raises(FileExistsError), download:
                download.write(b"new")
                (here / "a").write_bytes(b"theirs")
                download.complete()

        assert (here / "a").read_bytes() == b"theirs"
        assert os.listdir(here) == ["a"]
        (here / "a").unlink()


def test_get_works_without_hard_links(here, monkeypatch):
    """A file system that has no hard links gets its download all the same."""
    monkeypatch.setattr(os, "link", _no_links)
    with _download.Download("a", force=False) as download:
        download.write(b"new")
        download.complete()

    assert (here / "a").read_bytes() == b"new"
    assert os.listdir(here) == ["a"]


def _no_links(*_):
    raise PermissionError


def test_get_of_damaged_bytes_leaves_nothing(run, url, store, here, tmp_path):
    """Bytes with the wrong SHA-256 never appear under the name, and no half of them stays."""
    file = store.create("a", BYTES, purpose="batch")
    _damage(tmp_path, file)
    done = run("-s", url, "get", file.id)

    assert (done.code, done.output) == (1, b"")
    assert f"{file.id} is damaged" in done.errors
    assert os.listdir(here) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupted_get_leaves_nothing(here, error):
    """Whatever ends a download early, the old file stays whole and no part is left."""
    (here / "a").write_bytes(b"old")
    with pytest.raises(error), _download.Download("a", force=True) as download:
        download.write(b"half")
        raise error

    assert (here / "a").read_bytes() == b"old"
    assert os.listdir(here) == ["a"]


def test_get_where_nothing_can_be_written(run, url, store, here):
    """An error of the local disk names the path that was asked for: code 1."""
    file = store.create("a", BYTES, purpose="batch")
    done = run("-s", url, "get", file.id, "-o", "no/such/a")

    assert (done.code, done.errors) == (1, "holdall: no/such/a: No such file or directory\n")


# rm


def test_rm_removes_each(run, url, store):
    """All named files are gone, and nothing is printed."""
    ids = [store.create("a", b"", purpose="batch").id for _ in range(3)]
    done = run("-s", url, "rm", *ids[:2])

    assert (done.code, done.output, done.errors) == (0, b"", "")
    assert ids[2:] == [file.id for file in store]


def test_rm_reports_each_that_is_missing(run, url, store):
    """A missing file is named and the others are removed: code 4; --json lists the removed."""
    file = store.create("a", b"", purpose="batch")
    absent = "file-" + "0" * 32
    done = run("-s", url, "rm", absent, file.id, "../x", "--json")

    assert done.code == 4
    assert [{"id": file.id, "object": "file", "deleted": True}] == done.json
    assert re.fullmatch(rf"holdall: .*{absent}\nholdall: .*'../x'.*\n", done.errors)
    assert list(store) == []


def test_rm_that_fails_in_two_ways_is_code_1(run, url, store, monkeypatch):
    """Code 4 says that files were missing and no more; with another failure beside it the code is 1."""
    file = store.create("a", b"", purpose="batch")
    delete = holdall.FileStore.delete

    def refusing(self, file_id):
        if file_id == file.id:
            raise holdall.AccessDenied("no")
        delete(self, file_id)

    monkeypatch.setattr(holdall.FileStore, "delete", refusing)

    assert run("-s", url, "rm", file.id, "file-" + "0" * 32).code == 1
