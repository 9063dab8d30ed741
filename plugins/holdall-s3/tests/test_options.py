"""What stands in a URL reaches the client, and what cannot be is refused before anything is sent."""

from __future__ import annotations

import traceback

import pytest
from holdall_s3 import S3Backend

import holdall
from holdall import InvalidStoreURL, NotSupported, StorageUnavailable
from holdall.backend import Capability


def _filesystem(url: str) -> object:
    backend = holdall.open_store(url).backend
    assert isinstance(backend, S3Backend)
    return backend._client.filesystem()


def test_options_reach_the_client() -> None:
    """Each option has the effect that its description says."""
    made = _filesystem(
        "s3://bucket/p?endpoint_url=http://127.0.0.1:9&region=eu-west-1&key=k&secret=s%2F&token=t&sse=aws:kms"
        "&sse_kms_key_id=arn:aws:kms:x&addressing=path&retries=2&timeout_seconds=5"
    )
    assert (made.endpoint_url, made.key, made.secret, made.token) == ("http://127.0.0.1:9", "k", "s/", "t")
    assert made.client_kwargs == {"region_name": "eu-west-1"}
    assert made.s3_additional_kwargs == {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:x"}
    config = made.config_kwargs
    assert config["s3"] == {"addressing_style": "path"}
    assert config["retries"] == {"total_max_attempts": 3, "mode": "standard"}
    # To connect, it takes no longer than to answer, and never longer than ten seconds.
    assert (config["connect_timeout"], config["read_timeout"]) == (5, 5)
    assert _filesystem("s3://bucket?timeout_seconds=90").config_kwargs["connect_timeout"] == 10
    assert made.retries == 1
    assert _filesystem("s3://bucket?anon=true").anon is True


def test_caches_of_the_client_are_off() -> None:
    """Two stores share no client, and no client keeps listings."""
    first, second = _filesystem("s3://bucket"), _filesystem("s3://bucket")
    assert first is not second
    assert not first.dircache.use_listings_cache


def test_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """A profile that exists is used; one that does not is an error when the store is opened."""
    (tmp_path / "config").write_text("[profile work]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert _filesystem("s3://bucket?profile=work").session.get_config_variable("region") == "eu-north-1"
    with pytest.raises(InvalidStoreURL, match="profile 'home'"):
        holdall.open_store("s3://bucket?profile=home")


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("s3:///prefix", "names no bucket; write s3://bucket/prefix"),
        ("s3://b", "'b' is not a bucket name: 3 to 63 of"),
        ("s3://bucket:9000/p", "endpoint_url"),
        ("s3://key:password@bucket/p", "key=…&secret=…"),
        ("s3://bucket/a//b", "empty segment"),
        ("s3://bucket/a/../b", "empty segment"),
        ("s3://bucket/a%0Ab", "control character"),
        ("s3://bucket/" + "x" * 900, "shorten"),
        ("s3://bucket?key=k", "given together"),
        ("s3://bucket?token=t", "given together"),
        ("s3://bucket?anon=true&key=k&secret=s", "anon sends no credentials"),
        ("s3://bucket?profile=p&key=k&secret=s", "leave one out"),
        ("s3://bucket?anon=true&profile=p", "anon sends no credentials"),
        ("s3://bucket?sse_kms_key_id=x", "sse=aws:kms"),
        ("s3://bucket?sse=AES256&sse_kms_key_id=x", "sse=aws:kms"),
        ("s3://bucket?endpoint_url=http://user:password@host", "key and secret"),
        ("s3://bucket?endpoint_url=http://:password@host", "key and secret"),
        ("s3://bucket?endpoint_url=127.0.0.1:9000", "http://"),
        ("s3://bucket?endpoint_url=http://:9000", "http://"),
        ("s3://bucket?endpoint_url=http://host?x=1", "no query"),
        ("s3://bucket?endpoint_url=http://host%23x", "no query"),
        ("s3://bucket?part_size=1MiB", "part_size"),
        ("s3://bucket?part_size=6GiB", "part_size"),
        ("s3://bucket?regoin=x", "region"),
    ],
)
def test_refused(url: str, says: str) -> None:
    """Each mistake is an error that says what to write instead, and shows no secret."""
    with pytest.raises(InvalidStoreURL) as caught:
        holdall.open_store(url)
    assert says in str(caught.value)
    assert "password" not in str(caught.value)


def test_largest_file_follows_from_the_part_size() -> None:
    """S3 takes 10 000 parts, and objects of 5 TiB."""
    largest = {
        size: holdall.open_store(f"s3://bucket?part_size={size}").backend.limits.max_file_bytes
        for size in ("5MiB", "8MiB", "1GiB")
    }
    assert largest == {"5MiB": 50_000 * 1024**2, "8MiB": 80_000 * 1024**2, "1GiB": 5 * 1024**4}


def test_anonymous_access_signs_nothing() -> None:
    """Without credentials there is no signed URL, and it is not declared."""
    store = holdall.open_store("s3://bucket?anon=true")
    assert Capability.SIGNED_URLS not in store.capabilities
    with pytest.raises(NotSupported):
        store.backend.signed_url("file-1", 60)


def test_durable_is_declared_for_amazon_only() -> None:
    """What acknowledges behind an endpoint of one's own may keep it in memory: then DURABLE is not declared."""
    with holdall.open_store("s3://bucket/prefix?key=a&secret=b") as amazon:
        assert Capability.DURABLE in amazon.capabilities
    with holdall.open_store("s3://bucket/prefix?key=a&secret=b&endpoint_url=http://127.0.0.1:1") as other:
        assert Capability.DURABLE not in other.capabilities


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "config file"])
def test_an_endpoint_from_around_is_one(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """The environment or a configuration file may name the server too: not DURABLE, and errors say where it is."""
    (tmp_path / "config").write_text("[default]\nendpoint_url = http://127.0.0.1:9\n" if name == "config file" else "")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    if name != "config file":
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with holdall.open_store("s3://bucket?key=a&secret=b&region=x&retries=0") as store:
        assert Capability.DURABLE not in store.capabilities
        with pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1:9 cannot be reached"):
            store.get("file-1")
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    with holdall.open_store("s3://bucket?key=a&secret=b") as amazon:
        assert Capability.DURABLE in amazon.capabilities


def test_a_password_in_an_endpoint_from_around_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client could not use it, and would show it in what it logs."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:hush@127.0.0.1:9")
    with pytest.raises(InvalidStoreURL, match="it must not contain credentials") as caught:
        holdall.open_store("s3://bucket?key=a&secret=b")
    assert "hush" not in "".join(traceback.format_exception(caught.value))
    with holdall.open_store("s3://bucket?key=a&secret=b&endpoint_url=http://127.0.0.1:9") as store:
        assert store.backend.capabilities
