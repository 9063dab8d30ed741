"""An error that a check did not expect: the finding says where it came from, so that a stranger can follow."""

from __future__ import annotations

import re
import threading

import pytest

from holdall import FileStore
from holdall.backends.memory import MemoryBackend
from holdall.conformance import Target, _runner, run
from holdall.errors import StorageError, StorageUnavailable
from holdall.url import StoreURL


class KeepsLittle(MemoryBackend):
    """Delivers no more than 64 KiB of a file."""

    def open_data(self, file_id, start=0, stop=None):
        return super().open_data(file_id, start, min(stop or 65_536, 65_536))


class NoLists(MemoryBackend):
    """Fails whenever it is asked for ids."""

    def list_ids(self, after=None, before=None):
        raise StorageError("the index is broken")


class Slips(MemoryBackend):
    """Has a slip of the pen where it lists."""

    def list_ids(self, after=None, before=None):
        return sorted([None, "file-1"])


class NoRoom(MemoryBackend):
    """Takes no file."""

    def stage(self, file_id):
        raise StorageError("there is no room")


class TwoBugs(MemoryBackend):
    """Cannot read from a place further on, and cannot remove."""

    def open_data(self, file_id, start=0, stop=None):
        if start:
            raise StorageError("ranges are broken")
        return super().open_data(file_id, start, stop)

    def remove(self, file_id):
        raise OSError("removal is broken")


class Hangs(MemoryBackend):
    """Never answers when it is asked for bytes."""

    def open_data(self, file_id, start=0, stop=None):
        threading.Event().wait()


class NeverLists(MemoryBackend):
    """Never answers when it is asked for ids."""

    def list_ids(self, after=None, before=None):
        threading.Event().wait()


class Opening(Target):
    """Opens locations with a backend of this kind."""

    def __init__(self, kind, url="memory://unexpected"):
        super().__init__(url)
        self.kind = kind

    def open(self, url):
        return FileStore(self.kind(StoreURL.parse(url).path))


def test_a_store_without_a_url_is_not_blamed_for_its_options():
    """What a URL promises is not checked where the target's stores have none; everything else is."""
    report = run(Opening(MemoryBackend), only=["url.roundtrip", "url.unknown_option_rejected_with_suggestion"])

    assert [finding.status for finding in report.findings] == ["not checked", "not checked"]
    assert {finding.reason for finding in report.findings} == {"the target opens stores that have no url"}


def test_the_line_of_the_check_is_shown_with_the_values_of_its_names():
    """What was done is the line that raised, and the numbers in it."""
    [finding] = run(Opening(KeepsLittle), only=["content.roundtrip_boundary_sizes"]).findings

    assert finding.did.startswith("expect(other.get_content(file.id)")
    assert finding.did.endswith("where size=65537")
    assert finding.saw.startswith("IntegrityError: ")


def test_the_slip_of_a_backend_is_shown_with_its_place():
    """An exception that a backend did not mean to raise is named with its text and the line that it came from."""
    [finding] = run(Opening(Slips, "memory://slips"), only=["list.empty"]).findings

    assert finding.saw.startswith("StorageError: cannot list on Slips: TypeError in the backend; caused by TypeError: ")
    assert re.search(r" at test_unexpected_errors\.py:\d+$", finding.saw)


def test_an_error_on_another_task_is_shown_as_itself():
    """What a backend raised under a task group is named, not the group that it came in."""
    [finding] = run(Opening(NoRoom), only=["concurrent.cancelled_create_leaves_nothing"]).findings

    assert "there is no room" in finding.saw


def test_of_two_bugs_found_by_the_model_one_is_shown():
    """A sequence of steps that can fail in two ways is reported as one of them, with its text."""
    [finding] = run(Opening(TwoBugs, "memory://bugs"), only=["stateful"]).findings

    assert re.search("^StorageError: .*(ranges are broken|removal is broken)", finding.saw)


def test_no_secret_of_the_url_is_among_the_values():
    """Locations of a URL with a secret are in the variables of many checks, and in no finding."""
    report = run(Opening(NoLists, "memory://unexpected?token=hunter2"), only=["list", "delete", "url"])

    assert len(report.of("broken")) > 10
    assert "hunter2" not in report.text() + report.to_json() + report.to_junit()


def test_a_backend_that_hangs_is_broken_and_the_run_goes_on(monkeypatch):
    """A check that does not come back within its time is a finding like any other, and so are those after it."""
    monkeypatch.setattr(_runner, "TIME_LIMIT_SECONDS", 1.0)
    report = run(Opening(Hangs), only=["content.roundtrip_boundary_sizes", "list.empty"])

    assert {f.promise.id: f.status for f in report.findings} == {
        "content.roundtrip_boundary_sizes": "broken",
        "list.empty": "held",
    }
    [finding] = report.of("broken")
    assert finding.saw == "nothing within 1 s: a deadlock, or a very slow storage"


def test_a_backend_that_hangs_at_once_is_an_error(monkeypatch):
    """A store that does not even say whether it is empty cannot be checked, which is said, and how long was waited."""
    monkeypatch.setattr(_runner, "TIME_LIMIT_SECONDS", 1.0)
    with pytest.raises(StorageUnavailable, match=r"memory://unexpected.* did not answer within 1 s"):
        run(Opening(NeverLists), only=["list.empty"])
