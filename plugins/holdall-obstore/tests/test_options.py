"""What a URL can say, what it must not, and what follows from it."""

from __future__ import annotations

import traceback
from datetime import timedelta

import pytest
from holdall_obstore import AzureBackend, GoogleBackend, S3Backend

from holdall import Capability, InvalidRequest, InvalidStoreURL, NotSupported, open_store
from holdall.url import StoreURL

S3 = "s3+obstore://bucket/some/prefix"
GOOGLE = "gs+obstore://bucket/p?anon=true"
AZURE = "az+obstore://container/p?account_name=a&account_key=a2V5"
# The variables by which obstore itself finds a server, and whose.
ENDPOINTS = {
    "AWS_ENDPOINT_URL_S3": S3,
    "AWS_ENDPOINT_URL": S3,
    "AWS_ENDPOINT": S3,
    "GOOGLE_BASE_URL": GOOGLE,
    "AZURE_STORAGE_ENDPOINT": AZURE,
    "AZURE_ENDPOINT": AZURE,
}


def _config(url: str) -> dict:
    return open_store(url).backend.store.config


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in (*ENDPOINTS, "AZURE_STORAGE_USE_EMULATOR", "AWS_REGION", "AZURE_STORAGE_ACCOUNT_NAME"):
        monkeypatch.delenv(name, raising=False)


def test_options_reach_obstore():
    """Each option of S3 becomes obstore's."""
    url = f"{S3}?region=eu-west-1&endpoint_url=http://127.0.0.1:9&key=k&secret=s&token=t&sse=aws:kms&sse_kms_key_id=id"
    config = _config(url)
    expected = {
        "region": "eu-west-1",
        "endpoint": "http://127.0.0.1:9",
        "access_key_id": "k",
        "secret_access_key": "s",
        "session_token": "t",
    }
    assert {name.removeprefix("aws_"): value for name, value in config.items()}.items() >= expected.items()
    assert config["server_side_encryption"] == "aws:kms"
    assert config["sse_kms_key_id"] == "id"
    # Deleting many with one request is another request, which not every server knows.
    assert config["disable_bulk_delete"] == "true"
    backend = open_store(f"{S3}?part_size=16MiB&max_concurrency=3").backend
    assert (backend.part_size, backend.max_concurrency) == (16 * 1024 * 1024, 3)
    assert backend.limits.max_file_bytes == 160_000 * 1024 * 1024


def test_options_of_google_and_azure_reach_obstore():
    """Where the server is, whether to sign, and with what."""
    google = _config("gs+obstore://bucket/p?anon=true&endpoint_url=http://127.0.0.1:9")
    assert google.items() >= {"base_url": "http://127.0.0.1:9", "skip_signature": "true"}.items()
    key = _config(f"{AZURE}&endpoint_url=http://127.0.0.1:9")
    assert key.items() >= {"account_name": "a", "account_key": "a2V5", "endpoint": "http://127.0.0.1:9"}.items()
    assert _config("az+obstore://c?account_name=a&sas_token=sv%3D1%26sig%3Dx")["sas_key"] == "sv=1&sig=x"
    for url in (f"{S3}?anon=true", "az+obstore://c?account_name=a&anon=true"):
        assert _config(url)["skip_signature"] == "true"


def test_how_long_obstore_waits_and_how_often_it_tries():
    """The silence of a server is bounded, and not the time that a slow reader takes; http only if it was asked for."""
    store = open_store(f"{S3}?timeout_seconds=5&retries=3").backend.store
    times = {"connect_timeout": "5s", "read_timeout": "5s", "timeout": "1day"}
    assert store.client_options == {**times, "allow_http": "false"}
    assert (store.retry_config["max_retries"], store.retry_config["retry_timeout"]) == (3, timedelta(seconds=5))
    for endpoint, allowed in (("http://127.0.0.1:9", "true"), ("https://127.0.0.1:9", "false")):
        client = open_store(f"{S3}?endpoint_url={endpoint}").backend.store.client_options
        assert (client["allow_http"], client["connect_timeout"]) == (allowed, "10s")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"{S3}?regoin=x", "did you mean 'region'"),
        (f"{S3}?profile=x", "unknown option 'profile'"),
        (f"{S3}?part_size=1MiB", "part_size"),
        (f"{S3}?max_concurrency=0", "max_concurrency"),
        (f"{S3}?sse=AES", "AES256"),
        (f"{S3}?sse_kms_key_id=x", "needs sse=aws:kms"),
        (f"{S3}?key=only", "key and secret"),
        (f"{S3}?token=hush", "together with key and secret"),
        (f"{S3}?anon=true&key=k&secret=hush", "anon sends no credentials"),
        (f"{S3}?endpoint_url=127.0.0.1:9000", "endpoint_url"),
        (f"{S3}?endpoint_url=http://user:hush@host:9000", "give them as options"),
        (f"{S3}?endpoint_url=http://:hush@host:9000", "give them as options"),
        (f"{S3}?endpoint_url=http://host?x=1", "no query"),
        (f"{S3}?endpoint_url=http://host%23x", "no query"),
        (f"{S3}?endpoint_url=http://:9000", "http://"),
        (f"{S3}?sse=AES256&sse_kms_key_id=x", "needs sse=aws:kms"),
        ("s3+obstore://key:hush@bucket/p", "credentials"),
        ("s3+obstore:///p", "name a bucket"),
        ("s3+obstore://bucket:80/p", "without a port"),
        ("s3+obstore://bucket/a//b", "must not have an empty segment"),
        ("s3+obstore://bucket/a/../b", "'..'"),
        ("s3+obstore://bucket/a%0Ab", "control"),
        ("s3+obstore://bucket/a%7Fb", "control"),
        ("az+obstore://container/p", "add ?account_name=… to the URL, or set AZURE_STORAGE_ACCOUNT_NAME"),
        ("az+obstore://container/p?account_name=a&account_key=hush!", "the README says"),
        ("az+obstore://c?account_name=a&account_key=hush&sas_token=hush", "leave one out"),
        ("az+obstore://c?account_name=a&account_key=hush&anon=true", "anon sends no credentials"),
        ("gs+obstore://bucket/p?region=x", "unknown option"),
        ("file+obstore://host/p", "three slashes"),
        ("file+obstore:///", "names no directory"),
        ("file+obstore:///tmp/x?anon=true", "unknown option"),
        ("memory+obstore://u:hush@name", "without user"),
    ],
)
def test_what_cannot_be_meant_is_refused(url, said):
    """Nothing is opened, and the message says what is wrong, without a secret."""
    with pytest.raises(InvalidStoreURL) as caught:
        open_store(url)
    assert said in str(caught.value)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_what_obstore_refuses_is_shown_without_its_message():
    """It may quote what it was given, secrets included: a traceback does not have it either."""
    with pytest.raises(InvalidStoreURL, match="the README says") as caught:
        open_store("az+obstore://container/p?account_name=a&account_key=hush!")
    assert "Invalid" not in "".join(traceback.format_exception(caught.value)).replace("InvalidStoreURL", "")


