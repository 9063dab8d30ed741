"""What is common to all commands: options, exit codes, errors, start-up."""

from __future__ import annotations

import io
import os
import pty
import re
import signal
import subprocess
import sys
import threading

import pytest

import holdall
from holdall.cli import main

ABSENT = "file-" + "0" * 32


def test_help_names_every_command(run):
    """`holdall --help` lists the commands for files first, in the order of their use, and exits with 0."""
    done = run("--help")

    assert (done.code, done.errors) == (0, "")
    listed = re.findall(r"^  (\w+)  ", done.text.partition("Commands:")[2], flags=re.MULTILINE)
    assert listed[:10] == ["put", "get", "cat", "rm", "ls", "stat", "verify", "sweep", "copy", "backends"]


def test_help_tells_each_command_whole(run):
    """What a command is for is short enough for its line: none ends in an ellipsis."""
    for arguments in (["--help"], ["plugin", "--help"]):
        assert "..." not in run(*arguments).text.partition("Commands:")[2]


def test_it_runs_as_a_module():
    """`python -m holdall` is the program, for who has it in no path."""
    command = [sys.executable, "-m", "holdall", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout) == (0, f"holdall {holdall.__version__}\n")


def test_without_a_command_it_shows_the_help_and_fails(run):
    """A script whose command was lost in an empty variable does not go on as if all were well."""
    done = run()

    assert done.code == 2
    assert "Usage: holdall" in done.text


def test_version(run):
    """`--version` prints the name and version of the package."""
    assert f"holdall {holdall.__version__}\n" == run("--version").text


# Where typer has values to check it loads pydantic itself.
OWN = {"holdall.store", "holdall.model", "holdall.registry", "stevedore", "rich", "platformdirs", "logging"}


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["--help"], {*OWN, "pydantic"}),
        (["--version"], {*OWN, "pydantic"}),
        (["put", "--help"], OWN),
        (["--show-completion", "bash"], OWN),
    ],
)
def test_help_loads_nothing_heavy(arguments, heavy):
    """Help, version and completion need no store, no models, no plugins and no tables, and load none of them."""
    code = f"""
import sys
from holdall.cli import main
code = main({arguments!r})
print(*sorted({heavy!r} & set(sys.modules)), file=sys.stderr)
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_completion_of_a_command(program):
    """The shell's completion offers the commands that begin like the word typed."""
    typed = {"_HOLDALL_COMPLETE": "complete_bash", "COMP_WORDS": "holdall ver", "COMP_CWORD": "1"}
    done = program(environment=typed)

    assert (done.code, done.text, done.errors) == (0, "verify\n", "")


def test_completion_script(run):
    """`--show-completion` prints the script for the shell."""
    done = run("--show-completion", "bash")

    assert done.code == 0
    assert "_HOLDALL_COMPLETE=complete_bash" in done.text


def test_the_store_is_named_before_or_after_the_command(run, url, store):
    """`-s` and `--store` may stand on both sides; the one after the command wins."""
    file = store.create("a", b"", purpose="batch")
    elsewhere = url + "-other"

    for arguments in (["-s", url, "ls", "-q"], ["ls", "-q", "--store", url], ["-s", elsewhere, "ls", "-q", "-s", url]):
        assert f"{file.id}\n" == run(*arguments).text
    assert run("-s", url, "ls", "-q", "-s", elsewhere).text == ""


def test_the_store_comes_from_the_environment(run, url, store, monkeypatch):
    """Without `-s`, $HOLDALL_STORE names the store; `-s` wins over it."""
    file = store.create("a", b"", purpose="batch")
    monkeypatch.setenv("HOLDALL_STORE", url)

    assert f"{file.id}\n" == run("ls", "-q").text
    assert run("-s", url + "-other", "ls", "-q").text == ""


def test_an_empty_url_is_an_error(run):
    """`-s "$UNSET"` never means the default store."""
    done = run("-s", "", "ls")

    assert done.code == 2
    assert "the store URL is empty" in done.errors


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["-s", "file:///nowhere?fsycn=false", "ls"], ["'fsycn'", "'fsync'"]),
        (["-s", "s3x://b", "ls"], ["s3x://", "installed: ", "file", "memory"]),
        (["ls", "--limit", "0"], ["limit"]),
        (["ls", "--after", "x"], ["not a file id"]),
        (["ls", "--order", "up"], ["asc", "desc"]),
        (["put"], ["PATH", "holdall put --help"]),
        (["lss"], ["lss", "ls"]),
        (["plugin"], ["Missing command", "holdall plugin --help"]),
        (["ls", "--colour"], ["--colour"]),
        (["sweep", "--older-than", "soon"], ["--older-than", "1h30m"]),
        (["put", "x", "--expires-after", "1y"], ["--expires-after"]),
        (["put", "x", "--metadata", "[1]"], ["--metadata", "JSON object"]),
        (["cat", ABSENT, "--range", "1-2"], ["--range", "START:STOP"]),
        (["put", "x", "y", "--name", "z"], ["--name"]),
        (["put", "-", "-"], ["standard input"]),
        (["get", ABSENT, "-O", "-o", "x"], ["-O"]),
    ],
)
def test_wrong_usage_is_one_sentence_and_code_2(run, url, arguments, named):
    """A wrong command line or URL exits with 2 and one line that names what is wrong, and the right thing."""
    done = run(*(arguments if "-s" in arguments else ["-s", url, *arguments]))

    assert (done.code, done.output) == (2, b"")
    assert done.errors.startswith("holdall: ")
    assert done.errors.count("\n") == 1
    for name in named:
        assert name in done.errors


