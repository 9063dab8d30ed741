"""Small backends for the tests of `FileStore`: one that must not be called, one that records, one that fails."""

from __future__ import annotations

import collections
import io

from holdall.backend import Capability, StagedFile
from holdall.backends.memory import MemoryBackend


class Untouchable(MemoryBackend):
    """Any call to it fails the test."""

    def _never(self, *args, **kwargs):
        raise AssertionError("the backend was touched")

    stage = read_meta = open_data = list_ids = remove = read_metas = debris = discard_debris = _never


class OneWay(io.RawIOBase):
    """A stream that cannot seek and returns at most three bytes at a time."""

    def __init__(self, data):
        super().__init__()
        self._data = data

    def readable(self):
        return True

    def readinto(self, buffer):
        piece, self._data = self._data[: min(3, len(buffer))], self._data[min(3, len(buffer)) :]
        buffer[: len(piece)] = piece
        return len(piece)


class Recording(MemoryBackend):
    """A memory backend that counts calls and results, and can be created with fewer capabilities."""

    def __init__(self, *, without=None, seekable=True):
        super().__init__()
        self.capabilities = MemoryBackend.capabilities & ~(without or Capability(0))
        self.seekable = seekable
        self.calls = collections.Counter()
        self.streams = []

    def stage(self, file_id):
        self.calls["stage"] += 1
        return super().stage(file_id)

    def read_meta(self, file_id):
        self.calls["read_meta"] += 1
        return super().read_meta(file_id)

    def open_data(self, file_id, start=0, stop=None):
        self.calls["open_data"] += 1
        whole = super().open_data(file_id, start, stop)
        stream = whole if self.seekable else OneWay(whole.read())
        self.streams.append(stream)
        return stream

    def list_ids(self, after=None, before=None):
        self.calls["list_ids"] += 1
        for file_id in super().list_ids(after, before):
            self.calls["ids"] += 1
            yield file_id

    def remove(self, file_id):
        self.calls["remove"] += 1
        super().remove(file_id)

    def put(self, file_id, meta, data=b""):
        """An entry with any metadata, published without the store."""
        staged = MemoryBackend.stage(self, file_id)
        staged.write(data)
        staged.publish(meta)


class FailingStage(StagedFile):
    """A write that fails as its backend's `failures` say."""

    def __init__(self, inner, backend):
        self._inner, self._backend = inner, backend

    def write(self, chunk):
        self._backend.fail_at("write")
        self._inner.write(chunk)

    def publish(self, meta):
        self._backend.fail_at("publish")
        self._inner.publish(meta)

    def discard(self):
        self._backend.discarded += 1
        self._inner.discard()
        self._backend.fail_at("discard")


class Failing(Recording):
    """Raises `failures[verb]` whenever that verb is called."""

    def __init__(self, **failures):
        super().__init__()
        self.failures = failures
        self.discarded = 0

    def fail_at(self, verb):
        if verb in self.failures:
            raise self.failures[verb]

    def stage(self, file_id):
        self.fail_at("stage")
        return FailingStage(super().stage(file_id), self)

    def read_meta(self, file_id):
        self.fail_at("read_meta")
        return super().read_meta(file_id)

    def open_data(self, file_id, start=0, stop=None):
        self.fail_at("open_data")
        return super().open_data(file_id, start, stop)

    def list_ids(self, after=None, before=None):
        self.fail_at("list_ids")
        return super().list_ids(after, before)

    def remove(self, file_id):
        self.fail_at("remove")
        super().remove(file_id)

    def close(self):
        self.fail_at("close")


class Clock:
    """A clock that only changes when it is set."""

    def __init__(self, now=1_800_000_000.0):
        self.now = now

    def __call__(self):
        return self.now
