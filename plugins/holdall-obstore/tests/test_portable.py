"""One layout: what one driver writes, another reads, byte for byte, and a copied tree is a store."""

from __future__ import annotations

import contextlib
import os
import urllib.error
import urllib.request

import pytest
from obstore_servers import BUCKET, Server

from holdall import open_store

FILES = {"ünï code.txt": b"", "a.bin": bytes(range(256)) * 5000, "große Datei.bin": b"\0\xff" * 5_000_000}


def _fill(store) -> dict[str, tuple]:
    for name, data in FILES.items():
        store.create(name, data, purpose="user_data", metadata={"n": 1, "ü": [None, 2.5]})
    return _content(store)


def _content(store) -> dict[str, tuple]:
    return {f.id: (f, store.get_content(f.id)) for f in store}


def test_a_bucket_copied_object_by_object_is_a_local_store(weed_s3: Server, prefix, tmp_path):
    """And the other way round: a local tree uploaded object by object."""
    bucket = open_store(weed_s3.url(f"{prefix}/down"))
    expected = _fill(bucket)
    client = weed_s3.client()
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/down/")["Contents"]
    for key in (entry["Key"] for entry in listed):
        path = tmp_path / "down" / key.removeprefix(f"{prefix}/down/")
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.closing(client.get_object(Bucket=BUCKET, Key=key)["Body"]) as body:
            path.write_bytes(body.read())
    for url in (f"file://{tmp_path}/down", f"file+obstore://{tmp_path}/down"):
        assert _content(open_store(url)) == expected

    expected = _fill(open_store(f"file://{tmp_path}/up"))
    for folder, _, names in os.walk(tmp_path / "up"):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                key = f"{prefix}/up/{os.path.relpath(path, tmp_path / 'up')}"
                client.put_object(Bucket=BUCKET, Key=key, Body=file)
    assert _content(open_store(weed_s3.url(f"{prefix}/up"))) == expected


def test_the_other_driver_reads_it_and_is_read(weed_s3: Server, prefix):
    """`s3://` and `s3+obstore://` on one prefix are one store."""
    pytest.importorskip("holdall_s3", reason="holdall-s3 is not installed")
    url = weed_s3.url(prefix)
    with open_store(url) as ours, open_store(url.replace("s3+obstore://", "s3://") + "&region=us-east-1") as theirs:
        assert _fill(ours) == _content(theirs)
        theirs.create("theirs.bin", b"z" * 9_000_000, purpose="user_data")
        assert _content(ours) == _content(theirs)
        for file in theirs.list():
            ours.delete(file.id)
        assert list(theirs) == []


def test_a_signed_url_delivers_for_everybody_until_it_expires(weed_s3: Server, prefix):
    """Without credentials; with another key in it, it is refused."""
    store = open_store(weed_s3.url(prefix))
    file = store.create("a.bin", FILES["a.bin"], purpose="user_data")
    other = store.create("b.bin", b"secret", purpose="user_data")
    url = store.backend.signed_url(file.id, 60)
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.read() == FILES["a.bin"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.replace(file.id, other.id), timeout=30)
    with refused.value:
        assert refused.value.code == 403


def test_metadata_of_a_listing_comes_in_order_and_without_the_absent(weed_s3: Server, prefix):
    """Read by many threads at once, delivered in the order asked for."""
    store = open_store(weed_s3.url(prefix))
    ids = [store.create(f"{n}.txt", b"x", purpose="user_data").id for n in range(50)]
    asked = [*ids[30:], "file-absent", *ids[:30]]
    assert [file_id for file_id, _ in store.backend.read_metas(iter(asked))] == [i for i in asked if i in ids]
    abandoned = store.backend.read_metas(ids)
    assert next(abandoned)[0] == ids[0]
    abandoned.close()
