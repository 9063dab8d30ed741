"""The target of the suite: fresh, disposable locations below a URL, which a check may open any number of times."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from typing import Protocol, runtime_checkable

import holdall
from holdall.backend import BackendOptions, Capability
from holdall.errors import HoldallError, NotSupported
from holdall.options import StoreOptions, split_options
from holdall.store import FileStore
from holdall.url import StoreURL

__all__ = ["DirectoryRaw", "RawAccess", "Target"]

PREFIX = "conformance-"


@runtime_checkable
class RawAccess(Protocol):
    """Access to the stored data without going through the store: to damage an entry on purpose, and to find leftovers.

    A method that a backend cannot support raises `NotImplementedError`, as the methods of a subclass do by default; the
    checks that need it are then *not checked*.
    """

    def corrupt(self, file_id: str) -> None:
        """Make the entry's metadata unreadable (not JSON)."""
        raise _not_offered("corrupt")

    def read_meta(self, file_id: str) -> bytes:
        """The entry's metadata document as stored."""
        raise _not_offered("read_meta")

    def write_meta(self, file_id: str, meta: bytes) -> None:
        """Replace the entry's metadata document."""
        raise _not_offered("write_meta")

    def truncate(self, file_id: str, size: int) -> None:
        """Truncate the entry's data to `size`. If it is stored in chunks, also remove all chunks that follow."""
        raise _not_offered("truncate")

    def drop_data(self, file_id: str) -> None:
        """Remove the entry's data, and keep its metadata."""
        raise _not_offered("drop_data")

    def drop_meta(self, file_id: str) -> None:
        """Remove the entry's metadata, and keep its data, as an interrupted write or delete would."""
        raise _not_offered("drop_meta")

    def orphan(self) -> str:
        """Store data without metadata under a new valid id, and return the id."""
        raise _not_offered("orphan")

    def stray(self) -> None:
        """Put things that are not entries next to the entries: a file, a directory, names that are not ids."""
        raise _not_offered("stray")

    def link(self, file_id: str, outside: str) -> None:
        """Make the entry `file_id` a symbolic link to the directory `outside`."""
        raise _not_offered("link")

    def deny(self, file_id: str) -> None:
        """Make the entry unreadable for this user by permissions."""
        raise _not_offered("deny")

    def allow(self, file_id: str) -> None:
        """Undo `deny`."""
        raise _not_offered("allow")

    def leftovers(self) -> list[str]:
        """Names of everything in the storage that belongs to no entry: staged writes, removed entries, orphans."""
        raise _not_offered("leftovers")

    def used_bytes(self) -> int:
        """The space used by everything in the location, in bytes."""
        raise _not_offered("used_bytes")


def _not_offered(method: str) -> NotImplementedError:
    return NotImplementedError(f"raw access has no {method}")


class Target:
    """What an author supplies: where to test, and how to open it.

    The default works for every URL that `holdall.open_store` accepts. Subclass it for anything else.
    """

    raw: RawAccess | None = None
    """White-box access to the location most recently created by `fresh`. None: its checks are *not checked*, unless the
    backend declares `LOCAL_PATHS` and `PORTABLE_LAYOUT`, in which case the suite finds the directory itself.
    """

    def __init__(self, url: str | os.PathLike[str] | StoreURL) -> None:
        self.url = url if isinstance(url, StoreURL) else StoreURL.parse(url)

    def fresh(self) -> str:
        """The URL (secrets included) of a new, empty, disposable location."""
        # The store's own options say nothing about the backend, and a limit would fail the checks that store large
        # files. A wrong one is still an error.
        own = {name: value for name, value in self.url.query.items() if name in StoreOptions.model_fields}
        split_options(self.url.scheme, own, BackendOptions)
        below = self.url.child(f"{PREFIX}{uuid.uuid4().hex[:12]}")
        return below.with_options(dict.fromkeys(own)).reveal()

    def open(self, url: str) -> FileStore:
        """A new handle on a location."""
        return holdall.open_store(url)

    def destroy(self, url: str) -> None:
        """Remove the location and everything in it."""
        with self.open(url) as store:
            directory = directory_of(store)
            for file_id in list(store.backend.list_ids()):
                with contextlib.suppress(HoldallError):
                    store.backend.remove(file_id)
            with contextlib.suppress(HoldallError):
                for debris in store.backend.debris():
                    store.backend.discard_debris(debris)
        # Only a directory with a name assigned by `fresh` was created by the suite.
        if directory is not None and os.path.basename(directory).startswith(PREFIX):
            shutil.rmtree(directory, ignore_errors=True)

    @property
    def opens_by_url(self) -> bool:
        """Whether a new process can open a location by its URL alone."""
        return type(self).open is Target.open


