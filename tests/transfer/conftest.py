"""The source and target stores."""

from __future__ import annotations

import pytest
from tests.transfer._kit import Wrapped, content

import holdall


@pytest.fixture
def source(tmp_path):
    """A local store with five files of different sizes, one of them of several chunks."""
    with holdall.open_store(tmp_path / "source") as store:
        for size in (0, 1, 100, 700_000, 5):
            store.create(f"名 {size}", content(size), purpose="fine-tune", metadata={"size": size})
        yield store


@pytest.fixture
def target(tmp_path):
    """An empty local store."""
    with holdall.open_store(tmp_path / "target") as store:
        yield store


@pytest.fixture
def wrapped():
    """An empty store in memory whose backend can misbehave."""
    return holdall.FileStore(Wrapped(holdall.open_store("memory://").backend))
