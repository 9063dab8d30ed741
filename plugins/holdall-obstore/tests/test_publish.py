"""What becomes visible, what does not, and what is left, when answers are lost and writers fail."""

from __future__ import annotations

import threading
import uuid

import pytest
from obstore_raw import S3Raw
from obstore_servers import Answer, Proxy, Server

from holdall import AccessDenied, FileNotFound, StorageError, StorageUnavailable, open_store

MIB = 1024 * 1024


@pytest.fixture
def store(weed_s3: Server, proxy: Proxy, prefix):
    """A store whose requests go through the proxy; it repeats none that failed."""
    with open_store(weed_s3.url(prefix, port=proxy.server_port, retries=0)) as store:
        yield store


def _keys(store) -> list[str]:
    return sorted(f"{name}/{rest}" for name, rest, _ in store.backend._objects())


def _lose(proxy: Proxy, request: str, answer: Answer) -> list[str]:
    """Answer the first such request so; what is returned fills when that has happened."""
    happened: list[str] = []

    def rule(asked, headers):
        if asked != request or happened:
            return None
        happened.append(asked)
        return answer

    proxy.rule = rule
    return happened


@pytest.mark.parametrize(
    ("name", "retries", "status"),
    # Before the commit, an error that stays one may be reported.
    [("data.bin", 3, 500), ("data.bin", 0, 412), ("meta.json", 0, 500), ("meta.json", 3, 500), ("meta.json", 0, 412)],
)
def test_a_lost_answer_is_no_failure(weed_s3: Server, proxy: Proxy, prefix, name, retries, status):
    """The PUT was done, its answer did not come, or a repetition found its own object there: the file is stored once."""
    store = open_store(weed_s3.url(prefix, port=proxy.server_port, retries=retries))
    happened = _lose(proxy, f"PUT {name}", Answer(status, asks_first=True))
    file = store.create("a.txt", b"all of it", purpose="user_data")

    assert happened == [f"PUT {name}"]
    assert store.get_content(file.id) == b"all of it"
    assert [f.id for f in store.list()] == [file.id]
    assert store.verify().ok


@pytest.mark.parametrize("name", ["data.bin", "meta.json"])
@pytest.mark.parametrize("done", [False, True])
def test_what_is_reported_as_failed_is_not_there(store, proxy: Proxy, name, done):
    """A PUT that fails, done or not, where looking whether it was done fails too: an error, and nothing is left."""
    refused = []

    def rule(asked, headers):
        if asked == f"PUT {name}":
            return Answer(403, asks_first=done)
        if name == "meta.json" and asked == "GET meta.json" and not refused:
            refused.append(asked)
            return Answer(500)
        return None

    proxy.rule = rule
    with pytest.raises(StorageError):
        store.create("a.txt", b"x", purpose="user_data")

    assert refused == (["GET meta.json"] if name == "meta.json" else [])
    assert _keys(store) == []


@pytest.mark.parametrize("done", [False, True])
def test_an_upload_in_parts_that_cannot_be_completed(store, weed_s3: Server, proxy: Proxy, prefix, done):
    """The error is the server's, of the kind that fits; no object and no upload is left, whether or not it was done."""

    def rule(asked, headers):
        return (
            Answer(503, "<Error><Code>SlowDown</Code></Error>", asks_first=done) if asked == "POST uploadId" else None
        )

    proxy.rule = rule
    with pytest.raises(StorageUnavailable, match="slow down"):
        store.create("a.bin", (b"x" * MIB for _ in range(9)), purpose="user_data")
    assert _keys(store) == []
    assert S3Raw(weed_s3, prefix).uploads() == []


def test_what_cannot_be_cleaned_up_is_logged(store, proxy: Proxy, caplog):
    """The error is the one that led there, and the log says that something is left for a sweep."""
    proxy.rule = lambda asked, headers: Answer(403) if asked in {"PUT meta.json", "DELETE data.bin"} else None
    with pytest.raises(AccessDenied):
        store.create("a.txt", b"x", purpose="user_data")
    (record,) = caplog.records
    assert record.getMessage().startswith("could not clean up")
    assert "; sweep will: cannot delete file-" in record.getMessage()
    assert not record.exc_info