@pytest.mark.parametrize("command", ["get", "cat", "stat", "rm"])
@pytest.mark.parametrize("file_id", [ABSENT, "../x", "/etc/passwd", "", "file-\x1b[2J", "x" * 100_000])
def test_no_such_file_is_code_4(run, url, command, file_id):
    """An id without a file, and what can never be an id, exits with 4 and one harmless line."""
    done = run("-s", url, command, file_id)

    assert (done.code, done.output) == (4, b"")
    assert re.fullmatch(r"holdall: [ -~…]{1,300}\n", done.errors)


def test_a_storage_that_fails_is_code_1(run, tmp_path):
    """A root that is a file exits with 1, and the message says so."""
    root = tmp_path / "a-file"
    root.write_bytes(b"")
    done = run("-s", root, "ls")

    assert done.code == 1
    assert "not a directory" in done.errors


def test_an_unexpected_error_is_one_sentence(run, url, monkeypatch):
    """A fault of the program's own names the exception and `--debug`, shows no traceback, and not its text."""
    monkeypatch.setattr(holdall.FileStore, "verify", _fail)
    done = run("-s", url, "verify")

    assert done.code == 1
    assert done.errors == "holdall: unexpected ZeroDivisionError; the option --debug shows where it comes from\n"


@pytest.mark.parametrize("place", ["before", "after"])
def test_debug_shows_the_traceback(run, url, monkeypatch, place):
    """`--debug`, on either side of the command, adds the traceback."""
    monkeypatch.setattr(holdall.FileStore, "verify", _fail)
    done = run(*["--debug"][: place == "before"], "-s", url, "verify", *["--debug"][: place == "after"])

    assert done.code == 1
    assert "Traceback (most recent call last)" in done.errors
    assert "in _fail" in done.errors


def _fail(*_, **__):
    raise ZeroDivisionError("its text may hold a secret")


def test_a_warning_of_the_library_is_one_line(run, url, store, tmp_path):
    """A corrupt entry is named on standard error, under the program's name, and the listing goes on."""
    good, bad = (store.create("x", b"", purpose="batch") for _ in range(2))
    (tmp_path / "store" / bad.id / "meta.json").write_bytes(b"{")
    done = run("-s", url, "ls", "-q")

    assert (0, f"{good.id}\n") == (done.code, done.text)
    assert re.fullmatch(rf"holdall: left out of listings: .*{bad.id}.*\n", done.errors)


@pytest.mark.parametrize("arguments", [["cat", "{id}"], ["ls"], ["ls", "--json"], ["--help"], ["ls", "--help"]])
def test_a_closed_pipe_ends_it_quietly(url, store, arguments):
    """When the reader of standard output is gone, the program ends with 0 and says nothing, not even at its exit."""
    # More than a pipe or a buffer holds, in every kind of output.
    file = store.create("n" * 4096, b"x" * 400_000, purpose="batch", metadata={"k": "v" * 60_000})
    for _ in range(20):
        store.create("n" * 4096, b"", purpose="batch")
    read, write = os.pipe()
    os.close(read)

    command = [sys.executable, "-m", "holdall.cli", "-s", url, *(a.format(id=file.id) for a in arguments)]
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def _unread(url, *arguments):
    """A run whose output nobody reads."""
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "holdall.cli", "-s", url, *map(str, arguments)]
    with os.fdopen(write, "wb") as pipe:
        return subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, timeout=60, check=False)


