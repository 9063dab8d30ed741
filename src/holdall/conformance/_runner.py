"""Running the checks: each in its own location, with a time limit."""

from __future__ import annotations

import fnmatch
import linecache
import os
import re
import threading
import time
import tomllib
import traceback
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from holdall.backend import Capability
from holdall.conformance._kit import LARGEST_TRIED_BYTES, Broken, Kit, NotChecked, NotDeclared, NotEmpty, Settings, show
from holdall.conformance._registry import LEVELS, Check, all_checks
from holdall.conformance._report import Finding, Report
from holdall.conformance._target import Target
from holdall.errors import FileTooLarge, HoldallError, InvalidRequest, StorageError, StorageUnavailable
from holdall.options import nearest
from holdall.store import FileStore
from holdall.url import StoreURL

__all__ = ["describe", "read_xfails", "run", "run_check", "select"]

T = TypeVar("T")

TIME_LIMIT_SECONDS = 240.0


def run(
    target: Target | str | os.PathLike[str] | StoreURL,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    level: str = LEVELS[-1],
    xfails: Mapping[str, str] | None = None,
    seed: int = 0,
    max_examples: int = 25,
    large: bool = False,
    on_finding: Callable[[Finding, int, int], None] | None = None,
) -> Report:
    """Run the suite and return the report. Touches nothing outside new locations below the URL.

    `only` and `skip` name checks or patterns (`crash`, `list.*`); `level` is the highest level to run; `xfails` maps
    checks that are expected to fail to reasons. `on_finding` is called with each finding, its number and the total.

    Raises `InvalidRequest` for an unknown name, the errors of opening the store, and the `StorageError` of a storage
    that can be neither listed nor read.
    """
    if not isinstance(target, Target):
        target = Target(target)
    xfails = dict(xfails or {})
    checks = select(only=only, skip=skip, level=level)
    _known(xfails)
    settings = Settings(seed=seed, max_examples=max_examples, large=large)
    url, backend, capabilities = describe(target, settings)
    findings: list[Finding] = []
    for number, check in enumerate(checks, 1):
        finding = run_check(check, target, settings, xfail=xfails.get(check.id))
        findings.append(finding)
        if on_finding is not None:
            on_finding(finding, number, len(checks))
    return Report(url, tuple(findings), seed, backend, capabilities)


def describe(target: Target, settings: Settings) -> tuple[str, str, tuple[str, ...]]:
    """The URL without its secrets, the backend's class, and its declared capabilities.

    Uses the store once, so that a wrong URL, or a storage that cannot be reached, is reported as an error of the call
    and not of every check.
    """

    def look() -> tuple[str, str, tuple[str, ...]] | Exception:
        kit = Kit(target, settings)
        try:
            backend = kit.store.backend
            names = tuple(str(flag.name) for flag in Capability if flag in backend.capabilities)
            kind = type(backend)
            _require_an_answer(kit.store)
        except Exception as error:  # noqa: BLE001 - raised again, on the caller's thread
            return error
        finally:
            kit.close()
        return str(target.url), f"{kind.__module__}:{kind.__qualname__}", names

    seen = _in_time(look, "open the store")
    if seen is None:
        raise StorageUnavailable(
            f"cannot run the suite on {target.url}: the store was opened and asked for its ids, and did not answer "
            f"within {TIME_LIMIT_SECONDS:.0f} s",
            operation="open",
        )
    if isinstance(seen, NotEmpty):
        raise InvalidRequest(str(seen)) from seen
    if isinstance(seen, Exception):
        raise seen
    return seen


def _require_an_answer(store: FileStore) -> None:
    for ask in (partial(store.get, f"file-{uuid.uuid4().hex}"), partial(store.list, limit=1)):
        try:
            ask()
        except StorageError as error:
            refused = error
        except Exception:  # noqa: BLE001 - a fault of the backend, for the checks to find
            return
        else:
            return
    raise refused


def select(*, only: Sequence[str] = (), skip: Sequence[str] = (), level: str = LEVELS[-1]) -> list[Check]:
    """The checks selected by these names, patterns and level, in order. `InvalidRequest` if a name matches none."""
    if level not in LEVELS:
        raise InvalidRequest(f"level is {level!r}; it must be one of {', '.join(LEVELS)}")
    checks = list(all_checks())
    for pattern in (*only, *skip):
        if not any(_matches(c.id, [pattern]) for c in checks):
            meant = nearest(pattern, [name for c in checks for name in (c.id, c.id.partition(".")[0])])
            hint = f"did you mean {meant!r}? " if meant else ""
            raise InvalidRequest(f"no check is named {pattern!r}; {hint}'holdall conformance --list' names all")
    allowed = LEVELS[: LEVELS.index(level) + 1]
    return [
        c
        for c in checks
        if c.promise.level in allowed and (not only or _matches(c.id, only)) and not _matches(c.id, skip)
    ]


