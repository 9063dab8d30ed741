"""`ls`, `stat`, `verify`, `sweep` and `backends`."""

from __future__ import annotations

import errno
import json
import os
import pty
import re
import subprocess
import sys

import pytest

from holdall import registry
from holdall.backend import Debris
from holdall.backends.local import LocalBackend
from holdall.cli import _text
from holdall.errors import InvalidRequest

HOSTILE = "\x1b]0;pwned\x07[bold red]x[/]\x9b2J\u202egpj.exe\n:smile:"


@pytest.fixture
def files(store):
    """Three files, oldest first."""
    return [
        store.create("one.txt", b"1", purpose="assistants"),
        store.create("二.bin", b"2" * 1_572_864, purpose="fine-tune", content_type="a/b", metadata={"k": "é"}),
        store.create("three", b"", purpose="batch", expires_after=3600),
    ]


# ls


def test_ls_shows_each_file_on_a_line(run, url, files):
    """Id, size, time in UTC, purpose and name; the id is never shortened."""
    lines = run("-s", url, "ls").text.splitlines()

    assert lines[0].split() == ["ID", "SIZE", "CREATED", "(UTC)", "PURPOSE", "NAME"]
    for line, file, size in zip(lines[1:], files, ["1 B", "1.5 MiB", "0 B"], strict=True):
        created = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
        assert re.fullmatch(rf"{file.id} +{size}  {created}  {file.purpose} +{file.filename}", line)


def test_ls_as_json_is_one_array(run, url, files):
    """Files as they are in the store, sizes in bytes, letters unescaped; an empty store is an empty array."""
    done = run("-s", url, "ls", "--json")

    assert [file.model_dump(mode="json", exclude_none=True) for file in files] == done.json
    assert "二".encode() in done.output
    assert run("-s", url + "-empty", "ls", "--json").text == "[]\n"


def test_ls_prints_no_headings_if_the_listing_fails(run, url, files, monkeypatch):
    """Headings with nothing below them mean an empty store."""
    monkeypatch.setattr(LocalBackend, "list_ids", _unreadable)
    done = run("-s", url, "ls")

    assert (done.code, done.text) == (1, "")
    assert "cannot list" in done.errors


def _unreadable(*_bounds):
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_ls_selects_and_orders(run, url, files):
    """--purpose, --order, --limit and --after are those of the store; -q prints ids only."""
    one, two, three = (f"{file.id}\n" for file in files)

    def ids(*options):
        return run("-s", url, "ls", "-q", *options).text

    assert one + two + three == ids()
    assert three + two + one == ids("--order", "desc")
    assert two == ids("--purpose", "fine_tune")
    assert one + two == ids("--limit", "2")
    assert two + three == ids("--after", files[0].id)
    assert one == ids("--order", "desc", "--after", files[1].id)


def test_ls_of_a_hostile_name(run, url, store):
    """Control characters of a name reach the terminal as escapes, rich's markup has no effect, JSON keeps the name."""
    file = store.create(HOSTILE, b"", purpose="batch")
    shown = r"\x1b]0;pwned\x07[bold red]x[/]\x9b2J\u202egpj.exe\n:smile:"

    assert run("-s", url, "ls").text.splitlines()[1].endswith(shown)
    assert f"filename:     {shown}\n" in run("-s", url, "stat", file.id).text
    done = run("-s", url, "ls", "--json")
    assert done.json[0]["filename"] == HOSTILE
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.text)


@pytest.mark.parametrize("columns", [40, 300])
def test_ls_on_a_terminal(url, store, files, columns):
    """A terminal gets a table with whole ids and names at any width, and no control characters but the table's own."""
    file = store.create(HOSTILE, b"", purpose="batch")
    shown = _on_terminal([sys.executable, "-m", "holdall.cli", "-s", url, "ls"], columns=columns)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)

    assert plain != shown
    for each in [*files, file]:
        assert each.id in plain
    assert "二.bin" in plain
    # A long name is folded, not shortened.
    assert "[boldred]x[/]" in re.sub(r"\s", "", plain)
    assert not re.search("[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e]", plain)


def test_ls_on_a_terminal_tells_that_more_follow(url, files):
    """After a page the terminal shows how to get the next one."""
    shown = _on_terminal([sys.executable, "-m", "holdall.cli", "-s", url, "ls", "--limit", "2"], columns=200)

    assert f"--after {files[1].id}" in shown


