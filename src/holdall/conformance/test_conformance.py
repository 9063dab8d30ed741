"""The tests that `pytest --pyargs holdall.conformance --holdall-url URL` collects."""

from __future__ import annotations

import pytest

from holdall.conformance import StoreConformance, Target
from holdall.conformance.plugin import url_of


class TestURL(StoreConformance):
    """The suite, run on the URL of the command line."""

    holdall_from_option = True

    @pytest.fixture
    def holdall_target(self, request: pytest.FixtureRequest) -> Target:
        """A target on `--holdall-url`."""
        return Target(url_of(request.config))
