"""What goes wrong is told apart, and each error says what to do."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, HTTPClientError, IncompleteReadError, SSLError
from holdall_s3._errors import translated, was_refused
from s3_servers import READER, READER_SECRET, S3Server

import holdall
from holdall import AccessDenied, FileNotFound, FileStore, StorageError, StorageFull, StorageUnavailable

ABSENT = "file-0197f3c2b1a07e5d8c4b3a2f1e0d9c8b"


def _calls(store: FileStore) -> dict[str, Callable[[], object]]:
    return {
        "get": lambda: store.get(ABSENT),
        "open_data": lambda: store.backend.open_data(ABSENT),
        "open_data of nothing": lambda: store.backend.open_data(ABSENT, 0, 0),
        "delete": lambda: store.delete(ABSENT),
        "list": store.list,
        "create": lambda: store.create("a", b"x", purpose="batch"),
        "sweep": store.sweep,
    }


def test_a_missing_bucket_is_not_a_missing_file(server: S3Server) -> None:
    """Every call says that the bucket is not there; none says that a file is not."""
    with holdall.open_store(server.url("p").replace(server.bucket, "no-such-bucket")) as store:
        for name, call in _calls(store).items():
            with pytest.raises(StorageError, match="the bucket 'no-such-bucket' does not exist"):
                pytest.fail(f"{name} returned {call()}")


def test_who_may_only_read_is_denied(seaweedfs_server: S3Server) -> None:
    """Reading works, writing is AccessDenied and names what is needed."""
    server = seaweedfs_server
    with holdall.open_store(server.url("denied")) as store:
        file = store.create("a", b"x", purpose="batch")
        with holdall.open_store(server.url("denied", key=READER, secret=READER_SECRET)) as reader:
            assert reader.get_content(file.id) == b"x"
            for call in (
                lambda: reader.create("a", b"x", purpose="batch"),
                lambda: reader.delete(file.id),
                lambda: reader.create("a", b"x" * (9 << 20), purpose="batch"),
            ):
                with pytest.raises(AccessDenied, match="s3:PutObject"):
                    call()
        assert [f.id for f in store.list()] == [file.id]
        store.delete(file.id)


def test_wrong_credentials(seaweedfs_server: S3Server) -> None:
    """A wrong secret is AccessDenied on every call, never a missing file, and is not shown."""
    with holdall.open_store(seaweedfs_server.url("p", secret="wrong-secret")) as store:
        for name, call in _calls(store).items():
            with pytest.raises(AccessDenied, match="check key and secret") as caught:
                pytest.fail(f"{name} returned {call()}")
            assert "wrong-secret" not in str(caught.value)


def test_unreachable() -> None:
    """A server that is not there is StorageUnavailable, after the retries that were asked for."""
    url = "s3://bucket/p?endpoint_url=http://127.0.0.1:9&region=x&key=k&secret=s&retries=0&timeout_seconds=2"
    with holdall.open_store(url) as store:
        for name, call in _calls(store).items():
            with pytest.raises(StorageUnavailable, match=r"127\.0\.0\.1:9 cannot be reached"):
                pytest.fail(f"{name} returned {call()}")


def test_no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Nothing in the chain is AccessDenied, with the names of what to set."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    url = "s3://bucket?endpoint_url=http://127.0.0.1:9&region=x"
    with holdall.open_store(url) as store, pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
        store.get(ABSENT)


def test_a_profile_of_the_environment_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """Opening works, as with other credentials that are missing; the first call says which variable to correct."""
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_PROFILE", "home")
    with holdall.open_store("s3://bucket") as store, pytest.raises(AccessDenied, match="AWS_PROFILE"):
        store.get(ABSENT)


@pytest.mark.parametrize(
    ("code", "status", "kind", "says"),
    [
        ("NoSuchKey", 404, FileNotFound, "no such file"),
        ("NoSuchBucket", 404, StorageError, "create it"),
        ("AccessDenied", 403, AccessDenied, "s3:ListBucket"),
        ("403", 403, AccessDenied, "s3:ListBucket"),
        ("AccessDenied", 403, AccessDenied, "s3:ListBucketMultipartUploads"),
        ("InvalidObjectState", 403, StorageError, "restore it"),
        ("ExpiredToken", 400, AccessDenied, "get new ones"),
        ("InvalidAccessKeyId", 403, AccessDenied, "check key and secret"),
        ("RequestTimeTooSkewed", 403, AccessDenied, "clock"),
        ("SlowDown", 503, StorageUnavailable, "slow down"),
        ("InternalError", 500, StorageUnavailable, "try again"),
        ("", 502, StorageUnavailable, "try again"),
        ("429", 429, StorageUnavailable, "slow down"),
        ("507", 507, StorageFull, "raise the quota"),
        ("404", 404, FileNotFound, "no such file"),
        ("NoSuchUpload", 404, FileNotFound, "no such file"),
        ("ConditionalRequestConflict", 409, StorageError, "exists already"),
        ("QuotaExceeded", 403, StorageFull, "raise the quota"),
        ("PermanentRedirect", 301, StorageError, "region=eu-west-1"),
        ("SomethingNew", 400, StorageError, "answered SomethingNew"),
    ],
)
def test_answers(code: str, status: int, kind: type[Exception], says: str) -> None:
    """Each code of S3's becomes the kind that fits, with advice; no other kind."""
    answer = {
        "Error": {"Code": code},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": {"x-amz-bucket-region": "eu-west-1"}},
    }
    cause = ClientError(answer, "GetObject")
    error = translated(cause, "read file-1", "bucket", "AWS S3")
    assert type(error) is kind
    assert str(error).startswith("cannot read file-1: ")
    assert says in str(error)
    error.__cause__ = cause
    assert was_refused(error) is (400 <= status < 500)