def _on_terminal(command, columns):
    mine, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        parts = []
        try:
            while data := os.read(mine, 65536):
                parts.append(data)
        except OSError:
            pass  # that is how a terminal ends on Linux
    os.close(mine)
    assert process.returncode == 0
    return b"".join(parts).decode()


# stat


def test_stat_shows_all_that_is_set(run, url, files):
    """Every field that is set, sizes and times also for people; nothing else."""
    shown = dict(line.split(":", 1) for line in run("-s", url, "stat", files[1].id).text.splitlines())

    assert set(files[1].model_dump(exclude_none=True)) == set(shown)
    assert shown["bytes"].strip() == "1572864 (1.5 MiB)"
    assert json.loads(shown["metadata"]) == {"k": "é"}


def test_stat_as_json_is_the_file(run, url, files):
    """--json gives one object: the file as it is in the store."""
    for file in files:
        assert file.model_dump(mode="json", exclude_none=True) == run("-s", url, "stat", file.id, "--json").json


# verify and sweep


def test_verify_of_a_sound_store(run, url, files):
    """Nothing wrong: code 0, and what was read."""
    done = run("-s", url, "verify")

    assert (done.code, done.text, done.errors) == (0, "3 files, 1.5 MiB read, no problem\n", "")
    assert run("-s", url, "verify", "--json").json == {
        "ok": True,
        "files": 3,
        "bytes": 1_572_865,
        "problems": [],
        "leftovers": [],
        "unread": [],
    }


def test_verify_reports_each_damage(run, url, files, tmp_path):
    """Each damaged file stands on a line with its id and what is wrong: code 1."""
    root = tmp_path / "store"
    (root / files[0].id / "data.bin").write_bytes(b"!")
    (root / files[1].id / "data.bin").unlink()
    (root / files[2].id / "meta.json").write_bytes(b"{")
    done = run("-s", url, "verify")
    as_json = run("-s", url, "verify", "--json")

    assert (done.code, as_json.code) == (1, 1)
    wrong = {files[0].id: "wrong sha256", files[1].id: "missing data", files[2].id: "unreadable metadata"}
    assert wrong == dict(line.split(": ")[:2] for line in done.text.splitlines()[:-1])
    assert wrong == {problem["file_id"]: problem["kind"] for problem in as_json.json["problems"]}
    assert not as_json.json["ok"]


def test_verify_tells_what_it_could_not_read(run, url, files, monkeypatch):
    """The report is printed, with what could not be examined; the store is not called sound: code 1."""

    def debris(self):
        yield Debris("x", "removed entry", "file-x", 0, 0)
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalBackend, "debris", debris)
    done = run("-s", url, "verify")
    as_json = run("-s", url, "verify", "--json")

    assert (done.code, as_json.code, as_json.json["ok"]) == (1, 1, False)
    leftover, sentence, verdict = done.text.splitlines()
    assert leftover.startswith("file-x: leftover")
    assert "Permission denied" in sentence
    assert [sentence] == as_json.json["unread"]
    assert verdict == "3 files, 1.5 MiB read, 0 damaged, not everything could be examined"


def test_leftovers_are_listed_and_swept(run, url, files, tmp_path):
    """A leftover is no damage for `verify`; `sweep` removes it once it is old enough, unless it is a dry run."""
    leftover = tmp_path / "store" / ("file-" + "a" * 32)
    leftover.mkdir()
    (leftover / "data.bin").write_bytes(b"x" * 2048)

    assert run("-s", url, "verify").code == 0
    assert leftover.name not in run("-s", url, "verify").text
    verified = run("-s", url, "verify", "--older-than", "0")
    assert verified.code == 0
    assert f"{leftover.name}: leftover: data without metadata, 2.0 KiB" in verified.text

    assert run("-s", url, "sweep").text == "removed 0 expired files and 0 leftovers (0 B)\n"
    tried = run("-s", url, "sweep", "--older-than", "0s", "--dry-run")
    assert tried.text.endswith("would remove 0 expired files and 1 leftover (2.0 KiB)\n")
    assert leftover.exists()

    swept = run("-s", url, "sweep", "--older-than", "0s", "--json").json
    assert ([], [leftover.name], False) == (
        swept["expired"],
        [each["file_id"] for each in swept["leftovers"]],
        swept["dry_run"],
    )
    assert not leftover.exists()


