"""What `pytest --pyargs holdall.conformance --holdall-url URL` collects."""

from __future__ import annotations

import pytest

from holdall.conformance import StoreConformance, Target
from holdall.conformance.plugin import settings_of


class TestURL(StoreConformance):
    """The suite on the URL of the command line."""

    @pytest.fixture
    def holdall_target(self, request: pytest.FixtureRequest) -> Target:
        """A target on `--holdall-url`."""
        url = settings_of(request.config).url
        if url is None:
            raise pytest.UsageError("say which store to test: --holdall-url URL")
        return Target(url)
