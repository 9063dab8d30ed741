"""The findings of a run, and their formats: text, JSON, JUnit and Markdown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.etree import ElementTree as ET

from holdall.conformance import SUITE_VERSION
from holdall.conformance._kit import NO_RAW_ACCESS
from holdall.conformance._registry import LEVELS, Promise

__all__ = ["Finding", "Report", "Status"]

Status = Literal["held", "broken", "not declared", "not checked", "expected failure", "unexpected pass"]
Verdict = Literal["conformant", "broken", "nothing tested"]

# Most other checks depend on these: while one of them is broken, the other findings are hardly meaningful.
FOUNDATIONS = ("content.roundtrip_boundary_sizes", "create.returns_complete_info")


@dataclass(frozen=True)
class Finding:
    """The outcome of one check."""

    promise: Promise
    status: Status
    did: str = ""
    expected: str = ""
    saw: str = ""
    reason: str = ""
    """Why it was not checked or is not declared; for an expected failure, the user's reason."""
    trace: str = ""
    """The traceback, if an unexpected exception broke the promise."""
    seconds: float = 0.0

    @property
    def id(self) -> str:
        """The name of the check."""
        return self.promise.id

    @property
    def failed(self) -> bool:
        """Whether this makes the verdict BROKEN."""
        return self.status in {"broken", "unexpected pass"} and not self.promise.provisional

    def text(self, url: str, seed: int, rerun: str = "") -> str:
        """The finding as text of several lines. `rerun` is the command that runs the check again."""
        level = f"[{self.promise.level}, since {self.promise.since}]"
        if self.promise.provisional:
            level = level[:-1] + ", provisional: not counted]"
        if self.status == "unexpected pass":
            lines = [("promise", self.promise.promise), ("saw", "it holds, though it is listed as an expected failure")]
            lines += [("reason", self.reason), ("hint", "Take it off the list.")]
        else:
            lines = [
                ("promise", self.promise.promise),
                ("did", f"{self.did}  on {url}"),
                ("expected", self.expected),
                ("saw", self.saw),
                ("why", self.promise.why),
                ("hint", self.promise.hint),
                ("rerun", rerun or f"holdall conformance URL --only {self.id} --seed {seed}"),
            ]
        head = f"{self.status.upper():<7} {self.id:<64}{level}"
        return "\n".join([head, *(f"{name:<10}{_indented(value)}" for name, value in lines if value)])


def _indented(text: str) -> str:
    return text.replace("\n", "\n" + " " * 10)


