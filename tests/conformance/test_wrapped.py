"""Every wrapper, around memory and around a directory, holds what a backend must."""

from __future__ import annotations

import pytest

from holdall import FileStore
from holdall.conformance import DirectoryRaw, Target, run
from holdall.url import StoreURL
from holdall.wrappers import Faulty, Latency, Prefixed, ReadOnly, Wrapper


class WritesBesideReadOnly(Wrapper):
    """Reads through `ReadOnly`, writes past it: as an archive that one process fills and others only read."""

    def __init__(self, inner):
        super().__init__(ReadOnly(inner))
        self.stage = inner.stage
        self.remove = inner.remove
        self.discard_debris = inner.discard_debris


WRAPPERS = {
    "ReadOnly": WritesBesideReadOnly,
    "Prefixed": lambda inner: Prefixed(inner, "tenant-1"),
    # Waiting for no time still lets other threads go first, at every call.
    "Latency": lambda inner: Latency(inner, 0),
    "Faulty": Faulty,
}
STACKS = {
    "ReadOnly": WRAPPERS["ReadOnly"],
    "Prefixed": WRAPPERS["Prefixed"],
    "Latency of Faulty of Wrapper": lambda inner: Latency(Faulty(Wrapper(inner)), 0),
}


class Wrapped(Target):
    """Opens what the URL names, wrapped."""

    def __init__(self, url, wrap):
        super().__init__(url)
        self._wrap = wrap

    def open(self, url):
        store = super().open(url)
        return FileStore(self._wrap(store.backend), url=store.url)


class WrappedWithPrefix(Wrapped):
    """Knows where in the directory an entry is, so that what needs raw access is checked too."""

    def fresh(self):
        url = super().fresh()
        self.raw = PrefixedRaw(StoreURL.parse(url).path)
        return url


class PrefixedRaw(DirectoryRaw):
    """A directory whose entries have the prefix in their names."""

    def _path(self, file_id, name=""):
        return super()._path(f"file-tenant-1_{file_id.removeprefix('file-')}", name)


def check(target, *unchecked):
    report = run(target, max_examples=5)

    assert report.verdict == "conformant", report.text()
    # Whatever was not checked was not checked for one of these reasons.
    reasons = {f.id: f.reason for f in report.of("not checked") if not f.reason.startswith(unchecked)}
    assert reasons == {}


@pytest.mark.parametrize("name", WRAPPERS)
def test_a_wrapper_around_memory_is_conformant(name):
    """Nothing that the suite can see of memory:// is lost behind a wrapper."""
    check(Wrapped("memory://wrapped", WRAPPERS[name]), "no raw access")


@pytest.mark.parametrize("name", STACKS)
def test_a_wrapper_around_a_directory_is_conformant(name, tmp_path):
    """Nor of file://: other processes, kills, full disks and damaged entries are as they are without it."""
    kind = WrappedWithPrefix if name == "Prefixed" else Wrapped

    check(kind(f"file://{tmp_path}?fsync=false", STACKS[name]), "permissions do not apply to root", "no strace")
