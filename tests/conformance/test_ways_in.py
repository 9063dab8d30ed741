"""The suite's three ways in give one result, with the exit codes and reports that are promised."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET

import pytest

import holdall
from holdall import FileStore
from holdall.backends.memory import MemoryBackend
from holdall.conformance import SUITE_VERSION, Target, run

BROKEN = '''
from holdall.backends.memory import MemoryBackend

class Backend(MemoryBackend):
    """Loses the last byte of everything longer than 4096 bytes."""

    def open_data(self, file_id, start=0, stop=None):
        data = super().open_data(file_id).read()
        import io
        return io.BytesIO((data[:-1] if len(data) > 4096 else data)[start:stop])
'''


@pytest.fixture
def environment(tmp_path):
    """Variables of a process in which `lossy://` is the scheme of an installed, broken backend."""
    folder = tmp_path / "site"
    metadata = folder / "holdall_lossy-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "lossy.py").write_text(BROKEN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: holdall-lossy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[holdall.backends]\nlossy = lossy:Backend\n")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}


def holdall_conformance(environment, *arguments):
    """The real program."""
    command = [sys.executable, "-m", "holdall.cli", "conformance", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_conformant_store_exits_with_0_and_ends_with_the_verdict(environment):
    """A store that holds everything: exit code 0, the verdict as the last line."""
    done = holdall_conformance(environment, "memory://", "--only", "content.ranges,list.empty")

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == f"holdall conformance {SUITE_VERSION}: core 2/2: CONFORMANT"


def test_a_report_that_cannot_be_written_is_printed_all_the_same(environment):
    """A run may have taken long: what it found is told, and then what is wrong with the file."""
    done = holdall_conformance(environment, "memory://", "--only", "list.empty", "--markdown", "/dev/full")

    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].endswith("CONFORMANT")
    assert done.stderr.splitlines()[-1] == "holdall: /dev/full: No space left on device"


def test_broken_store_exits_with_1_and_says_what_to_do(environment):
    """A store that breaks a promise: exit code 1; promise, what was done, expected, seen, why, hint, rerun."""
    done = holdall_conformance(environment, "lossy://x", "--only", "content.large", "--seed", 7)

    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["BROKEN", "content.large", "[core,", "since", "1.0]"]
    assert [line.split()[0] for line in lines[1:8]] == ["promise", "did", "expected", "saw", "why", "hint", "rerun"]
    assert lines[7] == "rerun     holdall conformance URL --only content.large --seed 7"
    assert lines[-1].endswith("core 0/1: BROKEN (1)")


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["memory://", "--only", "content.rangs"], "no check is named 'content.rangs'; did you mean 'content.ranges'?"),
        (["memory://", "--level", "hard"], "hard"),
        (["nonsense://"], "nonsense"),
        ([], "which store"),
        (["memory://?fsycn=1"], "fsycn"),
        (["memory://?max_bytes=many"], "option 'max_bytes' of memory:// cannot be 'many'"),
        ([__file__], "not a directory"),
        (["memory://", "--xfails", "/nowhere/known.toml"], "in /nowhere/known.toml: No such file or directory\n"),
        (["memory://", "--only", "list.empty", "--junit", "/dev/null/report.xml"], "--junit: /dev/null/report.xml"),
        (["memory://", "--only", "list.empty", "--json", "/"], "--json: / cannot be a file"),
    ],
)
def test_wrong_use_exits_with_2_and_names_the_mistake(environment, arguments, word):
    """An unknown check, level, scheme or option, and a missing URL: exit code 2, one sentence, no traceback."""
    done = holdall_conformance(environment, *arguments)

    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_nothing_tested_exits_with_3(environment):
    """A run in which no check could say anything is no success."""
    done = holdall_conformance(environment, "memory://", "--only", "crash")

    assert done.returncode == 3
    assert "NOTHING TESTED" in done.stdout.splitlines()[-1]
    assert "not declared 3" in done.stdout.splitlines()[-1]


def test_list_prints_every_promise_and_tests_nothing(environment):
    """`--list` prints a line for each promise."""
    done = holdall_conformance(environment, "--list")

    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 99
    assert "content.ranges" in done.stdout


def test_location_of_the_user_is_left_as_it_was(environment, tmp_path):
    """What is in the store already is neither tested nor touched, and nothing stays behind."""
    with holdall.open_store(tmp_path / "mine") as store:
        kept = store.create("mine.txt", b"mine", purpose="user_data")
        before = sorted(os.listdir(tmp_path / "mine"))

    done = holdall_conformance(environment, tmp_path / "mine", "--only", "content.ranges,list.empty")

    assert done.returncode == 0
    assert sorted(os.listdir(tmp_path / "mine")) == before
    with holdall.open_store(tmp_path / "mine") as store:
        assert [f.id for f in store] == [kept.id]


def test_expected_failure_is_not_a_failure(environment, tmp_path):
    """A check listed with a reason may fail."""
    (tmp_path / "known.toml").write_text('[xfails]\n"content.large" = "the last byte is lost, see #12"\n')

    done = holdall_conformance(
        environment, "lossy://x", "--only", "content.large,list.empty", "--xfails", tmp_path / "known.toml"
    )

    assert done.returncode == 0
    assert "expected failure  content.large: the last byte is lost, see #12" in done.stdout
    assert "expected failures 1" in done.stdout.splitlines()[-1]


def test_expected_failure_that_passes_is_a_failure(environment, tmp_path):
    """A fault that was mended must come off the list."""
    (tmp_path / "known.toml").write_text('[xfails]\n"list.empty" = "was broken"\n')

    done = holdall_conformance(environment, "memory://", "--only", "list.empty", "--xfails", tmp_path / "known.toml")

    assert done.returncode == 1
    assert "UNEXPECTED PASS" in done.stdout


def test_limit_of_the_url_is_not_the_backends():
    """A store may be set up for small files; the suite stores files of several MiB, and finds no fault."""
    report = run("memory://small?max_bytes=1KiB", only=["content.large", "content.roundtrip_boundary_sizes"])

    assert [finding.status for finding in report.findings] == ["held", "held"]


@pytest.mark.parametrize(
    "text",
    [
        '[xfails]\n"content.gone" = "was renamed"\n', '[xfails]\n"list.empty" = ""\n', "[xfails\n", "# \xff\n",
        '"list.empty" = "without its table"\n', '[xfail]\n"list.empty" = "in a misspelt table"\n',
    ],
)  # fmt: skip
def test_list_of_expected_failures_that_is_wrong_is_wrong_use(environment, tmp_path, text):
    """A stale name, a missing reason, a name outside the table, a file that is no TOML or no UTF-8: exit code 2."""
    (tmp_path / "known.toml").write_text(text, encoding="latin-1")

    done = holdall_conformance(environment, "memory://", "--only", "list.empty", "--xfails", tmp_path / "known.toml")

    assert done.returncode == 2
    assert "known.toml" in done.stderr or "content.gone" in done.stderr


def test_reports_are_written_in_every_form(environment, tmp_path):
    """JSON with all findings, JUnit with as many cases and failures, a Markdown page with a row each."""
    files = {name: tmp_path / f"report.{name}" for name in ("json", "markdown", "junit")}
    options = [part for name, path in files.items() for part in (f"--{name}", path)]

    done = holdall_conformance(environment, "lossy://x", "--only", "content,crash", *options)

    assert done.returncode == 1
    report = json.loads(files["json"].read_text())
    assert set(report) == {"suite", "url", "backend", "capabilities", "seed", "verdict", "summary", "findings"}
    assert report["verdict"] == "broken"
    assert report["summary"] == done.stdout.splitlines()[-1]
    statuses = {f["id"]: f["status"] for f in report["findings"]}
    assert statuses["content.large"] == "broken"
    assert statuses["crash.acknowledged_create_is_there"] == "not declared"
    suite = ET.fromstring(files["junit"].read_text())
    assert int(suite.get("tests")) == len(statuses) == len(suite.findall("testcase"))
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure"))
    assert int(suite.get("failures")) == list(statuses.values()).count("broken")
    assert files["markdown"].read_text().count("\n| `") == len(statuses)


def test_secret_of_the_url_is_in_no_report():
    """Reports show the URL without its secret."""
    report = run("memory://part", only=["list.empty"])
    assert report.url == "memory://part"

    with pytest.raises(holdall.InvalidStoreURL) as caught:
        run("memory://part?token=hunter2")

    assert "hunter2" not in str(caught.value)


def test_pytest_runs_the_same_checks_on_a_url(pytester):
    """`pytest --pyargs holdall.conformance --holdall-url URL`: the same verdict line, skips with their reasons."""
    result = pytester.runpytest_subprocess(
        "--pyargs", "holdall.conformance", "--holdall-url", "memory://", "--holdall-only", "content", "-rs"
    )

    report = run("memory://", only=["content"])
    assert result.ret == 0
    result.assert_outcomes(passed=13, skipped=2, deselected=84)
    # pytest decides which comes first.
    result.stdout.fnmatch_lines(
        [report.verdict_line().split(" · ")[0] + "*", "*not declared: PERSISTENT is not declared"]
    )


def test_pytest_without_a_url_says_what_is_missing(pytester):
    """No URL: an error that names the option, not a green run of nothing."""
    result = pytester.runpytest_subprocess("--pyargs", "holdall.conformance", "--holdall-only", "list.empty")

    assert result.ret != 0
    result.stderr.fnmatch_lines(["*--holdall-url URL*"])


@pytest.mark.parametrize("url", ["nonsense://x", "memory://?fsycn=1", __file__], ids=["scheme", "option", "place"])
def test_pytest_on_a_url_that_cannot_be_opened_blames_the_url(pytester, url):
    """One error of usage, that says what is wrong with the URL; no promise is called broken."""
    result = pytester.runpytest_subprocess("--pyargs", "holdall.conformance", "--holdall-url", url)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *" + {"n": "nonsense://", "m": "fsycn", "/": "not a directory"}[url[0]] + "*"])
    result.stdout.no_fnmatch_line("*BROKEN*")


class _Unreachable(MemoryBackend):
    """A storage of which nothing can be read: its server is down, or refuses."""

    def list_ids(self, after=None, before=None):
        raise holdall.StorageUnavailable("the server cannot be reached")

    def read_meta(self, file_id):
        raise holdall.StorageUnavailable("the server cannot be reached")


class _Unlistable(_Unreachable):
    """Listing fails, reading works."""

    read_meta = MemoryBackend.read_meta


class _On(Target):
    def __init__(self, backend):
        super().__init__("memory://x")
        self.backend = backend

    def open(self, url):
        return FileStore(self.backend())


def test_a_storage_that_gives_no_access_is_not_tested():
    """Its own error, instead of a report that calls every promise broken; one verb that fails is a broken promise."""
    with pytest.raises(holdall.StorageUnavailable, match="cannot be reached"):
        run(_On(_Unreachable))

    report = run(_On(_Unlistable), only=["list.empty"])
    assert [finding.id for finding in report.of("broken")] == ["list.empty"]


SUBCLASS = """
    import pytest
    from holdall.conformance import StoreConformance, Target

    class TestMine(StoreConformance):
        @pytest.fixture
        def holdall_target(self, tmp_path):
            return Target(f"{url}{tmp_path}?fsync=false")
