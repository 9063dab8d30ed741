"""holdall's conformance suite on fsspec's own filesystems."""

from __future__ import annotations

import uuid

import pytest
from fsspec_raw import FileTarget, MemoryTarget

from holdall.conformance import StoreConformance


class TestMemory(StoreConformance):
    """`fsspec+memory://name`: neither persistent nor shared between processes."""

    @pytest.fixture
    def holdall_target(self):
        """A name of its own for each check."""
        return MemoryTarget(f"fsspec+memory://{uuid.uuid4().hex}")


class TestFile(StoreConformance):
    """`fsspec+file:///path`: everything but durable."""

    @pytest.fixture
    def holdall_target(self, tmp_path):
        """A directory for each check."""
        return FileTarget(f"fsspec+file://{tmp_path}")