@pytest.mark.parametrize(("name", "url"), ENDPOINTS.items())
def test_durable_is_promised_for_the_providers_own_servers_only(monkeypatch, name, url):
    """What stands behind an endpoint of one's own, given in the URL or the environment, promises nothing here."""
    assert Capability.DURABLE in open_store(url).capabilities
    option = "&endpoint_url=http://127.0.0.1:9" if "?" in url else "?endpoint_url=http://127.0.0.1:9"
    assert Capability.DURABLE not in open_store(url + option).capabilities
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert Capability.DURABLE not in open_store(url).capabilities


def test_durable_is_not_promised_for_an_emulator(monkeypatch):
    """Azurite, which obstore asks if the environment says so, keeps what it was given in memory."""
    monkeypatch.setenv("AZURE_STORAGE_USE_EMULATOR", "true")
    assert Capability.DURABLE not in open_store(AZURE).capabilities


@pytest.mark.parametrize(("name", "url"), ENDPOINTS.items())
def test_the_environments_endpoint_is_looked_at_like_an_option(monkeypatch, name, url):
    """A password in it is refused: obstore would name it in its errors."""
    monkeypatch.setenv(name, "http://user:hush@127.0.0.1:9")
    with pytest.raises(InvalidStoreURL, match=f"{name} .*it must not contain credentials") as caught:
        open_store(url)
    assert "hush" not in "".join(traceback.format_exception(caught.value))


def test_each_kind_of_store_declares_what_it_can():
    """S3 and Google list from a name on; obstore does not ask Azure to."""
    google = open_store(GOOGLE)
    azure = open_store(AZURE)
    assert isinstance(open_store(S3).backend, S3Backend)
    assert isinstance(google.backend, GoogleBackend)
    assert isinstance(azure.backend, AzureBackend)
    assert Capability.ORDERED_LISTING in google.capabilities
    assert Capability.ORDERED_LISTING not in azure.capabilities


def test_without_credentials_nothing_is_signed():
    """anon=true takes SIGNED_URLS away."""
    store = open_store(f"{S3}?anon=true")
    assert Capability.SIGNED_URLS not in store.capabilities
    with pytest.raises(NotSupported):
        store.backend.signed_url("file-1", 60)


@pytest.mark.parametrize("seconds", [0, -1, 604_801])
def test_a_signature_lasts_a_second_to_seven_days(seconds):
    """The servers refuse anything else when the URL is used, which is too late."""
    with pytest.raises(InvalidRequest, match="7 days"):
        open_store(f"{S3}?key=k&secret=s").backend.signed_url("file-1", seconds)


def test_signing_asks_no_server():
    """For each kind with signed URLs, with a server that is not there: the URL names the key and expires."""
    s3 = open_store(f"{S3}?key=k&secret=s&endpoint_url=http://127.0.0.1:9").backend.signed_url("file-1", 60)
    azure = open_store("az+obstore://c/p?account_name=a&account_key=a2V5").backend.signed_url("file-1", 60)
    assert s3.startswith("http://127.0.0.1:9/bucket/some/prefix/file-1/data.bin?")
    assert "X-Amz-Expires=60" in s3
    assert azure.startswith("https://a.blob.core.windows.net/c/p/file-1/data.bin?")


def test_secrets_are_shown_nowhere():
    """Neither in the store's text nor in its URL's."""
    store = open_store(f"{S3}?key=visible-key&secret=hush-hush&token=hush-token")
    for text in (repr(store), str(store.url), repr(store.backend), store.backend.where, repr(store.url)):
        assert "hush" not in text
    assert "hush" in StoreURL.parse(store.url.reveal()).reveal()


def test_memory_is_shared_by_name_only():
    """One store a name within the process; without a name, each its own."""
    one, same, other, private = (open_store(f"memory+obstore://{n}") for n in ("opt-a", "opt-a", "opt-b", ""))
    file = one.create("a.txt", b"x", purpose="user_data")
    assert [f.id for f in same.list()] == [file.id]
    assert [list(other.list()), list(private.list()), list(open_store("memory+obstore://").list())] == [[], [], []]