def test_sweep_removes_the_expired(run, url, store, tmp_path):
    """An expired file is named and gone from the disk; the others stay."""
    kept, expired = (store.create("x", b"", purpose="batch", expires_after=60) for _ in range(2))
    meta = tmp_path / "store" / expired.id / "meta.json"
    meta.write_text(meta.read_text().replace(str(expired.expires_at), "1"))

    assert f"{expired.id}: expired\nremoved 1 expired file and 0 leftovers (0 B)\n" == run("-s", url, "sweep").text
    assert [kept.id] == [name for name in os.listdir(tmp_path / "store") if name.startswith("file-")]


# backends


def test_backends_shows_what_is_installed(run):
    """Each scheme with its package and options, and once those of every URL; capabilities where they do not depend on
    the options.
    """
    text = run("backends").text
    by_scheme = {info["scheme"]: info for info in run("backends", "--json").json}

    assert re.search(r"^file:// +holdall \S+ +fsync +ok$", text, flags=re.MULTILINE)
    assert text.count("max_bytes") == 1
    assert text.endswith("\nEvery URL also accepts max_bytes: largest file, such as 1GiB.\n")
    assert by_scheme["file"]["options"] == ["fsync", "max_bytes"]
    assert {"file", "memory"} <= set(by_scheme)
    assert "ORDERED_LISTING" in by_scheme["memory"]["capabilities"]
    assert (by_scheme["file"]["capabilities"], by_scheme["file"]["problem"]) == (None, None)


def test_backends_shows_a_broken_one_with_the_reason(run, monkeypatch):
    """A backend that does not load is listed with why; the others stay usable, and the code is 0."""
    broken = registry.BackendInfo("foo", "holdall-foo 1.0", "foo:Foo", "the backend of foo:// does not load: no bar")
    monkeypatch.setattr(registry, "installed", lambda: [broken])
    done = run("backends")

    assert done.code == 0
    assert "no bar" in done.text
    assert broken.problem == run("backends", "--json").json[0]["problem"]


def test_backends_explains_the_options_of_a_scheme(run):
    """`backends file`, or a URL, gives each option with its default as it would stand in a URL, and what it means."""
    done = run("backends", "file")

    assert done.code == 0
    assert done.text.splitlines()[0].split() == ["OPTION", "DEFAULT", "MEANING"]
    assert re.search(r"^fsync +true +wait for the disk", done.text, flags=re.MULTILINE)
    assert re.search(r"^max_bytes +512MiB +largest file", done.text, flags=re.MULTILINE)
    assert done.text == run("backends", "file:///var/lib/files").text
    by_name = {option["name"]: option for option in run("backends", "memory", "--json").json}
    assert by_name == {
        "max_bytes": {"name": "max_bytes", "default": "512MiB", "description": "largest file, such as 1GiB"}
    }


def test_backends_of_an_unknown_scheme_is_wrong_usage(run):
    """The error is the one that opening such a store gives."""
    done = run("backends", "fil")

    assert (done.code, done.text) == (2, "")
    assert "did you mean file://?" in done.errors


# sizes, times and spans


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("7d", 604_800), ("1w", 604_800), ("1h30m", 5400)],
)
def test_spans_of_time(text, seconds):
    """Seconds, or numbers with a unit, as many as one likes."""
    assert seconds == _text.parse_duration("--x", text)


@pytest.mark.parametrize("text", ["", "h", "1.5h", "-1", "1 h", "1y", "1h30", "٣s", "1e3", "9" * 5000])
def test_what_is_no_span_of_time(text):
    """Anything else is refused, and the option is named."""
    with pytest.raises(InvalidRequest, match=r"--x is .*1h30m"):
        _text.parse_duration("--x", text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (512 * 1024**2, "512.0 MiB"),
        (10**30, "867361737988.4 EiB"),
    ],
)
def test_sizes(size, text):
    """Units of 1024, one decimal, never 1024.0 of a unit."""
    assert text == _text.human_size(size)


def test_a_time_nobody_can_write(run, url, store, tmp_path):
    """A time beyond the calendar is shown as its number, and does not stop a listing."""
    file = store.create("x", b"", purpose="batch")
    meta = tmp_path / "store" / file.id / "meta.json"
    meta.write_text(meta.read_text().replace(str(file.created_at), "999999999999999"))

    assert "999999999999999" in run("-s", url, "ls").text


def test_visible_keeps_what_people_write():
    """Letters, emoji and blanks of all scripts stay; what a terminal obeys, or reorders, does not."""
    assert _text.visible("Grüße 名 👩\u200d🚀 می\u200cخواهم a\u202fb") == "Grüße 名 👩\u200d🚀 می\u200cخواهم a\u202fb"
    assert _text.visible("\x1b\x9b\u2066\r\udc80") == r"\x1b\x9b\u2066\r\udc80"
