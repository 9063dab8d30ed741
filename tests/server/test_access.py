"""API keys: who gets in, whose files they see, and keys that change while the server runs."""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import uuid

import httpx
import openai
import pytest
from tests.server._serving import serving

from holdall import InvalidRequest
from holdall.backends.local import LocalBackend
from holdall.server import Keys, _keys, create_app
from holdall.server._keys import new_key

TEXT = "alice:key-of-alice, bob:key-of-bob,alice:other-key-of-alice"


def _sdk(running, key):
    return openai.OpenAI(base_url=f"{running.url}/v1", api_key=key, max_retries=0)


def _line(tenant, key):
    return f"{tenant}:{hashlib.sha256(key.encode()).hexdigest()}\n"


def _replace(path, text):
    """As an operator's tools do it: a new file in place of the old one."""
    path.with_suffix(".new").write_text(text, encoding="utf-8")
    path.with_suffix(".new").rename(path)


def test_without_a_key_of_the_list_nobody_gets_in(tmp_path):
    """No key, a wrong one and another scheme are 401 on every route, in the envelope, with the way to authenticate."""
    with serving(create_app(str(tmp_path), keys=Keys(TEXT))) as running:
        for headers in ({}, {"Authorization": "Bearer nope"}, {"Authorization": "Basic a2V5LW9mLWFsaWNl"}):
            for method, path in (
                ("GET", "/files"), ("POST", "/files"), ("GET", "/files/file-1"), ("DELETE", "/files/file-1"),
                ("GET", "/files/file-1/content"), ("HEAD", "/files/file-1/content"), ("GET", "/files/a/b"),
                ("POST", "/uploads"), ("POST", "/uploads/upload_1/parts"), ("POST", "/uploads/upload_1/complete"),
                ("POST", "/uploads/upload_1/cancel"), ("POST", "/uploads/a/b"),
            ):  # fmt: skip
                answer = httpx.request(method, f"{running.url}/v1{path}", headers=headers)
                assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), (method, path)
                if method != "HEAD":
                    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}
                    assert answer.json()["error"]["code"] == "invalid_api_key"
        for key in ("key-of-alice", "key-of-bob", "other-key-of-alice"):
            assert _sdk(running, key).files.list().data == []
        assert httpx.get(f"{running.url}/healthz").json() == {"status": "ok"}
        assert httpx.get(f"{running.url}/readyz").json() == {"status": "ok"}