@pytest.mark.parametrize("json", [[], ["--json"]])
def test_what_is_done_is_done_whether_or_not_anybody_reads_of_it(url, store, tmp_path, json):
    """When the reader of standard output is gone, all files are stored or removed all the same, and the exit code is
    that of what was done.
    """
    paths = [tmp_path / name for name in "abc"]
    for path in paths:
        path.write_bytes(b"x")
    assert _unread(url, "put", *paths, *json).returncode == 0
    first, second, third = (file.id for file in store)
    assert _unread(url, "rm", first, "file-absent", second, *json).returncode == 4
    assert [file.id for file in store] == [third]

    (tmp_path / "store" / third / "data.bin").write_bytes(b"damaged")
    assert _unread(url, "verify", *json).returncode == 1
    copied = _unread(url, "copy", url, tmp_path / "copy", *json)
    assert copied.returncode == 1
    if not json:
        assert third.encode() in copied.stderr


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"], ids=["stdin", "stdout", "stderr"])
def test_a_closed_stream_is_no_reason_to_fail(url, store, tmp_path, closed):
    """Whoever starts the program without one of the standard streams loses what stands there, and nothing else."""
    (tmp_path / "a").write_bytes(b"x")
    shell = f'"$0" -m holdall.cli -s "$1" put "$2" {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", shell, sys.executable, url, tmp_path / "a"], capture_output=True, timeout=60, check=False
    )

    (file,) = store
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == (b"" if closed == ">&-" else file.id.encode() + b"\n")


def test_processes_that_it_starts_have_all_streams():
    """Whichever was closed: in a worker without one, the next thing opened, say the store, would take its place."""
    started = "import os; [os.fstat(fd) for fd in range(3)]"
    program = (
        "import os, subprocess, sys, holdall.cli; [os.close(fd) for fd in range(3)]; holdall.cli.main(['--version']);"
        "code = subprocess.run([sys.executable, '-c', sys.argv[1]]).returncode; os._exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", program, started], timeout=60, check=False)

    assert done.returncode == 0


def test_a_closed_standard_input_cannot_be_stored(url, store):
    """It is not an empty one."""
    shell = '"$0" -m holdall.cli -s "$1" put - <&-'
    done = subprocess.run(["/bin/sh", "-c", shell, sys.executable, url], capture_output=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (2, b"holdall: -: standard input is closed; give it something to read\n")
    assert list(store) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [["ls"], ["ls", "--json"], ["--help"]])
def test_output_that_cannot_be_written_is_an_error(program, url, arguments):
    """A full disk behind standard output exits with 1 and one line."""
    with open("/dev/full", "wb") as full:
        done = program("-s", url, *arguments, stdout=full)

    assert (done.code, done.errors) == (1, "holdall: No space left on device\n")


def test_an_interruption_is_quiet_and_leaves_nothing(url, store):
    """Ctrl-C in the middle of an upload exits with 130, says nothing, and stores nothing."""
    with subprocess.Popen(
        [sys.executable, "-m", "holdall.cli", "-s", url, "put", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        # More than a pipe holds: once it is written, the program is reading.
        process.stdin.write(b"x" * 3_000_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)

    assert (process.returncode, output, errors) == (130, b"", b"")
    assert list(store) == []
    assert list(store.backend.debris()) == []


def test_a_name_that_the_terminal_cannot_write_is_no_error(program, url, store):
    """With an encoding that lacks a name's letters, `ls` shows them as escapes; JSON is UTF-8 all the same."""
    store.create("naïve-名.txt", b"", purpose="batch")
    ascii_only = {"PYTHONIOENCODING": "ascii"}

    assert r"na\xefve-\u540d.txt" in program("-s", url, "ls", environment=ascii_only).text
    assert program("-s", url, "ls", "--json", environment=ascii_only).json[0]["filename"] == "naïve-名.txt"


def test_progress_is_shown_on_a_terminal_only(url, tmp_path):
    """A long upload draws a bar when standard error is a terminal; the id on standard output stays alone. The name of
    the file is text, whatever it contains.
    """
    large = tmp_path / "large[red]\x1b[8m.bin"
    large.write_bytes(bytes(16 * 1024 * 1024))
    command = [sys.executable, "-m", "holdall.cli", "-s", url, "put", str(large)]
    mine, theirs = pty.openpty()
    drawn = io.BytesIO()
    reader = threading.Thread(target=_read_all, args=(mine, drawn))
    reader.start()
    # Wide, for the bar shows the whole path.
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "250"}
    on_terminal = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=theirs, env=environment, timeout=60, check=False
    )
    os.close(theirs)
    reader.join()
    os.close(mine)
    in_pipe = subprocess.run(command, capture_output=True, env=environment, timeout=60, check=False)

    assert b"large[red]" in drawn.getvalue()
    assert b"\x1b[8m" not in drawn.getvalue()
    assert re.fullmatch(rb"file-[0-9a-f]{32}\n", on_terminal.stdout)
    assert in_pipe.stderr == b""


def _read_all(fd, into):
    try:
        while data := os.read(fd, 65536):
            into.write(data)
    except OSError:
        return  # that is how a terminal ends on Linux


def test_main_takes_its_arguments_from_the_process(monkeypatch, capfd, url):
    """Without arguments of the caller's, `main` reads those of the process."""
    monkeypatch.setattr(sys, "argv", ["holdall", "--version"])

    assert main() == 0
    assert capfd.readouterr().out.startswith("holdall ")
