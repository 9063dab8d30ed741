"""Right but unusual stores hold in the suite: slow ones, ones whose listings lag and say so, ones that sign URLs."""

from __future__ import annotations

import http.server
import itertools
import pathlib
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.conformance.mutants._base import MemoryBackend, Mutant, MutantTarget, StagedWrapper
from tests.conformance.mutants.capabilities import Lagging
from tests.conformance.mutants.errors import DeniesRaw, _Private
from tests.conformance.mutants.errors_failures import Connected
from tests.conformance.mutants.listing import EmptyIsAnError

from holdall.backend import Capability, Limits
from holdall.conformance import run
from holdall.conformance._target import DirectoryRaw

CATEGORIES = ("list", "delete", "errors", "caps", "url")


class Slow(MemoryBackend):
    """Every call takes a moment, as a network does, and lets other threads run."""

    delay_seconds = 0.0003

    def _wait(self) -> None:
        time.sleep(self.delay_seconds)

    def stage(self, file_id: str) -> Any:
        self._wait()
        wait = self._wait

        class Staged(StagedWrapper):
            def write(self, chunk: Any) -> None:
                wait()
                super().write(chunk)

            def publish(self, meta: bytes) -> None:
                wait()
                super().publish(meta)
                wait()

        return Staged(super().stage(file_id))

    def read_meta(self, file_id: str) -> bytes:
        self._wait()
        return super().read_meta(file_id)

    def read_metas(self, file_ids: Any) -> Any:
        # Many at once, as clients of remote stores ask.
        ids = iter(file_ids)
        while batch := list(itertools.islice(ids, 100)):
            self._wait()
            yield from [(i, self._space.entries[i][0]) for i in batch if i in self._space.entries]

    def open_data(self, file_id: str, start: int = 0, stop: int | None = None) -> Any:
        self._wait()
        return super().open_data(file_id, start, stop)

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        self._wait()
        yield from super().list_ids(after, before)

    def remove(self, file_id: str) -> None:
        self._wait()
        super().remove(file_id)


class SettlesAsDeclared(Lagging):
    """Listings lag, for no longer than declared."""

    lag = 0.02
    limits = Limits(settle_seconds=0.02)


class LimitedAsDeclared(MemoryBackend):
    """Large files do not fit, as declared."""

    limits = Limits(max_file_bytes=3_000_000, max_filename_chars=255)


class SmallFilesOnly(MemoryBackend):
    """An item of a database: a few hundred kilobytes, a short name."""

    limits = Limits(max_file_bytes=400_000, max_filename_chars=60)


class NothingDeclared(MemoryBackend):
    """Promises nothing beyond the five verbs."""

    capabilities = Capability(0)


class ServesSignedUrls(MemoryBackend):
    """Its signed URLs are those of a small web server."""

    capabilities = MemoryBackend.capabilities | Capability.SIGNED_URLS
    address = ""

    def signed_url(self, file_id: str, expires_in: int) -> str:
        self._entry(file_id)
        SIGNED[file_id] = self
        return f"{self.address}/{file_id}?expires={expires_in}&signature=0"


class SignsForGood(ServesSignedUrls):
    """Takes no notice of how long its URLs are to be good for."""

    def signed_url(self, file_id: str, expires_in: int) -> str:
        return super().signed_url(file_id, 3600)


SIGNED: dict[str, ServesSignedUrls] = {}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a signed URL with the bytes."""

    def do_GET(self) -> None:
        file_id = urlsplit(self.path).path.lstrip("/")
        data = SIGNED[file_id].open_data(file_id).read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


class DeniesAsAFileSystem(_Private):
    """A denied entry is refused with an OSError, which the store classifies."""

    def refusal(self, file_id: str) -> Exception:
        return PermissionError(13, "Permission denied")


def _target(kind: type[Any], url: str = "memory://controls") -> MutantTarget:
    return MutantTarget(url, Mutant(kind.__name__, kind, frozenset(), kind, None, frozenset()))


@pytest.fixture
def signing():
    """A web server for signed URLs."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    ServesSignedUrls.address = f"http://127.0.0.1:{server.server_port}"
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def _texts(report: Any) -> list[Any]:
    return [(f.id, f.did, f.expected, f.saw) for f in report.of("broken")]


