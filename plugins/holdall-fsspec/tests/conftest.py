"""An object store in memory that logs its calls, and fails on request."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile, MemoryFileSystem
from fsspec.spec import AbstractBufferedFile

import holdall

# pytest uses the importlib import mode, in which tests cannot import modules next to them.
sys.path.insert(0, str(Path(__file__).parent))


class BucketFile(AbstractBufferedFile):
    """A multipart upload as in object stores: complete when it is closed, or garbage-collected."""

    def _initiate_upload(self):
        self.fs.log.append(("begin", self.path))
        self.parts = []

    def _upload_chunk(self, final=False):
        self.fs.step("part", self.path)
        self.parts.append(self.buffer.getvalue())
        if final:
            self.fs.log.append(("complete", self.path))
            self.fs.store[self.path] = self.fs.file(self.path, b"".join(self.parts))
        return True

    def discard(self):
        """Abort the upload."""
        self.fs.log.append(("abort", self.path))


class BucketFileSystem(MemoryFileSystem):
    """Behaves like an object store: paths begin with a bucket, nothing can be renamed, and every call is one request,
    which is logged.

    `fail` maps a call and the end of its path to the error that it raises, before or after its effect.
    """

    protocol = "bucket"
    root_marker = ""
    cachable = False
    store: ClassVar = {}
    pseudo_dirs: ClassVar = ["", "/b"]
    log: ClassVar = []
    fail: ClassVar = {}

    @classmethod
    def file(cls, path, data):
        return MemoryFile(None, path, data)

    @classmethod
    def calls(cls):
        """The calls so far, each with the last segment of its path. Clears the log."""
        found = [f"{call} {path.rpartition('/')[2]}" for call, path in cls.log]
        cls.log.clear()
        return found

    def step(self, call, path):
        self.log.append((call, path))
        for (name, ending), error in self.fail.items():
            if name == call and path.endswith(ending):
                raise error

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self.step("put", path)
        self.store[self._strip_protocol(path)] = self.file(path, value)
        self.step("put done", path)

    def cat_file(self, path, start=None, end=None, **kwargs):
        self.step("get", path)
        return super().cat_file(path, start, end)

    def info(self, path, **kwargs):
        self.step("head", path)
        return super().info(path)

    def ls(self, path, detail=True, **kwargs):
        self.step("list", path)
        return super().ls(path, detail)

    def rm_file(self, path):
        self.step("delete", path)
        self.store.pop(self._strip_protocol(path), None)

    def exists(self, path, **kwargs):
        raise AssertionError("exists() takes every failure for absence")

    def rm(self, path, **kwargs):
        raise AssertionError("rm() expands patterns")

    cat = rm

    def _open(self, path, mode="rb", block_size=None, **kwargs):
        return BucketFile(self, self._strip_protocol(path), mode, block_size, **kwargs)


@pytest.fixture
def bucket():
    """The filesystem behind `fsspec+bucket://`, empty."""
    cls = BucketFileSystem
    cls.store.clear()
    cls.log.clear()
    cls.fail.clear()
    fsspec.register_implementation("bucket", cls, clobber=True)
    yield cls
    del sys.modules["fsspec.registry"]._registry["bucket"]


@pytest.fixture
def store(bucket):
    """A store in that bucket."""
    with holdall.open_store("fsspec+bucket://b/p") as opened:
        bucket.log.clear()
        yield opened
