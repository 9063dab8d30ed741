"""The pytest plugin: options and the verdict line, nothing else.

pytest loads it in every project that has holdall installed. So it imports nothing that is slow to load, defines no
fixture, and changes nothing unless a test of the suite ran.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from holdall.conformance._report import Finding

__all__ = ["keep_finding", "settings_of", "url_of"]


@dataclass(frozen=True)
class Options:
    """The suite's options of a pytest run."""

    url: str | None
    level: str
    only: tuple[str, ...]
    skip: tuple[str, ...]
    seed: int
    max_examples: int
    large: bool
    xfails: dict[str, str] = field(default_factory=dict)


_OPTIONS = pytest.StashKey[Options]()
_FINDING = pytest.StashKey["Finding"]()
_WRONG_URL = pytest.StashKey[str | None]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options, all prefixed."""
    group = parser.getgroup("holdall", "holdall conformance suite")
    add = group.addoption
    add("--holdall-url", metavar="URL", help="run the suite below this store URL")
    add("--holdall-level", default="durable", metavar="LEVEL", help="highest level to run: core, robust, durable")
    add("--holdall-only", action="append", default=[], metavar="NAMES", help="checks to run, comma-separated")
    add("--holdall-skip", action="append", default=[], metavar="NAMES", help="checks to leave out, comma-separated")
    add("--holdall-xfails", metavar="FILE", help="TOML file of expected failures with their reasons")
    add("--holdall-seed", type=int, default=0, metavar="N", help="seed of the generated data")
    add("--holdall-max-examples", type=int, default=25, metavar="N", help="runs of the state machine")
    add("--holdall-large", action="store_true", help="also try large files")


def settings_of(config: pytest.Config) -> Options:
    """The validated options of this run."""
    if _OPTIONS not in config.stash:
        from holdall.conformance._runner import read_xfails  # noqa: PLC0415 - only when the suite runs

        path = config.getoption("--holdall-xfails")
        config.stash[_OPTIONS] = Options(
            url=config.getoption("--holdall-url"),
            level=config.getoption("--holdall-level"),
            only=_names(config.getoption("--holdall-only")),
            skip=_names(config.getoption("--holdall-skip")),
            seed=config.getoption("--holdall-seed"),
            max_examples=config.getoption("--holdall-max-examples"),
            large=config.getoption("--holdall-large"),
            xfails=_usage(read_xfails, path) if path else {},
        )
    return config.stash[_OPTIONS]


def keep_finding(item: pytest.Item, finding: Finding) -> None:
    """Record the finding of a test, for the verdict of its class."""
    item.stash[_FINDING] = finding


def _names(values: list[str]) -> tuple[str, ...]:
    return tuple(name.strip() for value in values for name in value.split(",") if name.strip())


def _usage(function: Any, *arguments: Any, **options: Any) -> Any:
    try:
        return function(*arguments, **options)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the checks that the options exclude; other tests are not affected."""
    ours = [item for item in items if _check_id(item) is not None]
    if not ours:
        return
    from holdall.conformance._runner import select  # noqa: PLC0415 - only when the suite runs

    options = settings_of(config)
    # Not in a worker process of pytest-xdist, which would treat an error at this point as a crash; there, each test
    # reports it.
    alone = not hasattr(config, "workerinput") and not config.option.collectonly
    if alone and any(hasattr(getattr(item, "cls", None), "holdall_from_option") for item in ours):
        url_of(config)
    chosen = {c.id for c in _usage(select, only=options.only, skip=options.skip, level=options.level)}
    left_out = [item for item in ours if _check_id(item) not in chosen]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def url_of(config: pytest.Config) -> str:
    """The URL of the command line. A store that cannot be opened is a usage error, not a broken promise."""
    from holdall.conformance._kit import Settings  # noqa: PLC0415 - only when the suite runs
    from holdall.conformance._runner import describe  # noqa: PLC0415
    from holdall.conformance._target import Target  # noqa: PLC0415
    from holdall.errors import HoldallError  # noqa: PLC0415

    options = settings_of(config)
    if not options.url:
        raise pytest.UsageError("say which store to test: --holdall-url URL")
    if _WRONG_URL not in config.stash:
        config.stash[_WRONG_URL] = None
        try:
            describe(Target(options.url), Settings(options.seed, options.max_examples, options.large))
        except HoldallError as error:
            config.stash[_WRONG_URL] = str(error)
    if wrong := config.stash[_WRONG_URL]:
        raise pytest.UsageError(wrong)
    return options.url


def _check_id(item: pytest.Item) -> str | None:
    return getattr(getattr(item, "function", None), "holdall_check", None)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Attach the finding to the report, as plain values, because pytest-xdist sends it from another process."""
    report = yield
    if call.when == "call" and _FINDING in item.stash:
        finding = item.stash[_FINDING]
        of = item.parent.nodeid if item.parent else ""
        report.holdall_finding = [of, finding.id, finding.status, finding.reason]
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the verdict for each class of tests, if a test of the suite ran."""
    reports = [r for of in terminalreporter.stats.values() for r in of if hasattr(r, "holdall_finding")]
    if not reports:
        return
    from holdall.conformance._registry import all_checks  # noqa: PLC0415 - only when the suite ran
    from holdall.conformance._report import Finding, Report  # noqa: PLC0415

    promises = {check.id: check.promise for check in all_checks()}
    # By name, so that the last run counts if a test was run twice.
    classes: dict[str, dict[str, Finding]] = {}
    for report in sorted(reports, key=lambda r: float(r.start)):
        name, check_id, status, reason = report.holdall_finding
        classes.setdefault(name, {})[check_id] = Finding(promises[check_id], status, reason=reason)
    terminalreporter.section("holdall conformance")
    for name, findings in classes.items():
        terminalreporter.write_line(name)
        terminalreporter.write_line(Report(name, tuple(findings.values())).verdict_line())