@pytest.mark.parametrize("kind", [Slow, SettlesAsDeclared, LimitedAsDeclared, NothingDeclared])
def test_a_right_store_is_not_called_broken(kind):
    """No check of listings, deletes, errors, capabilities and URLs fails on a store that only is unusual."""
    report = run(_target(kind), only=CATEGORIES)

    assert _texts(report) == []
    assert len(report.of("held")) > 25


@pytest.mark.parametrize("kind", [SettlesAsDeclared, SmallFilesOnly])
def test_declared_limits_are_kept_to_by_every_other_check(kind):
    """No check of bytes, names or many at once asks for more than the backend says it holds, or for it sooner."""
    report = run(_target(kind), only=("content", "create", "ids", "concurrent", "stateful"), max_examples=2)

    assert _texts(report) == []
    larger = [f.id for f in report.of("not checked") if "larger than max_file_bytes" in f.reason]
    assert len(larger) == (8 if kind is SmallFilesOnly else 0), larger
    assert "content.roundtrip_boundary_sizes" in [f.id for f in report.of("held")]


def test_signed_urls_that_work_hold(signing):
    """Declared signed URLs from which the bytes can be read are what was promised."""
    report = run(_target(ServesSignedUrls), only=["caps.undeclared_operation_refused"])

    assert _texts(report) == []
    assert [f.id for f in report.of("held")] == ["caps.undeclared_operation_refused"]
    assert SIGNED


def test_signed_urls_that_ignore_their_time_are_found(signing):
    """A URL that is the same for a minute as for an hour is not what was asked for, though the bytes can be read."""
    report = run(_target(SignsForGood), only=["caps.undeclared_operation_refused"])

    assert [f.did for f in report.of("broken")] == ["backend.signed_url(id, 60) and signed_url(id, 3600)"]


def test_a_refusal_of_the_storage_is_access_denied():
    """With raw access that can deny an entry, a store that lets the OSError through holds; the check really ran."""
    target = _target(DeniesAsAFileSystem)
    target.raw = DeniesRaw()  # type: ignore[assignment]

    report = run(target, only=["errors.permission_is_not_missing"])

    assert _texts(report) == []
    assert [f.id for f in report.of("held")] == ["errors.permission_is_not_missing"]


def test_a_client_that_connects_anew_holds(tmp_path):
    """A broken connection may fail what is asked over it; asking again is enough."""
    report = run(_target(Connected, f"file://{tmp_path}?fsync=false"), only=["errors.failure_is_not_missing"])

    assert _texts(report) == []
    assert [f.id for f in report.of("held")] == ["errors.failure_is_not_missing"]


def test_raw_access_that_cannot_deny_leaves_the_check_unchecked(tmp_path, monkeypatch):
    """What cannot be tried is counted as not checked, never as held."""

    def deny(self: DirectoryRaw, file_id: str) -> None:
        raise NotImplementedError("permissions do not apply here")

    monkeypatch.setattr(DirectoryRaw, "deny", deny)

    report = run(pathlib.Path(tmp_path), only=["errors.permission_is_not_missing"])

    assert [(f.id, f.reason) for f in report.of("not checked")] == [
        ("errors.permission_is_not_missing", "permissions do not apply here")
    ]


def test_a_store_that_cannot_list_an_empty_location_is_a_finding():
    """A listing that fails when there is nothing is found by its check; it does not end the run."""
    report = run(_target(EmptyIsAnError), only=["list.empty", "caps.limits_are_real"])

    assert [f.id for f in report.of("broken")] == ["list.empty"]
