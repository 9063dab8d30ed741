"""A run measures what it is asked for, checks it, and leaves nothing behind."""

from __future__ import annotations

import sys

import pytest
from benchmarks.cases import listing, local, objects, server, threads
from benchmarks.harness import Run, WrongResult, check
from benchmarks.peers._floors import SeedFloor
from benchmarks.peers._holdall import Holdall
from benchmarks.tables import Tables

import holdall
from benchmarks import __main__ as program
from benchmarks import load, servers

pytestmark = [
    # Of the peers, which are not ours to mend: filedepot uses a module that will go, file-keeper leaves files open.
    pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def _run(tmp_path, *only):
    run = Run(tmp_path, scale="quick", only=only, seed=1)
    # The scales are for clocks; what is tested here needs a handful.
    run.pick = lambda quick, default, full: min(quick, 4)
    return run


@pytest.mark.parametrize(
    ("only", "name", "wanted"),
    [
        ([], "local.create", True),
        (["local.create"], "local.create", True),
        (["local.create"], "local.", True),
        (["local.create"], "local.get", False),
        (["local."], "local.get", True),
        (["local"], "local-1MiB.get", True),
        (["local."], "local-1MiB.", False),
    ],
)
def test_only_what_is_asked_for_is_measured(tmp_path, only, name, wanted):
    """Names of tables, their beginnings, and the groups that they are in."""
    assert Run(tmp_path, only=only).wants(name) is wanted


def test_local_tables_have_every_peer_that_is_installed(tmp_path, monkeypatch):
    """Each call is measured of each store in every round, and deleting last."""
    monkeypatch.setattr("benchmarks.harness.quiet", lambda: None)
    run = _run(tmp_path, "local.")
    local.measure(run)
    assert "local.delete" not in run.tables
    run.finish()

    assert {"local.create", "local.get", "local.get_content", "local.list", "local.delete"} <= set(run.tables)
    series = run.tables["local.create"].series
    assert {"holdall, fsync=false", "seed-protocol floor", "plain port of the seed"} <= set(series)
    assert {len(values) for values in series.values()} == {4}
    assert "open, read, json.loads" in run.tables["local.get"].series
    assert "shutil.rmtree" in run.tables["local.delete"].series


def test_threads_share_the_files_between_them(tmp_path):
    """Two threads make the files in equal parts, and every one is there."""
    store = Holdall(tmp_path)
    seconds = threads.together(store, 2, 8)

    assert seconds > 0
    assert len(store.list()) == 8
    store.close()


def test_a_listing_is_filled_with_entries_that_holdall_reads(tmp_path):
    """What is made by bare calls for listings is a sound store, in the order of ids."""
    listing.fill(tmp_path, 30)
    with holdall.open_store(tmp_path) as store:
        files = list(store)

        assert len(files) == 30
        assert sorted(file.id for file in files) == [file.id for file in files]
        assert store.verify().problems == ()


def test_a_wrong_result_ends_the_run(tmp_path, monkeypatch):
    """A store that gives other bytes back is not timed, it is reported."""
    monkeypatch.setattr(SeedFloor, "get_content", lambda self, file_id: b"other bytes")
    with pytest.raises(WrongResult, match="seed-protocol floor: other bytes"):
        local.measure(_run(tmp_path, "local.get_content"))
    with pytest.raises(WrongResult):
        check(False, "so")


@pytest.mark.parametrize("driver", objects.DRIVERS)
def test_the_listing_server_answers_as_s3_does(driver):
    """Listing all, pages from both ends, and reading, as a real server would have it: the pages are counted on it."""
    found = objects.documents(60)
    server = servers.ListingServer("p", found)
    with server.running() as endpoint:
        url = f"{driver}://bucket/p?endpoint_url={endpoint}&region=us-east-1&key=k&secret=s"
        with holdall.open_store(url) as store:
            assert [file.id for file in store] == list(found)
            assert [file.id for file in store.list(limit=5, order="desc")] == list(found)[::-1][:5]
            assert [file.id for file in store.list(limit=5, after=list(found)[9])] == list(found)[10:15]
            with pytest.raises(holdall.FileNotFound):
                store.get("file-absent")


def test_the_server_is_measured_beside_its_store(tmp_path, monkeypatch):
    """Each call, by the server, by threads on the store, and by a server that does nothing, with every answer right."""
    monkeypatch.setattr(server, "CLIENTS", (3,))
    run = _run(tmp_path, "server.")
    run.pick = lambda quick, default, full: 0.05 if quick < 1 else min(quick, 30)
    server.measure(run)

    for call in server.CALLS:
        for measured in (f"server.{call}", f"server.{call}.p50", f"server.{call}.p99"):
            series = run.tables[measured].series
            assert {"holdall serve, 3 clients", "the store itself, 3 clients"} <= set(series)
            assert any(who.startswith("Starlette") for who in series)
            assert {len(values) for values in series.values()} == {1}


@pytest.mark.parametrize(
    ("job", "answers"),
    [
        ({"call": "download"}, [load.DATA, load.DATA[:-1]]),
        ({"call": "page", "newest": ["file-1"]}, [b'{"data": [{"id": "file-2"}]}']),
        ({"call": "upload"}, [b'{"id": "file-1", "filename": "report.jsonl", "bytes": 1024}'] * 2),
        ({"call": "upload"}, [b'{"id": "file-1", "filename": "report.jsonl", "bytes": 1023}']),
    ],
)
def test_a_wrong_answer_of_the_server_is_not_timed(job, answers):
    """Other bytes, another page, one id for two files, a file of another size."""
    load.check_answers({**job, "constant": False}, answers[:-1])
    with pytest.raises(AssertionError):
        load.check_answers(job, answers)


def test_a_client_that_fails_ends_the_run():
    """Where nobody listens, nothing is measured."""
    with server._Load() as process, pytest.raises(WrongResult, match="download by 2 clients failed"):
        process.do({"call": "download", "clients": 2, "seconds": 0.1, "port": 9, "newest": ["file-1"]})


def test_the_program_writes_what_it_measured_where_it_is_told(tmp_path, monkeypatch, capsys):
    """A part of a run is printed, and kept only where it is told; nothing else stays."""
    measured, out = tmp_path / "measured", tmp_path / "out"
    measured.mkdir()
    monkeypatch.setattr(program, "CASES", ("asynchronous",))
    monkeypatch.setattr(
        sys, "argv", ["bench", "--quick", "--only", "async.get", "--dir", str(measured), "--out", str(out)]
    )
    program.main()

    assert list(measured.iterdir()) == []
    assert set(Tables.load(out / "results.json")) == {"async.get"}
    printed = capsys.readouterr().out
    assert "async get | sync | ≤ 3.00×" in printed
    assert str(tmp_path) not in (out / "README.md").read_text() + (out / "results.json").read_text()
