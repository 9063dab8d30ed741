"""The conformance suite on every storage there is a server for, and the page that is kept of each report.

Runs with HOLDALL_TEST_SERVERS=1 (`make test-servers`, which installs the servers). With HOLDALL_WRITE_REPORTS=1 the
pages are written, otherwise they are compared. With HOLDALL_REQUIRE_SERVERS=1 a server that cannot be had is a failure.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from s3_servers import Unavailable
from tests.storage.places import PLACES, XFAILS

from holdall.conformance import run

REPORTS = Path(__file__).parents[2] / "docs" / "conformance" / "reports"
# Twenty-five sequences of operations take some minutes on the slower ones.
EXAMPLES = 5

if not os.environ.get("HOLDALL_TEST_SERVERS"):
    pytest.skip("make test-servers tries every storage on a server of its own", allow_module_level=True)

# Several of their clients leave sockets or coroutines for the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.timeout(1200),
]


@pytest.mark.parametrize("name", PLACES)
def test_report(name, tmp_path):
    """Conformant for all that it declares, and the page in the documentation says what the suite found."""
    shown, start = PLACES[name]
    try:
        with start(tmp_path) as target:
            report = dataclasses.replace(run(target, max_examples=EXAMPLES, xfails=XFAILS.get(name)), url=shown)
    except Exception as why:
        if type(why).__name__ != Unavailable.__name__ or os.environ.get("HOLDALL_REQUIRE_SERVERS"):
            raise
        pytest.skip(str(why))
    page = REPORTS / f"{name}.md"
    if os.environ.get("HOLDALL_WRITE_REPORTS"):
        page.parent.mkdir(exist_ok=True)
        page.write_text(report.to_markdown(), encoding="utf-8")

    assert report.verdict == "conformant", report.text()
    assert page.read_text(encoding="utf-8") == report.to_markdown()
