"""What all tests share: how hypothesis runs here."""

from __future__ import annotations

import hypothesis

# No deadline: the machine may be busy. Random on purpose: a failure is kept in .hypothesis and tried first next time.
hypothesis.settings.register_profile(
    "holdall",
    deadline=None,
    max_examples=80,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("holdall")