def _matches(check_id: str, patterns: Iterable[str]) -> bool:
    category = check_id.partition(".")[0]
    return any(p in {check_id, category} or fnmatch.fnmatchcase(check_id, p) for p in patterns)


def read_xfails(path: str | os.PathLike[str]) -> dict[str, str]:
    """Expected failures from a TOML file: a table `[xfails]` of `"check.name" = "reason"`.

    Raises `InvalidRequest` for a name that is not a check's, for a missing reason, and for anything outside the table.
    """
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InvalidRequest(f"cannot read the expected failures in {os.fspath(path)}: {why}") from error
    table = document.pop("xfails", {})
    for name in document:
        raise InvalidRequest(
            f"{os.fspath(path)}: {name!r} stands outside the table [xfails]; nothing else belongs there"
        )
    if not isinstance(table, dict):
        raise InvalidRequest(f"{os.fspath(path)}: [xfails] must be a table of names and reasons")
    for name, reason in table.items():
        if not isinstance(reason, str) or not reason.strip():
            raise InvalidRequest(f"{os.fspath(path)}: the expected failure {name!r} needs a reason")
    _known(table)
    return table


def _known(xfails: Mapping[str, Any]) -> None:
    known = {c.id for c in all_checks()}
    for name in xfails:
        if name not in known:
            raise InvalidRequest(f"the expected failure {name!r} is no check's name; it may have been renamed")


def run_check(check: Check, target: Target, settings: Settings, *, xfail: str | None = None) -> Finding:
    """Run one check. If it does not finish within four minutes, it is broken."""
    started = time.monotonic()
    fields = _in_time(lambda: _attempt(check, target, settings), f"check {check.id}") or {
        "status": "broken",
        "did": "run the check",
        "expected": "an end",
        "saw": f"nothing within {TIME_LIMIT_SECONDS:.0f} s: a deadlock, or a very slow storage",
    }
    if "empty" in fields:
        raise InvalidRequest(fields["empty"])
    if xfail is not None and fields["status"] in {"broken", "held"}:
        fields["status"] = "expected failure" if fields["status"] == "broken" else "unexpected pass"
        fields["reason"] = xfail
    return Finding(check.promise, seconds=time.monotonic() - started, **fields)


def _in_time(function: Callable[[], T], name: str) -> T | None:
    """The result of the function; None if it does not finish within the time limit."""
    outcome: list[T] = []
    # On a separate daemon thread, so that a backend that hangs blocks neither the report nor the interpreter's exit.
    worker = threading.Thread(target=lambda: outcome.append(function()), name=name, daemon=True)
    worker.start()
    worker.join(TIME_LIMIT_SECONDS)
    return outcome[0] if outcome else None


def _attempt(check: Check, target: Target, settings: Settings) -> dict[str, Any]:
    kit = Kit(target, settings)
    try:
        kit.need(check.needs)
        check.run(kit)
    except NotDeclared as reason:
        return {"status": "not declared", "reason": str(reason)}
    except NotChecked as reason:
        return {"status": "not checked", "reason": str(reason)}
    except NotEmpty as error:
        return {"status": "broken", "empty": str(error)}
    except Broken as error:
        return {"status": "broken", "did": error.did, "expected": error.expected, "saw": error.saw}
    except BaseException as error:  # noqa: BLE001 - any error of a backend is a finding
        return _unexpected(error, check, kit)
    finally:
        kit.close()
    return {"status": "held"}


def _unexpected(error: BaseException, check: Check, kit: Kit) -> dict[str, Any]:
    if isinstance(error, FileTooLarge) and (most := _proved_limit(check, kit)) is not None:
        return {"status": "not checked", "reason": f"its files are larger than max_file_bytes, which is {most}"}
    return {
        "status": "broken",
        "did": _step(error),
        "expected": "no error",
        "saw": show(error),
        "trace": "".join(traceback.format_exception(error)),
    }


def _proved_limit(check: Check, kit: Kit) -> int | None:
    """The largest file that the backend declares to accept, if `caps.limits_are_real` tests it by filling it up: that
    check finds a backend which refuses smaller files.
    """
    most = kit.store.backend.limits.max_file_bytes
    return None if most is None or most > LARGEST_TRIED_BYTES or check.id == "caps.limits_are_real" else most


def _step(error: BaseException) -> str:
    """The line of the check at which an unexpected exception was raised, with the values of its variables."""
    for frame, number in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = frame.f_code.co_filename
        line = linecache.getline(file, number).strip() if f"conformance{os.sep}checks" in file else ""
        if line:
            names = dict.fromkeys(re.findall(r"[A-Za-z_]\w*", line))
            # Only numbers, and the check's own descriptions: other strings may contain a URL with its secrets.
            known = {n: v for n in names if (v := frame.f_locals.get(n)) is not None}
            told = [f"{n}={show(v)}" for n, v in known.items() if isinstance(v, int) or n in {"did", "name"}]
            return f"{line}  where {', '.join(told)}" if told else line
    if isinstance(error, HoldallError) and error.operation:
        return error.operation
    return "run the check"
