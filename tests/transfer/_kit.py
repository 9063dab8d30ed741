"""Shared by the tests of copying: a backend that can misbehave, and access to stored files without the store."""

from __future__ import annotations

import urllib.parse

from holdall.backend import Backend, StagedFile


class Wrapped(Backend):
    """A backend that can misbehave: a function in `on`, under a verb's name, is called for each call of that verb."""

    def __init__(self, inner):
        self.inner = inner
        self.capabilities = inner.capabilities
        self.calls = []
        self.on = {}

    @classmethod
    def from_url(cls, url, options):
        raise NotImplementedError

    def _hook(self, name, *arguments):
        self.calls.append((name, arguments[0]))
        return self.on.get(name, lambda *_: None)(*arguments)

    def stage(self, file_id):
        self._hook("stage", file_id)
        return _WrappedStaged(self, file_id, self.inner.stage(file_id))

    def read_meta(self, file_id):
        self._hook("read_meta", file_id)
        return self.inner.read_meta(file_id)

    def open_data(self, file_id, start=0, stop=None):
        self._hook("open_data", file_id)
        return self.inner.open_data(file_id, start, stop)

    def list_ids(self, after=None, before=None):
        return self.inner.list_ids(after, before)

    def remove(self, file_id):
        self._hook("remove", file_id)
        self.inner.remove(file_id)


class _WrappedStaged(StagedFile):
    def __init__(self, backend, file_id, inner):
        self._backend = backend
        self._file_id = file_id
        self._inner = inner

    def write(self, chunk):
        changed = self._backend._hook("write", self._file_id, chunk)
        self._inner.write(chunk if changed is None else changed)

    def publish(self, meta):
        changed = self._backend._hook("publish", self._file_id, meta)
        self._inner.publish(meta if changed is None else changed)

    def discard(self):
        self._backend._hook("discard", self._file_id)
        self._inner.discard()


def content(size):
    return bytes(i * 7 % 251 for i in range(size))


def everything(store):
    return {
        file_id: (store.backend.read_meta(file_id), store.backend.open_data(file_id).read())
        for file_id in store.backend.list_ids()
    }


def plant(store, file_id, meta, data):
    with store.backend.stage(file_id) as staged:
        staged.write(data)
        staged.publish(meta)


def root(store):
    return urllib.parse.unquote(store.url.path)


def write(store, file_id, name, content):
    with open(f"{root(store)}/{file_id}/{name}", "wb") as file:
        file.write(content)
