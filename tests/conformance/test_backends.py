"""The backends of the core hold what every backend must, through the same door as anybody's."""

from __future__ import annotations

import pytest

from holdall import FileStore
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


class _Caching(FileStore):
    """Keeps caching when the suite turns it off."""

    @property
    def remember(self):
        return FileStore.remember.fget(self)

    @remember.setter
    def remember(self, most):
        pass


class _Applications(Target):
    """Stores cache metadata, as applications have them."""

    opens_by_url = True

    def open(self, url):
        store = super().open(url)
        store.__class__ = _Caching
        return store


class TestLocalAsApplicationsUseIt(StoreConformance):
    """No promise depends on turning the cache off, which the suite does in order to test the backend."""

    @pytest.fixture
    def holdall_target(self, tmp_path):
        """A directory for each check."""
        return _Applications(tmp_path)
