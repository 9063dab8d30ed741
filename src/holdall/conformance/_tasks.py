"""Tasks that a child process performs on a store; each reports an event after it has happened."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from holdall.errors import FileNotFound
from holdall.store import FileStore

__all__ = [
    "create",
    "create_and_die",
    "create_killed",
    "create_marked",
    "create_on_full_disk",
    "create_while_killed_reading",
    "delete_killed",
    "race_to_delete",
    "read",
    "read_without_descriptors",
]


# With a client that retries, each call may take long; after this time, the remaining calls are skipped.
_PATIENCE_SECONDS = 15

_STANDARD_STREAMS = 3
_MOST_DESCRIPTORS = 4096
_TRIES = 5
_PAUSE_SECONDS = 0.5


class Say(Protocol):
    """Sends a message to the parent."""

    def __call__(self, **message: Any) -> None: ...


def create(store: FileStore, say: Say, *, count: int = 1, size: int = 1000, tag: str = "") -> None:
    """Create `count` files of `size` bytes."""
    for n in range(count):
        content = (b"%d-%d-" % (os.getpid(), n)) * size
        file = store.create(f"{tag}{n}.bin", content[:size], purpose="user_data")
        say(id=file.id, sha256=file.sha256)


def read(store: FileStore, say: Say, *, file_id: str) -> None:
    """Read a file's metadata, bytes, and whether it is listed."""
    file = store.get(file_id)
    say(file=file.model_dump(mode="json"))
    say(content=store.get_content(file_id).hex())
    say(listed=file_id in [f.id for f in store])


def read_without_descriptors(store: FileStore, say: Say, *, warm: str, file_id: str) -> None:
    """Read a file in every way, list, and delete it, while no descriptor is available (RLIMIT_NOFILE) and connections
    are broken; then, with descriptors available again, read another file.
    """
    store.remember = 0
    backend = store.backend
    # Performs the imports, connections and opens of first use, but nothing for `file_id`.
    store.get_content(warm)
    next(iter(backend.list_ids()), None)
    list(backend.read_metas([warm]))
    ways: dict[str, Callable[[], Any]] = {
        "get": lambda: store.get(file_id).id,
        "get_content": lambda: store.get_content(file_id).hex(),
        "open": lambda: store.open(file_id).read().hex(),
        "backend.read_meta": lambda: backend.read_meta(file_id).hex(),
        "backend.open_data": lambda: backend.open_data(file_id).read().hex(),
        "backend.read_metas": lambda: [found for found, _ in backend.read_metas([file_id])],
        "list": lambda: sorted(file.id for file in store.list()),
        "backend.remove": lambda: backend.remove(file_id),
    }
    answers: list[dict[str, Any]] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # All descriptors below this number are in use and stay so: a client that closes a broken connection frees a higher
    # one.
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(lowest, _STANDARD_STREAMS), hard))
    try:
        begun = time.monotonic()
        for way, call in ways.items():
            if time.monotonic() - begun > _PATIENCE_SECONDS:
                break
            _break_connections(soft)
            try:
                answers.append({"way": way, "value": call()})
            except Exception as error:  # noqa: BLE001 - any error is reported to the parent
                types = [c.__name__ for c in type(error).__mro__]
                answers.append({"way": way, "raised": f"{type(error).__name__}: {error}", "types": types})
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for answer in answers:
        say(**answer)
    _read_again(store, say, warm)


def _break_connections(most: int) -> None:
    """Shut down every connected socket, as if the server had ended; the descriptors stay open."""
    for descriptor in range(min(most, _MOST_DESCRIPTORS)):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                connection = socket.socket(fileno=descriptor)
                try:
                    # A socket pair, such as one that wakes an event loop, is within this process; it has no address.
                    if connection.getpeername():
                        connection.shutdown(socket.SHUT_RDWR)
                finally:
                    connection.detach()


def _read_again(store: FileStore, say: Say, file_id: str) -> None:
    """Some connections may be found to be broken only now, one for each attempt."""
    raised: Exception | None = None
    for _ in range(_TRIES):
        try:
            content = store.get_content(file_id)
        except Exception as error:  # noqa: BLE001 - any error is reported to the parent
            raised = error
            time.sleep(_PAUSE_SECONDS)
        else:
            say(again=content.hex())
            return
    say(still=f"{type(raised).__name__}: {raised}", tries=_TRIES)


def create_killed(store: FileStore, say: Say, *, at: int, sizes: list[int]) -> None:
    """Create a file from chunks of these sizes, and kill the process before the `at`-th call that can perform I/O (0:
    only count the calls).
    """
    chunks = [b"x" * size for size in sizes]
    points = _die_at(at, store)
    file = store.create("killed.bin", chunks, purpose="user_data")
    sys.setprofile(None)
    say(id=file.id, points=points[0])