@pytest.mark.parametrize(
    ("code", "status"),
    [("OperationAborted", 409), ("RequestTimeout", 400), ("408", 408), ("InternalError", 500), ("", 502), ("", 0)],
)
def test_what_may_have_been_done_all_the_same(code: str, status: int) -> None:
    """A server that was busy, or a proxy that did not wait for it, has perhaps done it: that is no refusal."""
    answer = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    cause = ClientError(answer, "PutObject")
    error = translated(cause, "create file-1", "bucket", "AWS S3")
    error.__cause__ = cause
    assert not was_refused(error)


@pytest.mark.parametrize(("status", "kind"), [(404, StorageError), (429, StorageUnavailable), (507, StorageFull)])
def test_a_status_without_a_code_of_s3(status: int, kind: type[Exception]) -> None:
    """A proxy in between may answer: by its status it is told apart, but its 404 is not the absence of a file."""
    answer = {"Error": {"Code": "Odd"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    assert type(translated(ClientError(answer, "GetObject"), "read file-1", "bucket", "AWS S3")) is kind


def test_the_region_is_taken_from_wherever_it_is_said() -> None:
    """Some servers name it in the error instead of a header."""
    answer = {
        "Error": {"Code": "AuthorizationHeaderMalformed", "Region": "eu-west-2"},
        "ResponseMetadata": {"HTTPStatusCode": 400},
    }
    error = translated(ClientError(answer, "GetObject"), "read file-1", "bucket", "AWS S3")
    assert "add ?region=eu-west-2 to the URL" in str(error)


def test_a_certificate_that_is_not_trusted_is_named_as_such() -> None:
    """Trying again does not help, and the network is not to blame."""
    error = translated(SSLError(endpoint_url="https://h", error="x"), "read file-1", "bucket", "https://h")
    assert type(error) is StorageUnavailable
    assert "AWS_CA_BUNDLE" in str(error)


@pytest.mark.parametrize(
    "cause",
    [
        ConnectionResetError(),
        TimeoutError(),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
        IncompleteReadError(actual_bytes=1, expected_bytes=2),
        HTTPClientError(error="broken"),
        aiohttp.ServerDisconnectedError(),
        aiohttp.ClientPayloadError(),
    ],
    ids=lambda cause: type(cause).__name__,
)
def test_no_answer_or_half_of_one(cause: Exception) -> None:
    """A connection that cannot be made, or breaks off in the middle of a body: trying again may help."""
    error = translated(cause, "read file-1", "bucket", "AWS S3")
    assert type(error) is StorageUnavailable
    assert str(error).startswith("cannot read file-1: ")
    assert "try again" in str(error)
