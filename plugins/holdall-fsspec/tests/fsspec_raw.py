"""Raw access to stored entries, through fsspec itself."""

from __future__ import annotations

import contextlib
import uuid

from fsspec.implementations.memory import MemoryFileSystem

from holdall.conformance import DirectoryRaw, RawAccess, Target
from holdall.ids import is_valid
from holdall.url import StoreURL


class FsspecRaw(RawAccess):
    """Access that anybody with the same filesystem has, without the store."""

    def __init__(self, fs, root):
        self.fs, self.root = fs, root

    def _path(self, file_id, name):
        return f"{self.root}/{file_id}/{name}"

    def corrupt(self, file_id):
        self.write_meta(file_id, b'{"id": "')

    def read_meta(self, file_id):
        return bytes(self.fs.cat_file(self._path(file_id, "meta.json")))

    def write_meta(self, file_id, meta):
        self.fs.pipe_file(self._path(file_id, "meta.json"), meta)

    def truncate(self, file_id, size):
        path = self._path(file_id, "data.bin")
        self.fs.pipe_file(path, bytes(self.fs.cat_file(path))[:size])

    def drop_data(self, file_id):
        self.fs.rm_file(self._path(file_id, "data.bin"))

    def drop_meta(self, file_id):
        self.fs.rm_file(self._path(file_id, "meta.json"))

    def orphan(self):
        file_id = f"file-{uuid.uuid4().hex}"
        self._put(f"{file_id}/data.bin", b"half a file")
        return file_id

    def stray(self):
        for name in ("README", ".DS_Store", f"file-{uuid.uuid4().hex}", "lost+found/x", f"file-{'A' * 32}/x"):
            self._put(name, b"no entry")

    def _put(self, name, data):
        folder = f"{self.root}/{name}".rpartition("/")[0]
        self.fs.makedirs(folder, exist_ok=True)
        self.fs.pipe_file(f"{self.root}/{name}", data)

    def _files(self):
        """The size of each file below the root, by its relative path."""
        found = self.fs.find(self.root, detail=True)
        skip = len(self.root.strip("/")) + 1
        return {path.strip("/")[skip:]: info["size"] for path, info in found.items()}

    def leftovers(self):
        files, found = self._files(), []
        kept = {name.partition("/")[0] for name in files if name.endswith("/meta.json")}
        # In a bucket, a prefix without objects does not exist.
        with contextlib.suppress(FileNotFoundError):
            found = self.fs.ls(self.root, detail=True)
        folders = {item["name"].rpartition("/")[2] for item in found if item["type"] == "directory"}
        empty = [name for name in folders if not any(f.startswith(f"{name}/") for f in files)]
        return sorted(
            [name for name in files if not self._belongs(name, kept)] + [name for name in empty if is_valid(name)]
        )

    @staticmethod
    def _belongs(name, kept):
        file_id, _, rest = name.partition("/")
        return is_valid(file_id) and file_id in kept and rest in {"data.bin", "meta.json"}

    def used_bytes(self):
        return sum(self._files().values())


class MemoryTarget(Target):
    """The memory filesystem, which fsspec shares within the process."""

    def fresh(self):
        url = super().fresh()
        parsed = StoreURL.parse(url)
        root = f"/{parsed.host}{parsed.path}"
        fs = MemoryFileSystem(skip_instance_cache=True)
        fs.makedirs(root, exist_ok=True)
        self.raw = FsspecRaw(fs, root)
        return url

    def destroy(self, url):
        super().destroy(url)
        for path in list(self.raw.fs.store):
            if path.startswith(f"{self.raw.root}/"):
                del self.raw.fs.store[path]


class FileTarget(Target):
    """A local directory, accessed directly by raw access."""

    def fresh(self):
        url = super().fresh()
        self.raw = DirectoryRaw(StoreURL.parse(url).path)
        return url
