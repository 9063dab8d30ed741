"""Ids in the order of text, whatever order the server has."""

from __future__ import annotations

import itertools

import pytest
from holdall_s3._listing import in_text_order
from hypothesis import given
from hypothesis import strategies as st

from holdall import StorageError

IDS = st.lists(st.text("ab-_0Z", min_size=1, max_size=6).map("file-{}".format), unique=True, max_size=20)


@given(IDS)
def test_order_of_keys_becomes_the_order_of_text(ids: list[str]) -> None:
    """AWS lists folders with their slash, which sorts after a dash."""
    assert list(in_text_order(sorted(ids, key="{}/".format))) == sorted(ids)


@given(IDS)
def test_order_of_text_stays(ids: list[str]) -> None:
    """SeaweedFS lists folder by folder."""
    assert list(in_text_order(sorted(ids))) == sorted(ids)


def test_minted_ids_are_not_held_back() -> None:
    """An id of holdall's own is yielded as soon as it comes: the listing stays lazy."""
    endless = in_text_order(f"file-{n:032x}" for n in itertools.count())
    assert [next(endless) for _ in range(3)] == [f"file-{n:032x}" for n in range(3)]


def test_an_unknown_order_is_refused() -> None:
    """A directory bucket lists in no order: an error, never a wrong page."""
    with pytest.raises(StorageError, match="no order that is known"):
        list(in_text_order(["file-b", "file-a"]))
