"""The backends of the core hold what every backend must, through the same door as anybody's."""

from __future__ import annotations

import pytest

from holdall.conformance import StoreConformance, Target


class TestLocal(StoreConformance):
    """`file://` as it is by default: durable."""

    @pytest.fixture
    def holdall_target(self, tmp_path):
        """A directory for each check."""
        return Target(tmp_path)


class TestLocalWithoutFsync(StoreConformance):
    """`file://…?fsync=false`."""

    @pytest.fixture
    def holdall_target(self, tmp_path):
        """A directory for each check."""
        return Target(f"file://{tmp_path}?fsync=false")


class TestMemory(StoreConformance):
    """`memory://`, shared by name."""

    @pytest.fixture
    def holdall_target(self):
        """A name of this process."""
        return Target("memory://conformance")