"""


def test_author_subclasses_the_suite(pytester):
    """Three lines in an author's own tests run every check as a test of its own."""
    pytester.makepyfile(textwrap.dedent(SUBCLASS.replace("{url}", "file://")))

    result = pytester.runpytest_subprocess("-q", "--holdall-only", "list.empty,content.ranges")

    assert result.ret == 0
    result.assert_outcomes(passed=2, deselected=97)
    result.stdout.fnmatch_lines(["*core 2/2: CONFORMANT*"])


def test_the_verdict_is_the_same_when_tests_run_in_other_processes(pytester, monkeypatch, environment):
    """With `pytest -n 2` the verdict line counts what all processes found: what held, broke, or is not declared."""
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    pytester.makepyfile(textwrap.dedent(SUBCLASS.replace("?fsync=false", "").replace("{url}", "lossy://")))
    checks = "content.large,content.ranges,list.empty,durability.fsync_order"
    verdicts = []
    for processes in ("0", "2"):
        result = pytester.runpytest_subprocess("-q", "-n", processes, "--holdall-only", checks)
        verdicts.append([line for line in result.outlines if line.startswith("holdall conformance")])

    assert "core 1/3: BROKEN (2) · not declared 1" in verdicts[0][0]
    assert verdicts[1] == verdicts[0]