def test_a_failure_is_logged_with_its_tenant(tmp_path, monkeypatch, caplog):
    """On one line, with what failed and why, and without the key."""

    def denied(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with serving(create_app(str(tmp_path), keys=Keys(TEXT))) as running:
        monkeypatch.setattr(LocalBackend, "stage", denied)
        with pytest.raises(openai.InternalServerError):
            _sdk(running, "key-of-alice").files.create(file=("a", b"x"), purpose="batch")
    (line,) = [record for record in caplog.records if record.name == "holdall.server"]
    assert line.getMessage().startswith("POST '/v1/files' of alice failed: cannot create file-")
    assert "Read-only file system" in line.getMessage()
    assert line.exc_info is None
    assert "key-of-alice" not in caplog.text


@pytest.mark.parametrize("kind", ["local", "memory", "shared memory", "s3"])
def test_a_tenant_sees_its_own_files_and_nothing_of_another(kind, request, tmp_path):
    """Neither by list, by paging from a known id, nor by id; what is not theirs is answered as what is nowhere."""
    url = {
        "local": lambda: str(tmp_path / "files"),
        "memory": lambda: "memory://",
        "shared memory": lambda: f"memory://{uuid.uuid4().hex}",
        "s3": lambda: request.getfixturevalue("s3").url(uuid.uuid4().hex),
    }[kind]()
    with serving(create_app(url, keys=Keys(TEXT))) as running:
        alice, bob = _sdk(running, "key-of-alice"), _sdk(running, "key-of-bob")
        bobs = [bob.files.create(file=(f"{n}", b"bob"), purpose="batch") for n in range(2)]
        hers = [alice.files.create(file=(f"{n}", b"alice"), purpose="batch") for n in range(3)]
        bobs.append(bob.files.create(file=("last", b"bob"), purpose="batch"))

        assert [f.id for f in _sdk(running, "other-key-of-alice").files.list(order="asc")] == [f.id for f in hers]
        assert [f.id for f in bob.files.list(order="asc", limit=1)] == [f.id for f in bobs]
        # Her id says when it was minted, as any id does, and no more: what follows are his own.
        assert [f.id for f in bob.files.list(order="asc", after=hers[0].id)] == [bobs[2].id]
        nowhere = "file-" + "0" * 32
        for call in (bob.files.retrieve, bob.files.content, bob.files.delete):
            told = []
            for file_id in (hers[0].id, nowhere):
                with pytest.raises(openai.NotFoundError) as refused:
                    call(file_id)
                told.append(str(refused.value.body).replace(file_id, "ID"))
            assert told[0] == told[1]
        assert alice.files.content(hers[0].id).read() == b"alice"


@pytest.mark.parametrize("kind", ["local", "memory", "s3"])
def test_a_tenant_reaches_no_upload_of_another(kind, request, tmp_path):
    """Neither to add a part, to complete or to cancel it, nor by naming its parts; all is told as of what is nowhere."""
    url = {
        "local": lambda: str(tmp_path / "files"),
        "memory": lambda: "memory://",
        "s3": lambda: request.getfixturevalue("s3").url(uuid.uuid4().hex),
    }[kind]()
    nowhere, new = "0" * 32, {"bytes": 3, "filename": "a", "mime_type": "a/b", "purpose": "batch"}
    with serving(create_app(url, keys=Keys(TEXT))) as running:
        alice, bob = _sdk(running, "key-of-alice"), _sdk(running, "key-of-bob")
        hers, his = alice.uploads.create(**new), bob.uploads.create(**new)
        part = alice.uploads.parts.create(hers.id, data=b"her").id
        for call in (
            lambda upload: bob.uploads.parts.create(upload, data=b"his"),
            lambda upload: bob.uploads.complete(upload, part_ids=[part]),
            bob.uploads.cancel,
        ):
            told = []
            for upload in (hers.id, f"upload_{nowhere}"):
                with pytest.raises(openai.NotFoundError) as refused:
                    call(upload)
                told.append(str(refused.value.body).replace(upload, "ID"))
            assert told[0] == told[1]
        told = []
        for guessed in (part, f"part_{nowhere}"):
            with pytest.raises(openai.BadRequestError) as refused:
                bob.uploads.complete(his.id, part_ids=[guessed])
            told.append(refused.value.body)
        assert told[0] == told[1]
        done = alice.uploads.complete(hers.id, part_ids=[part])
        assert alice.files.content(done.file.id).read() == b"her"
        assert bob.files.list().data == []


def test_a_tenant_on_disk_has_a_directory_of_its_own(tmp_path):
    """Below the store's root, in the ordinary layout: it is a store by itself."""
    with serving(create_app(f"file://{tmp_path}?fsync=false", keys=Keys(TEXT))) as running:
        file = _sdk(running, "key-of-bob").files.create(file=("a", b"x"), purpose="batch")

    assert (tmp_path / "bob" / file.id / "data.bin").read_bytes() == b"x"
    assert os.listdir(tmp_path) == ["bob"]


def test_keys_of_a_file_change_while_the_server_runs(tmp_path, caplog):
    """A new line lets in, a line that is gone keeps out, a broken file changes nothing and is logged, none has none."""
    path = tmp_path / "keys"
    key, line = new_key("alice")
    path.write_text(f"# who may\n\n  {line}\t# the first one\n", encoding="utf-8")

    with serving(create_app(str(tmp_path / "files"), keys=Keys(file=path))) as running:

        def may(which):
            answer = httpx.get(f"{running.url}/v1/files", headers={"Authorization": f"Bearer {which}"})
            assert answer.status_code in {200, 401}
            return answer.status_code == 200

        assert (may(key), may("second")) == (True, False)
        _replace(path, f"{line}\n{_line('bob', 'second')}")
        assert (may(key), may("second")) == (True, True)
        _replace(path, _line("bob", "second"))
        assert (may(key), may("second")) == (False, True)
        _replace(path, f"bob:not-a-hash-but-a-key\n{line}\n")
        assert (may(key), may("second")) == (False, True)
        assert "the keys stay as they were" in caplog.text
        assert "not-a-hash-but-a-key" not in caplog.text
        path.unlink()
        assert (may(key), may("second")) == (False, False)
        _replace(path, line)
        assert (may(key), may("second")) == (True, False)


def test_a_change_of_the_file_is_seen_however_it_is_made(tmp_path):
    """By a new file with the size and the time of the old one, or in place with its size: a key that is gone is gone.

    The digits of a hash may be of either case.
    """
    path = tmp_path / "keys"
    path.write_text(f"alice:{_line('', 'first')[1:].upper()}", encoding="utf-8")
    keys, before = Keys(file=path), path.stat()
    assert keys.tenant_of("first") == "alice"

    path.with_suffix(".new").write_text(_line("alice", "third"), encoding="utf-8")
    os.utime(path.with_suffix(".new"), ns=(before.st_atime_ns, before.st_mtime_ns))
    path.with_suffix(".new").rename(path)
    assert path.stat().st_size == before.st_size
    assert (keys.tenant_of("first"), keys.tenant_of("third")) == (None, "alice")

    path.write_text(_line("alice", "fifth"), encoding="utf-8")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert (keys.tenant_of("third"), keys.tenant_of("fifth")) == (None, "alice")


def test_a_change_while_the_file_is_read_is_not_overlooked(tmp_path, monkeypatch):
    """Neither at the start nor later: the next request reads the file again."""
    path, real, changes = tmp_path / "keys", _keys._from_file, ["second", "fourth"]
    path.write_text(_line("alice", "first"), encoding="utf-8")

    def read_and_change(name):
        found = real(name)
        if changes:
            _replace(path, _line("alice", changes.pop(0)))
        return found

    monkeypatch.setattr(_keys, "_from_file", read_and_change)
    keys = Keys(file=path)
    assert keys.tenant_of("second") == "alice"
    assert (keys.tenant_of("second"), keys.tenant_of("fourth")) == (None, "alice")


def test_every_key_is_compared_however_soon_one_fits(monkeypatch):
    """The first, the last and a wrong key take the same comparisons, each of digests and in constant time."""
    compared = []
    real = hmac.compare_digest

    def counting(a, b):
        compared.append((len(a), len(b)))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", counting)
    keys = Keys(TEXT)
    found = []
    for given in ("key-of-alice", "other-key-of-alice", "nope", "", "\udcff"):
        found.append(keys.tenant_of(given))
        assert compared == [(32, 32)] * 3
        compared.clear()

    assert found == ["alice", "alice", None, None, None]
    assert keys.tenants() == {"alice", "bob"}


@pytest.mark.parametrize(
    "text", ["secret", "alice:", ":secret", "alice:with space", "a/b:secret", "file-a:secret", "A:secret"]
)
def test_what_is_no_key_is_refused_without_showing_it(text):
    """A list that is not of the form stops the server, and its message holds nothing that may be a key."""
    with pytest.raises(InvalidRequest) as refused:
        Keys(text)
    assert "secret" not in str(refused.value)
    assert "with space" not in str(refused.value)


def test_a_key_of_two_tenants_is_refused(tmp_path, caplog):
    """In a list, in a file, in both together, and when the file changes: nobody could tell whose files it opens."""
    path = tmp_path / "keys"
    path.write_text(_line("alice", "secret") + _line("alice", "secret"), encoding="utf-8")
    keys = Keys("alice:secret", file=path)
    path.write_text(_line("bob", "other") + _line("bob", "secret"), encoding="utf-8")
    assert keys.tenant_of("secret") == "alice"
    assert keys.tenant_of("other") is None
    assert "alice and bob have the same key" in caplog.text

    for text, file in (("alice:secret,bob:secret", None), ("alice:secret", path)):
        with pytest.raises(InvalidRequest, match=r"^alice and bob have the same key; ") as refused:
            Keys(text, file=file)
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "line", ["alice", "alice:secret", f"a/b:{'0' * 64}", f"secret {'0' * 64}", f"alice:{'0' * 63}"]
)
def test_a_broken_file_of_keys_stops_the_start(tmp_path, line):
    """The message names the line, and not what stands in it; a file that is not there is named."""
    path = tmp_path / "keys"
    path.write_text(f"{_line('bob', 'x')}{line}\n", encoding="utf-8")
    with pytest.raises(InvalidRequest, match="line 2") as refused:
        Keys(file=path)
    assert "secret" not in str(refused.value)
    path.write_bytes(b"bob:\xff\n")
    with pytest.raises(InvalidRequest, match="keys: it is not UTF-8"):
        Keys(file=path)
    with pytest.raises(InvalidRequest, match=r"absent: No such file or directory; 'holdall key' writes one$"):
        Keys(file=tmp_path / "absent")