def directory_of(store: FileStore) -> str | None:
    """The directory that contains the entries of a store with `LOCAL_PATHS` and `PORTABLE_LAYOUT`; otherwise None."""
    if Capability.LOCAL_PATHS | Capability.PORTABLE_LAYOUT not in store.capabilities:
        return None
    file = store.create("probe", b"", purpose="user_data")
    try:
        return os.path.dirname(os.path.dirname(store.backend.local_path(file.id)))
    except (HoldallError, NotSupported):
        return None
    finally:
        store.delete(file.id)


class DirectoryRaw:
    """`RawAccess` to a location that is a directory with the layout `<id>/data.bin`, `<id>/meta.json`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def _path(self, file_id: str, name: str = "") -> str:
        return os.path.join(self.directory, file_id, name)

    def corrupt(self, file_id: str) -> None:
        self.write_meta(file_id, b'{"id": "')

    def read_meta(self, file_id: str) -> bytes:
        with open(self._path(file_id, "meta.json"), "rb") as file:
            return file.read()

    def write_meta(self, file_id: str, meta: bytes) -> None:
        with open(self._path(file_id, "meta.json"), "wb") as file:
            file.write(meta)

    def truncate(self, file_id: str, size: int) -> None:
        os.truncate(self._path(file_id, "data.bin"), size)

    def drop_data(self, file_id: str) -> None:
        os.unlink(self._path(file_id, "data.bin"))

    def drop_meta(self, file_id: str) -> None:
        os.unlink(self._path(file_id, "meta.json"))

    def orphan(self) -> str:
        file_id = f"file-{uuid.uuid4().hex}"
        os.mkdir(self._path(file_id), 0o700)
        with open(self._path(file_id, "data.bin"), "wb") as file:
            file.write(b"half a file")
        return file_id

    def stray(self) -> None:
        os.mkdir(os.path.join(self.directory, "lost+found"))
        os.mkdir(os.path.join(self.directory, f"file-{'A' * 32}"))
        for name in ("README", ".DS_Store", f"file-{'0' * 31}g.tmp", f"file-{uuid.uuid4().hex}"):
            with open(os.path.join(self.directory, name), "wb") as file:
                file.write(b"no entry")

    def link(self, file_id: str, outside: str) -> None:
        os.symlink(outside, self._path(file_id).rstrip("/"))

    def deny(self, file_id: str) -> None:
        if os.geteuid() == 0:
            raise NotImplementedError("permissions do not apply to root")
        os.chmod(self._path(file_id, "meta.json"), 0)

    def allow(self, file_id: str) -> None:
        os.chmod(self._path(file_id, "meta.json"), 0o600)

    def leftovers(self) -> list[str]:
        found = []
        for name in sorted(os.listdir(self.directory)):
            path = os.path.join(self.directory, name)
            if name.startswith("file-") and os.path.exists(os.path.join(path, "meta.json")):
                extra = set(os.listdir(path)) - {"data.bin", "meta.json"}
                found += [f"{name}/{other}" for other in sorted(extra)]
            elif os.path.isdir(path) and name.startswith("."):
                found += [f"{name}/{other}" for other in sorted(os.listdir(path))]
            else:
                found.append(name)
        return found

    def used_bytes(self) -> int:
        total = 0
        for folder, _, names in os.walk(self.directory):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    total += os.lstat(os.path.join(folder, name)).st_size
        return total