def test_author_sees_the_whole_finding(pytester, monkeypatch, environment):
    """A failing check of the subclass shows the finding's text, and how to run that test again."""
    monkeypatch.setenv("PYTHONPATH", environment["PYTHONPATH"])
    source = SUBCLASS.replace("?fsync=false", "").replace("{url}", "lossy://")
    pytester.makepyfile(textwrap.dedent(source))

    result = pytester.runpytest_subprocess("-q", "--holdall-only", "content.large")

    assert result.ret == 1
    result.stdout.fnmatch_lines(["BROKEN *content.large*", "promise *", "did *", "hint *", "rerun *", "*BROKEN (1)*"])
    again = "pytest test_author_sees_the_whole_finding.py::TestMine::test_content__large"
    assert f"rerun     {again} --holdall-seed 0" in result.outlines


def test_project_that_merely_has_holdall_installed_is_not_changed(pytester):
    """No fixture, no marker, no heavy import, no line of output in a project that does not use the suite."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing_of_the_suite_is_loaded():
            loaded = {m for m in sys.modules if m.startswith("holdall")}
            assert loaded == {"holdall", "holdall.conformance", "holdall.conformance.plugin"}
            assert not {"pydantic", "stevedore", "anyio", "typer", "rich"} & set(sys.modules)
        """
    )
    # pytest loads other plugins here that import pydantic or anyio by themselves; only ours is asked about.
    options = [
        "-p",
        "no:anyio",
        "-p",
        "no:hypothesispytest",
        "-p",
        "no:schemathesis",
        "--strict-markers",
        "-W",
        "error",
    ]

    result = pytester.runpytest_subprocess("-q", *options)
    fixtures = pytester.runpytest_subprocess("--fixtures", "-q", *options)

    assert result.ret == 0
    assert "holdall" not in result.stdout.str().replace("test_project_that_merely_has_holdall", "")
    assert "holdall" not in fixtures.stdout.str().replace("test_project_that_merely_has_holdall", "")