def test_keys_come_from_the_environment(monkeypatch, tmp_path):
    """From the variable, from the file that the other one names, from both; None if there is neither.

    A variable that is empty is as good as none, and so is an empty place in the list.
    """
    monkeypatch.delenv("HOLDALL_API_KEYS", raising=False)
    monkeypatch.delenv("HOLDALL_API_KEYS_FILE", raising=False)
    assert Keys.from_environment() is None
    monkeypatch.setenv("HOLDALL_API_KEYS", "alice:one")
    assert Keys.from_environment().tenants() == {"alice"}
    monkeypatch.setenv("HOLDALL_API_KEYS_FILE", "")
    assert Keys.from_environment().tenants() == {"alice"}
    monkeypatch.setenv("HOLDALL_API_KEYS", "")
    assert Keys.from_environment() is None
    monkeypatch.setenv("HOLDALL_API_KEYS", "alice:one")
    (tmp_path / "keys").write_text(_line("bob", "two"), encoding="utf-8")
    monkeypatch.setenv("HOLDALL_API_KEYS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("HOLDALL_API_KEYS", " alice:one ,, ")
    both = Keys.from_environment()
    assert (both.tenant_of("one"), both.tenant_of("two")) == ("alice", "bob")


def test_without_keys_pages_of_other_sites_are_refused(served):
    """A browser on the same machine sends forms wherever a page wants: such requests are 403, its own site's are not.

    Another port of the same machine is another site, too.
    """
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Origin": f"http://127.0.0.1:{served.port + 1}"}, 403),
        ({"Origin": "http://["}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": served.url, "Sec-Fetch-Site": "same-origin"}, 200),
        ({}, 200),
    ):
        answer = httpx.get(f"{served.url}/v1/files", headers=headers)
        assert answer.status_code == status, headers


def test_without_keys_other_names_can_be_refused(tmp_path):
    """A site that lets its name stand for this machine gets 403 where the server is told its own names."""
    with serving(create_app(str(tmp_path), hosts={"localhost", "127.0.0.1", "::1"})) as running:
        for host, status in (
            (f"127.0.0.1:{running.port}", 200), ("localhost", 200), ("LOCALHOST:80", 200), ("[::1]:80", 200),
            ("evil.example", 403), ("evil.example:80", 403), ("localhost.evil.example", 403), ("", 403),
            ("[", 403),
        ):  # fmt: skip
            assert httpx.get(f"{running.url}/v1/files", headers={"Host": host}).status_code == status, host
