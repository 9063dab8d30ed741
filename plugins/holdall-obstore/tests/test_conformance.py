"""holdall's conformance suite on each kind of store: all that a backend must hold."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from obstore_raw import FileTarget, MemoryTarget, S3Target
from obstore_servers import Server

from holdall.conformance import StoreConformance, Target


class TestMemory(StoreConformance):
    """`memory+obstore://name`."""

    @pytest.fixture
    def holdall_target(self) -> Target:
        """A name for each check."""
        return MemoryTarget(f"memory+obstore://{uuid.uuid4().hex}")


class TestFile(StoreConformance):
    """`file+obstore:///directory`."""

    @pytest.fixture
    def holdall_target(self, tmp_path: Path) -> Target:
        """A directory for each check."""
        return FileTarget(f"file+obstore://{tmp_path}")


class TestMoto(StoreConformance):
    """`s3+obstore://` on moto, which lists keys by their bytes, as AWS does.

    Without the two checks that take minutes on moto and depend on no order of keys: SeaweedFS holds them below.
    """

    test_stateful__model_agrees = None
    test_list__other_handle_sees_create_and_delete = None

    @pytest.fixture
    def holdall_target(self, moto_s3: Server) -> Target:
        """A prefix for each check."""
        return S3Target(moto_s3)


class TestSeaweedFS(StoreConformance):
    """`s3+obstore://` on SeaweedFS, a distributed store that lists keys by folders."""

    @pytest.fixture
    def holdall_target(self, weed_s3: Server) -> Target:
        """A prefix for each check."""
        return S3Target(weed_s3)
