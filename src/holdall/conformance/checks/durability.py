"""The disk: acknowledged data is synced, its errors are reported, and a full disk leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import uuid

from holdall.backend import Capability
from holdall.conformance._kit import Kit, NotChecked, broken, expect
from holdall.conformance._process import Nursery
from holdall.conformance._registry import check
from holdall.conformance._trace import Call, traced
from holdall.errors import IntegrityError

DURABLE = Capability.DURABLE | Capability.PERSISTENT | Capability.SHARED

_SYNCS = "fsync,fdatasync,syncfs,sync,sync_file_range,msync"
_WRITES = "write,pwrite64,writev,pwritev,pwritev2,copy_file_range,sendfile"
_NAMES = "rename,renameat,renameat2,link,linkat,mkdir,mkdirat,open,openat,creat,unlink,unlinkat,rmdir"

# The largest a file may get, the size of the upload, the length of its metadata, in bytes.
_FULL = ((1_000_000, 3_000_000, 0), (300_000, 2_000_000, 0), (290_001, 300_000, 0), (20_001, 9, 60_000))

_NAMELESS = " (deleted)"
_FD_PATH = re.compile(r"^(?:AT_FDCWD|-?\d+)<(?P<path>[^>]*)>(?:\(deleted\))?")
_PATHS = re.compile(r'(?:(?:AT_FDCWD|\d+)<(?P<folder>[^>]*)>, )?"(?P<name>(?:[^"\\]|\\.)*)"')


@check("durability.fsync_order", needs=DURABLE)
def fsync_order(kit: Kit) -> None:
    """The system calls of a create in another process, from the first write to the acknowledgement, for three sizes."""
    kit.put(b"warms up: what is made once is made")
    with Nursery(kit.target) as nursery:
        for count in (10, 8000, 60_000):
            mark = f"holdall-probe-{uuid.uuid4().hex}"
            with traced(nursery, f"trace={_SYNCS},{_WRITES},{_NAMES}") as trace:
                outcome = nursery.one("create_marked", kit.url, mark=mark, count=count)
                if outcome.error:
                    raise broken("create in another process", "no error", outcome.error)
            _Journal(mark, f"create of {count * (len(mark) + 1)} bytes, traced").follow(trace.calls)


class _Journal:
    """What a power failure would lose at each moment: unsynced data and unsynced names."""

    def __init__(self, mark: str, did: str) -> None:
        self._mark = mark
        self._did = did
        self._unsynced: set[str] = set()
        self._lost: set[str] = set()
        self._unsynced_names: set[str] = set()
        self._marked: set[str] = set()
        # For a file that was linked: the name given to link, by the name under which it was opened.
        self._linked: dict[str, str] = {}

    def follow(self, calls: list[Call]) -> None:
        """Raises `Broken` if a file appears or is acknowledged before it is durable."""
        for call in calls:
            if call.name in _WRITES.split(",") and "pipe:" in call.arguments[:40] and '\\"done\\"' in call.arguments:
                self._acknowledged()
                return
            if call.result >= 0:
                self._step(call)
            elif call.injected and call.name in {"fsync", "fdatasync"}:
                # The kernel drops data that it could not write: a later sync that succeeds proves nothing.
                self._lost |= self._unsynced & {_path_of_fd(call)}
        raise NotChecked("the acknowledgement was not seen in the trace")

    def _step(self, call: Call) -> None:
        path = _path_of_fd(call)
        path = self._linked.get(path.removesuffix(_NAMELESS), path)
        if call.name in _WRITES.split(","):
            # A file without a name is temporary: none of it needs to survive.
            named = path.startswith("/") and not path.startswith(("/dev/", "/proc/")) and not path.endswith(_NAMELESS)
            if named and self._mark in call.arguments:
                self._unsynced.add(path)
                self._marked.add(path)
        elif call.name in {"sync", "syncfs"}:
            self._unsynced.clear()
            self._unsynced_names.clear()
        elif call.name in {"fsync", "fdatasync"}:
            self._unsynced -= {path} - self._lost
            self._unsynced_names = {n for n in self._unsynced_names if os.path.dirname(n) != path}
        elif call.name.startswith(("rename", "link")):
            self._rename(call)
        elif call.name in {"unlink", "unlinkat", "rmdir"}:
            gone = (*_paths(call), "")[0]
            self._unsynced = {p for p in self._unsynced if not _below(p, gone)}
            self._unsynced_names = {n for n in self._unsynced_names if not _below(n, gone)}
            self._marked = {m for m in self._marked if not _below(m, gone)}
        elif call.name.startswith("mkdir") or _creates(call):
            self._unsynced_names.update(_paths(call)[:1])

    def _rename(self, call: Call) -> None:
        source, target = (*_paths(call), "", "")[:2]
        for path in self._unsynced:
            if _below(path, source):
                raise broken(
                    self._did,
                    "the file's bytes and metadata are synced (fsync) before it is renamed into place",
                    f"{call.name}({source}, {target}) while {path} was written but not synced",
                )
        self._unsynced_names = {_moved(n, source, target) for n in self._unsynced_names} | {target}
        self._marked = {_moved(m, source, target) for m in self._marked}
        self._linked = {name: _moved(other, source, target) for name, other in self._linked.items()}
        if call.name.startswith("link"):
            self._linked[source] = target

    def _acknowledged(self) -> None:
        if not self._marked:
            raise NotChecked("the bytes were not seen being written to a local file")
        if self._unsynced:
            raise broken(
                self._did,
                "every file it wrote is synced when it returns",
                f"not synced: {sorted(self._unsynced)}",
            )
        # Only names on the path to the marked files matter: the others are not needed after a power failure.
        missing = sorted(n for n in self._unsynced_names if any(_below(m, n) for m in self._marked))
        if missing:
            folders = sorted({os.path.dirname(n) for n in missing})
            raise broken(
                self._did,
                "the directory that holds a new name is synced before create returns",
                f"{', '.join(missing)} appeared, but {', '.join(folders)} was not synced after it",
            )


def _path_of_fd(call: Call) -> str:
    match = _FD_PATH.match(call.arguments)
    if match is None:
        return ""
    # strace prints it before or after the bracket.
    return match["path"].removesuffix(_NAMELESS) + (_NAMELESS if "(deleted)" in match[0] else "")


def _paths(call: Call) -> list[str]:
    return [os.path.normpath(os.path.join(m["folder"] or "", m["name"])) for m in _PATHS.finditer(call.arguments)]


def _creates(call: Call) -> bool:
    # Without O_EXCL or O_TRUNC the file may have existed before, as a database's would.
    flags = call.arguments
    return call.name == "creat" or ("O_CREAT" in flags and ("O_EXCL" in flags or "O_TRUNC" in flags))


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder + "/")


def _moved(path: str, source: str, target: str) -> str:
    return target + path[len(source) :] if _below(path, source) else path


@check("durability.fsync_error_is_reported", needs=DURABLE)
def fsync_error_is_reported(kit: Kit) -> None:
    """The first sync of a create fails with EIO, then the second, and so on to the last."""
    kit.put(b"was there before")
    known = set(kit.listed())
    with Nursery(kit.target) as nursery:
        for n in range(1, 20):
            inject = f"inject=fsync,fdatasync,syncfs:error=EIO:when={n}"
            mark = f"holdall-probe-{uuid.uuid4().hex}"
            with traced(nursery, f"trace={_SYNCS},{_WRITES},{_NAMES}", inject) as trace:
                outcome = nursery.one("create_marked", kit.url, mark=mark)
            if not any(call.injected for call in trace.calls):
                if n == 1:
                    raise NotChecked("no sync was seen")
                return
            did = f"create while sync number {n} fails with EIO"
            if outcome.error is None:
                # Correct only if the failed sync was unnecessary: then the other syncs covered everything.
                _Journal(mark, did).follow(trace.calls)
                known |= set(kit.listed())
            elif "StorageError" not in outcome.error_types:
                raise broken(did, "StorageError", outcome.error)
            expect(set(kit.listed()) - known, set(), f"new files in list() after {did} was reported")


@check("durability.enospc_is_reported_and_clean", needs=Capability.PERSISTENT | Capability.SHARED)
def enospc_is_reported_and_clean(kit: Kit) -> None:
    """A process with a limit on file size creates a larger file; in one case, the last write fits only partly."""
    before = [kit.put(b"was there before").id]
    with Nursery(kit.target) as nursery:
        for limit, size, text in _FULL:
            outcome = nursery.one("create_on_full_disk", kit.url, limit=limit, size=size, text=text)
            did = f"create of {size} bytes and {text} bytes of metadata while no file may grow past {limit}"
            if outcome.error is None:
                stored = outcome.value("id")
                with contextlib.suppress(IntegrityError):
                    if stored in kit.listed() and len(kit.open().get_content(stored)) == size:
                        raise NotChecked("the bytes do not go to one local file")
                raise broken(did, "StorageFull or StorageError", "no error")
            if "StorageError" not in outcome.error_types:
                raise broken(did, "StorageFull or StorageError", outcome.error)
            expect(kit.listed(), before, f"list() after {did}")
    data = kit.noise(50_000)
    file = kit.put(data)
    expect(kit.open().get_content(file.id), data, "get_content of a file created after the disk had been full")
    kit.store.sweep(older_than=0)
    left = kit.leftovers()
    if left is not None:
        expect(left, [], "leftovers in the storage after a full disk and sweep(older_than=0)")
