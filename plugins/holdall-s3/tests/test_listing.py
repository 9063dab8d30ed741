"""Ids in the order of text, whatever order the server has."""

from __future__ import annotations

import itertools

import holdall_s3._listing
import pytest
from holdall_s3._client import Client, Pending
from holdall_s3._listing import in_text_order
from hypothesis import given
from hypothesis import strategies as st
from s3_raw import S3Raw
from s3_servers import S3Server

import holdall
from holdall import StorageError
from holdall.ids import IdMinter

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
    with pytest.raises(StorageError, match="an unknown order"):
        list(in_text_order(["file-b", "file-a"]))


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_only_what_has_metadata_is_listed(server: S3Server, monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Ids are those whose metadata is there now: not a folder of data or of other people's files, however many keys
    and wherever an answer ends.
    """
    monkeypatch.setattr(holdall_s3._listing, "_FIRST_PAGE", size)
    monkeypatch.setattr(holdall_s3._listing, "_PAGE", size)
    mint = IdMinter().mint
    ids = [mint()[0] for _ in range(6)]
    raw = S3Raw(server, f"complete-{mint()[0]}")
    try:
        for n, file_id in enumerate(ids):
            raw.put(raw.key(file_id, "data.bin"), b"")
            if n % 2:
                raw.put(raw.key(file_id, "meta.json"), b"{}")
            for name in ("a ü%2F", "data.bin.old", "kept/meta.json", "meta.json.old", "z"):
                raw.put(raw.key(file_id, name), b"")
        with holdall.open_store(server.url(raw.prefix)) as store:
            assert list(store.backend.list_ids()) == ids[1::2]
            assert list(store.backend.list_ids(after=ids[1], before=ids[5])) == [ids[3]]
            raw.drop_meta(ids[3])
            assert list(store.backend.list_ids()) == [ids[1], ids[5]]
    finally:
        raw.clear()


def test_reading_ahead_ends_with_the_reader(moto_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever takes two answers pays for two; who takes more is read ahead for, and leaves no request behind."""
    monkeypatch.setattr(holdall_s3._listing, "_FIRST_PAGE", 2)
    monkeypatch.setattr(holdall_s3._listing, "_PAGE", 2)
    raw = S3Raw(moto_server, f"ahead-{IdMinter().mint()[0]}")
    started: list[Pending[object]] = []
    start = Client.start

    def watched(self: Client, coroutine: object) -> Pending[object]:
        started.append(start(self, coroutine))
        return started[-1]

    try:
        with holdall.open_store(moto_server.url(raw.prefix)) as store:
            for n in range(6):
                store.create(f"{n}", b"", purpose="batch")
            monkeypatch.setattr(Client, "start", watched)
            found = store.backend.list_ids()
            next(found), next(found)
            assert len(started) == 2
            next(found)
            assert len(started) == 4
            found.close()
            assert all(pending._done.is_set() for pending in started)
            assert len(list(store.backend.list_ids())) == 6
    finally:
        raw.clear()