def test_a_server_without_conditions_is_used_without_them(store, proxy: Proxy):
    """One that answers "not implemented" to If-None-Match is asked once, and then as it likes."""
    conditional = []

    def rule(asked, headers):
        if "if-none-match" not in headers:
            return None
        conditional.append(asked)
        return Answer(501, "<Error><Code>NotImplemented</Code></Error>")

    proxy.rule = rule
    files = [store.create("a.txt", b"x", purpose="user_data") for _ in range(2)]
    assert conditional == ["PUT data.bin"]
    assert [store.get_content(f.id) for f in files] == [b"x", b"x"]


@pytest.mark.parametrize("kind", ["s3", "memory", "file"])
@pytest.mark.parametrize("size", [10, 9 * MIB])
def test_an_entry_that_exists_stays_as_it_is(store, tmp_path, kind, size):
    """A second write under its id, small or in parts: StorageError, and the first one's bytes and metadata."""
    urls = {"memory": f"memory+obstore://{uuid.uuid4()}", "file": f"file+obstore://{tmp_path}"}
    backend = open_store(urls[kind]).backend if kind in urls else store.backend
    with backend.stage("file-taken") as first:
        first.write(b"first")
        first.publish(b"{1}")
    with backend.stage("file-taken") as second, pytest.raises(StorageError, match="exists already"):
        second.write(b"2" * size)
        second.publish(b"{2}")
    with backend.open_data("file-taken") as stream:
        assert stream.read() == b"first"
    assert backend.read_meta("file-taken") == b"{1}"


def test_bytes_left_by_a_dead_write_are_replaced(store):
    """A copy that was interrupted between bytes and metadata can be taken up again under the same id."""
    backend = store.backend
    backend.store.put(backend.data_key("file-again"), b"half of it")
    with backend.stage("file-again") as staged:
        staged.write(b"all of it")
        staged.publish(b"{}")
    with backend.open_data("file-again") as stream:
        assert stream.read() == b"all of it"


def test_memory_may_be_reused_after_write(store):
    """What was written is what the buffer held then, in one PUT and in parts."""
    for size in (1000, 9 * MIB):
        buffer = bytearray(b"a" * size)
        with store.backend.stage(f"file-{size}") as staged:
            for byte in b"abc":
                buffer[:] = bytes([byte]) * size
                staged.write(memoryview(buffer))
            buffer[:] = b"!" * size
            staged.publish(b"{}")
        with store.backend.open_data(f"file-{size}") as stream:
            assert stream.read() == b"a" * size + b"b" * size + b"c" * size


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_one_of_many_removers_wins(tmp_path, kind):
    """Where EXCLUSIVE_REMOVE is declared, by many handles at once."""
    url = {"memory": f"memory+obstore://{uuid.uuid4()}", "file": f"file+obstore://{tmp_path}"}[kind]
    backends = [open_store(url).backend for _ in range(8)]
    for n in range(20):
        file_id = f"file-{n}"
        with backends[0].stage(file_id) as staged:
            staged.publish(b"{}")
        start, outcomes = threading.Barrier(len(backends)), []

        def remove(backend, file_id=file_id, start=start, outcomes=outcomes):
            start.wait()
            try:
                backend.remove(file_id)
            except FileNotFound:
                outcomes.append("absent")
            else:
                outcomes.append("removed")

        threads = [threading.Thread(target=remove, args=(backend,)) for backend in backends]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outcomes) == ["absent"] * 7 + ["removed"]


def test_an_upload_in_parts_that_a_sweep_took_is_not_published(store, proxy: Proxy):
    """Its bytes vanish just before the commit, since they looked old: an error, and no entry without bytes."""

    def rule(asked, headers):
        if asked == "PUT meta.json":
            for name, _, _ in list(store.backend._objects()):
                store.backend.remove_data(name)

    proxy.rule = rule
    with pytest.raises(StorageError, match="a sweep removed its data"):
        store.create("a.bin", (b"x" * MIB for _ in range(9)), purpose="user_data")
    assert _keys(store) == []