@dataclass(frozen=True)
class Report:
    """All findings of a run."""

    url: str
    """Where it ran, with secrets redacted."""
    findings: tuple[Finding, ...]
    seed: int = 0
    backend: str = ""
    capabilities: tuple[str, ...] = ()
    suite: str = field(default=SUITE_VERSION)

    @property
    def verdict(self) -> Verdict:
        """`broken` if a promise is broken, `conformant` if at least one was checked and none is broken."""
        if any(f.failed for f in self.findings):
            return "broken"
        counted = any(f.status in {"held", "expected failure"} for f in self.findings)
        return "conformant" if counted else "nothing tested"

    @property
    def exit_code(self) -> int:
        """0 conformant, 1 a promise is broken, 3 nothing was tested."""
        return {"conformant": 0, "broken": 1, "nothing tested": 3}[self.verdict]

    def of(self, *statuses: Status) -> list[Finding]:
        """The findings with these outcomes."""
        return [f for f in self.findings if f.status in statuses]

    def verdict_line(self) -> str:
        """The last line of every report."""
        parts = []
        for level in LEVELS:
            tried = [
                f
                for f in self.findings
                if f.promise.level == level
                and not f.promise.provisional
                and f.status in {"held", "broken", "expected failure", "unexpected pass"}
            ]
            if tried:
                parts.append(f"{level} {sum(f.status == 'held' for f in tried)}/{len(tried)}")
        failed = sum(f.failed for f in self.findings)
        word = {"conformant": "CONFORMANT", "broken": f"BROKEN ({failed})", "nothing tested": "NOTHING TESTED"}
        line = f"holdall conformance {self.suite}: {', '.join(parts) or 'no checks'}: {word[self.verdict]}"
        expected = len(self.of("expected failure"))
        if expected:
            line += f" · expected failures {expected}"
        provisional = sum(f.promise.provisional and f.status == "broken" for f in self.findings)
        if provisional:
            line += f" · provisional broken {provisional}"
        return line + "".join(
            f" · {status} {len(found)} ({_reasons(found)})"
            for status, found in (("not declared", self.of("not declared")), ("not checked", self.of("not checked")))
            if found
        )

    def text(self) -> str:
        """The whole report as text: what is broken, why checks did not run, and the verdict."""
        blocks = []
        wrong = [f for f in self.findings if f.status in {"broken", "unexpected pass"}]
        first = [f for f in wrong if f.id in FOUNDATIONS and f.status == "broken"]
        if first and len(wrong) > len(first):
            others = len(wrong) - len(first)
            names = " and ".join(f.id for f in first)
            blocks.append(f"Fix {names} first: {others} other broken promises may follow from it.")
            wrong.sort(key=lambda f: f not in first)
        blocks += [f.text(self.url, self.seed) for f in wrong]
        quiet = [f"{f.status}  {f.id}: {f.reason}" for f in self.of("not declared", "not checked", "expected failure")]
        if quiet:
            if any(f.reason == NO_RAW_ACCESS for f in self.of("not checked")):
                quiet.append("raw access: a way past the store, given by its author (holdall.conformance.RawAccess)")
            blocks.append("\n".join(quiet))
        return "\n\n".join([*blocks, self.verdict_line()])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON data; its format is stable within a suite version."""
        return {
            "suite": self.suite,
            "url": self.url,
            "backend": self.backend,
            "capabilities": list(self.capabilities),
            "seed": self.seed,
            "verdict": self.verdict,
            "summary": self.verdict_line(),
            "findings": [
                {
                    "id": f.id,
                    "status": f.status,
                    "level": f.promise.level,
                    "since": f.promise.since,
                    "provisional": f.promise.provisional,
                    "promise": f.promise.promise,
                    "did": f.did,
                    "expected": f.expected,
                    "saw": f.saw,
                    "reason": f.reason,
                    "hint": f.promise.hint,
                    "seconds": round(f.seconds, 3),
                }
                for f in self.findings
            ],
        }

    def to_json(self) -> str:
        """`to_dict` as JSON text."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False) + "\n"

    def to_markdown(self) -> str:
        """The report as a Markdown page."""
        lines = [
            f"# Conformance of `{self.url}`",
            "",
            f"`{self.verdict_line()}`",
            "",
            f"Backend: `{self.backend}`. Declares: {', '.join(self.capabilities) or 'nothing'}.",
            "",
            "| check | level | outcome | promise |",
            "|---|---|---|---|",
        ]
        for f in self.findings:
            note = f.reason if f.status != "broken" else f"expected {f.expected}; saw {f.saw}"
            outcome = f"**{f.status}**" if f.failed else f.status
            cell = f"{outcome}: {note}" if note else outcome
            lines.append(f"| `{f.id}` | {f.promise.level} | {_cell(cell)} | {_cell(f.promise.promise)} |")
        return "\n".join(lines) + "\n"

    def to_junit(self) -> str:
        """The report as JUnit XML, for CI systems."""
        suite = ET.Element(
            "testsuite",
            name=f"holdall conformance {self.suite}",
            tests=str(len(self.findings)),
            failures=str(sum(f.failed for f in self.findings)),
            skipped=str(len(self.of("not declared", "not checked"))),
            errors="0",
            time=f"{sum(f.seconds for f in self.findings):.3f}",
        )
        for f in self.findings:
            category, _, name = f.id.partition(".")
            case = ET.SubElement(suite, "testcase", classname=category, name=name, time=f"{f.seconds:.3f}")
            if f.failed:
                ET.SubElement(case, "failure", message=_xml(f.saw)).text = _xml(f.text(self.url, self.seed))
            elif f.status in {"not declared", "not checked"}:
                ET.SubElement(case, "skipped", message=_xml(f"{f.status}: {f.reason}"))
        return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _reasons(findings: Iterable[Finding]) -> str:
    counts = Counter(f.reason for f in findings)
    return ", ".join(reason if n == 1 else f"{n} times {reason}" for reason, n in counts.most_common())


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _xml(text: str) -> str:
    # XML 1.0 cannot represent most control characters, not even as references.
    return "".join(_legal(text))


def _legal(text: str) -> Iterator[str]:
    for c in text:
        fine = c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
        yield c if fine else repr(c)[1:-1]
