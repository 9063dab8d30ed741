"""Shared by all tests: the settings of hypothesis."""

from __future__ import annotations

import signal
import sys

import hypothesis
import pytest
from tests.fake_plugin.install import install

# No deadline, because the machine may be busy. Random on purpose: a failure is stored in .hypothesis and repeated
# first.
hypothesis.settings.register_profile(
    "holdall",
    deadline=None,
    max_examples=80,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("holdall")

# A shell that runs the tests in the background makes them ignore SIGINT, which programs under test would inherit.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def put_on_path(tmp_path, monkeypatch):
    """Install a fake distribution for this test only; see `tests/fake_plugin/install.py`."""

    def put(entry_points, folder="site", **options):
        monkeypatch.syspath_prepend(install(tmp_path / folder, entry_points, **options))

    yield put
    for name in [n for n in sys.modules if n.startswith("fake_")]:
        del sys.modules[name]
