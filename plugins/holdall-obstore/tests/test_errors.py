"""Each way a storage can fail is one kind of error, and one sentence that says what to do."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys

import pytest
from obstore_servers import BUCKET, READER, READER_SECRET, Answer, Proxy, Server

from holdall import AccessDenied, FileNotFound, StorageError, StorageFull, StorageUnavailable, open_store


def _coded(status: int, code: str) -> Answer:
    return Answer(status, f"<Error><Code>{code}</Code><Message>hush</Message></Error>")


CASES = [
    (_coded(404, "NoSuchBucket"), StorageError, "bucket does not exist"),
    (_coded(403, "AccessDenied"), AccessDenied, "permissions"),
    (_coded(403, "InvalidObjectState"), StorageError, "restore it"),
    (_coded(403, "ExpiredToken"), AccessDenied, "expired"),
    (_coded(400, "ExpiredToken"), AccessDenied, "expired"),
    (_coded(403, "RequestTimeTooSkewed"), AccessDenied, "clock"),
    (_coded(403, "SignatureDoesNotMatch"), AccessDenied, "check the credentials"),
    (_coded(403, "InvalidAccessKeyId"), AccessDenied, "check the credentials"),
    (Answer(401), AccessDenied, "check the credentials"),
    (Answer(403), AccessDenied, "permissions"),
    (Answer(301), StorageError, "region"),
    (_coded(301, "PermanentRedirect"), StorageError, "region"),
    (_coded(400, "AuthorizationHeaderMalformed"), StorageError, "region"),
    (_coded(503, "SlowDown"), StorageUnavailable, "slow down"),
    (_coded(500, "InternalError"), StorageUnavailable, "try again"),
    (Answer(502), StorageUnavailable, "try again"),
    (Answer(429), StorageUnavailable, "try again"),
    (Answer(507), StorageFull, "quota"),
    (_coded(400, "SomethingNew"), StorageError, "SomethingNew"),
]


@pytest.fixture
def store(weed_s3: Server, proxy: Proxy, prefix):
    """A store whose requests go through the proxy; it repeats none that failed."""
    with open_store(weed_s3.url(prefix, port=proxy.server_port, retries=0)) as store:
        yield store


@pytest.mark.parametrize(("answer", "kind", "said"), CASES, ids=[f"{a.status} {a.body[13:40]}" for a, _, _ in CASES])
def test_what_a_server_says(store, proxy: Proxy, answer, kind, said):
    """The same kind from every verb, never FileNotFound; what the server wrote is not repeated."""
    file = store.create("a.txt", b"x" * 100, purpose="user_data")
    proxy.rule = lambda request, headers: answer
    verbs = {
        "create": lambda: store.create("b.txt", b"x", purpose="user_data"),
        "get": lambda: store.get(file.id),
        "read": lambda: store.backend.open_data(file.id, 10, 20).read(),
        "list": store.list,
        "delete": lambda: store.delete(file.id),
        "sweep": store.sweep,
    }
    for verb, call in verbs.items():
        with pytest.raises(StorageError) as caught:
            call()
        assert isinstance(caught.value, kind), verb
        assert kind is not StorageError or type(caught.value) is StorageError
        assert said in str(caught.value)
        assert "hush" not in str(caught.value)
        assert caught.value.__cause__ is not None
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_missing_bucket_is_not_a_missing_file(weed_s3: Server):
    """On a real server, by every verb."""
    store = open_store(weed_s3.url("p").replace(BUCKET, "no-such-bucket"))
    for call in (
        lambda: store.get("file-1"),
        lambda: store.get_content("file-1"),
        lambda: store.delete("file-1"),
        store.list,
        lambda: store.create("a.txt", b"x", purpose="user_data"),
        lambda: store.create("a.txt", (b"x" * 2**20 for _ in range(9)), purpose="user_data"),
    ):
        with pytest.raises(StorageError, match="bucket does not exist"):
            call()


def test_who_may_only_read_is_denied(weed_s3: Server, prefix):
    """With real identities: reading works, writing and deleting is AccessDenied, and nothing changes."""
    owner = open_store(weed_s3.url(prefix))
    file = owner.create("a.txt", b"x", purpose="user_data")
    reader = open_store(weed_s3.url(prefix, key=READER, secret=READER_SECRET))
    assert reader.get_content(file.id) == b"x"
    for call in (lambda: reader.create("b.txt", b"x", purpose="user_data"), lambda: reader.delete(file.id)):
        with pytest.raises(AccessDenied, match="permissions"):
            call()
    assert [f.id for f in owner.list()] == [file.id]


@pytest.mark.parametrize("wrong", [{"secret": "wrong-secret"}, {"key": "nobody", "secret": "wrong-secret"}])
def test_a_wrong_key_is_said_to_be_wrong(weed_s3: Server, prefix, wrong):
    """Not as a missing permission, and without the secret."""
    with pytest.raises(AccessDenied, match="check the credentials") as caught:
        open_store(weed_s3.url(prefix, **wrong)).list()
    assert "wrong-secret" not in str(caught.value)


def test_nobody_listens():
    """StorageUnavailable, and the sentence names the endpoint as what to check."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    store = open_store(f"s3+obstore://b/p?key=k&secret=s&retries=1&endpoint_url=http://127.0.0.1:{port}")
    with pytest.raises(StorageUnavailable, match="check the network and the endpoint"):
        store.get("file-1")


