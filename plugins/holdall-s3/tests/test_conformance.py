"""holdall's conformance suite on `s3://`: all that a backend must hold, on each server."""

from __future__ import annotations

import pytest
from s3_raw import S3Target
from s3_servers import S3Server

from holdall.conformance import StoreConformance, Target


class TestMoto(StoreConformance):
    """On moto, a server for tests that lists keys by their bytes, as AWS does."""

    @pytest.fixture
    def holdall_target(self, moto_server: S3Server) -> Target:
        """A prefix for each check."""
        return S3Target(moto_server)


class TestSeaweedFS(StoreConformance):
    """On SeaweedFS, a distributed store that lists keys by folders."""

    @pytest.fixture
    def holdall_target(self, seaweedfs_server: S3Server) -> Target:
        """A prefix for each check."""
        return S3Target(seaweedfs_server)