def delete_killed(store: FileStore, say: Say, *, at: int, file_id: str) -> None:
    """Delete a file, and kill the process before the `at`-th call that can perform I/O (0: only count the calls)."""
    points = _die_at(at, store)
    store.delete(file_id)
    sys.setprofile(None)
    say(deleted=file_id, points=points[0])


def race_to_delete(store: FileStore, say: Say, *, file_ids: list[str]) -> None:
    """Delete the files while other processes do the same; report those that this process deleted."""
    for file_id in file_ids:
        try:
            store.delete(file_id)
        except FileNotFound:
            continue
        say(deleted=file_id)


def create_while_killed_reading(store: FileStore, say: Say, *, after: int, size: int) -> None:
    """Create a file whose source kills the process once `after` bytes were read."""

    def dying() -> Iterator[bytes]:
        given = 0
        while given < size:
            if given >= after:
                os.kill(os.getpid(), signal.SIGKILL)
            yield b"y" * min(10_000, size - given)
            given += 10_000

    file = store.create("dying.bin", dying(), purpose="user_data")
    say(id=file.id)


def create_and_die(store: FileStore, say: Say, *, size: int) -> None:
    """Create a file, report it, and kill the process at once, without a chance to flush or close anything."""
    file = store.create("acknowledged.bin", _chunks(size), purpose="user_data")
    say(id=file.id, sha256=file.sha256)
    os.kill(os.getpid(), signal.SIGKILL)


def create_marked(store: FileStore, say: Say, *, mark: str, count: int = 8000) -> None:
    """Create a file whose data (the mark, `count` times) and name can be recognized in a trace."""
    store.create(f"{mark}.bin", (f"{mark} " * count).encode(), purpose="user_data")
    say(done=mark)


def create_on_full_disk(store: FileStore, say: Say, *, limit: int, size: int, text: int) -> None:
    """Create a file, with `text` bytes of metadata, while no file may grow past `limit` bytes (RLIMIT_FSIZE)."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        file = store.create("full.bin", _chunks(size), purpose="user_data", metadata={"text": "x" * text})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    say(id=file.id)


def _chunks(size: int) -> Iterator[bytes]:
    for start in range(0, size, 50_000):
        yield os.urandom(min(50_000, size - start))


# Modules whose C functions only compute: being killed before one is equivalent to being killed before the next call
# that acts.
_PURE = frozenset(
    (  # noqa: SIM905 - a list of names reads best as text
        "builtins time _thread threading itertools functools _functools operator _operator struct _struct hashlib "
        "_hashlib json _json re _sre collections _collections abc _abc weakref _weakref contextvars _contextvars math "
        "random _random binascii sys gc codecs _codecs bisect _bisect warnings _warnings signal _signal types queue "
        "_queue heapq _heapq datetime _datetime string _string marshal _imp typing _typing enum pydantic_core "
        "pydantic_core._pydantic_core"
    ).split()
)


def _die_at(at: int, store: FileStore) -> list[int]:
    """Count the calls that can have an external effect, on all threads, and kill the process before one of them.

    A profile function sees `os.write` and `os.fsync`, which raise no audit event, and calls into extension modules, but
    not calls within a client compiled by Cython; so the backend's calls into other packages count as well.
    """
    points = [0]
    own = _package(type(store.backend).__module__)

    def hook(frame: Any, event: str, function: Any) -> None:
        if (event == "c_call" and _acts(function)) or (event == "call" and _enters_client(frame, own)):
            points[0] += 1
            if points[0] == at:
                os.kill(os.getpid(), signal.SIGKILL)

    threading.setprofile(hook)
    sys.setprofile(hook)
    return points


def _package(module: str) -> str:
    return module.partition(".")[0]


def _enters_client(frame: Any, own: str) -> bool:
    caller = frame.f_back
    if caller is None or _package(caller.f_globals.get("__name__", "")) != own:
        return False
    package = _package(frame.f_globals.get("__name__", ""))
    return package not in {own, "holdall", "pydantic"} and package not in sys.stdlib_module_names


def _acts(function: Any) -> bool:
    module = getattr(function, "__module__", None)
    if module is None:
        owner = getattr(function, "__self__", None)
        if owner is None:
            # A function of an extension module that does not name its module, as with PyO3.
            return True
        module = type(owner).__module__ if not isinstance(owner, type) else owner.__module__
    return module not in _PURE