def test_a_server_that_says_nothing():
    """StorageUnavailable once timeout_seconds have passed, not a hang."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        url = f"s3+obstore://b/p?key=k&secret=s&retries=0&timeout_seconds=0.2&endpoint_url=http://127.0.0.1:{port}"
        with pytest.raises(StorageUnavailable, match="try again"):
            open_store(url).get("file-1")


def test_busy_for_a_moment_is_not_seen(weed_s3: Server, proxy: Proxy, prefix):
    """503 twice, then an answer: obstore asks again by itself."""
    store = open_store(weed_s3.url(prefix, port=proxy.server_port))
    file = store.create("a.txt", b"x", purpose="user_data")
    busy = [_coded(503, "SlowDown")] * 2
    proxy.rule = lambda request, headers: busy.pop() if busy else None
    assert store.get_content(file.id) == b"x"
    assert busy == []


@pytest.mark.parametrize("blocks", [400, 20_000])
def test_a_connection_that_breaks_in_the_middle_is_taken_up_again(weed_s3: Server, proxy: Proxy, prefix, blocks):
    """A download that is cut, of a small file or a large one, goes on where it was cut, and every byte comes once."""
    store = open_store(weed_s3.url(prefix, port=proxy.server_port))
    data = bytes(range(256)) * blocks
    file = store.create("a.bin", data, purpose="user_data")
    cuts = [len(data) // 5]
    proxy.cut = lambda request: cuts.pop() if cuts and request == "GET data.bin" else None
    proxy.requests.clear()
    assert store.get_content(file.id) == data
    assert cuts == []
    assert proxy.requests.count("GET data.bin") == 2


def test_a_full_disk_and_a_forbidden_directory(tmp_path):
    """file+obstore tells them apart by the errno in obstore's text."""
    program = """
import resource, signal, sys, holdall
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = holdall.open_store(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
try:
    store.create("a.bin", b"x" * 100_000, purpose="user_data")
except holdall.StorageFull as error:
    print(error)
print(list(store), [d.name for d in store.backend.debris()])
"""
    url = f"file+obstore://{tmp_path}/full"
    done = subprocess.run([sys.executable, "-c", program, url], capture_output=True, text=True, timeout=60, check=True)
    assert "free some space" in done.stdout
    assert done.stdout.splitlines()[-1] == "[] []"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot open"):
        open_store(f"file+obstore://{tmp_path}/file")


def test_deleted_while_it_is_read(weed_s3: Server, prefix):
    """A reader that has to ask again after a delete gets FileNotFound, never wrong bytes."""
    store = open_store(weed_s3.url(prefix))
    file = store.create("a.bin", b"x" * 3_000_000, purpose="user_data")
    with store.open(file.id) as stream:
        stream.read(10)
        store.delete(file.id)
        stream.seek(2_900_000)
        with pytest.raises(FileNotFound):
            stream.read(10)
