"""Instances of a filesystem: safe with threads and forks, whatever the filesystem supports, and without caches."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
import threading
from collections.abc import Callable, Iterator

import fsspec.asyn
from fsspec.spec import AbstractFileSystem

from holdall.errors import InvalidRequest

__all__ = ["Pool"]

_log = logging.getLogger("holdall_fsspec")

_MOST_IDLE = 8
_CLOSE_SECONDS = 10

# A child process must neither use nor close what its parent opened: both share the connection.
_abandoned: list[object] = []


class _State:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.idle: list[AbstractFileSystem] = []
        # The number of users of a shared instance.
        self.users = 0


class Pool:
    """Provides instances, each to one user at a time, unless `shared` says that one can serve all threads.

    A filesystem over a single connection (ftp, sftp) is not thread-safe, and one that failed may have lost its
    connection: after an error its instance is not used again.
    """

    def __init__(self, make: Callable[[], AbstractFileSystem], *, shared: bool) -> None:
        self._make = make
        self._shared = shared
        self._state = _State()
        self._closed = False

    @contextlib.contextmanager
    def use(self) -> Iterator[AbstractFileSystem]:
        """An instance, for the duration of the context."""
        fs = self.take()
        try:
            yield fs
        except FileNotFoundError:
            # A regular result, not a failure of the connection.
            self.give_back(fs)
            raise
        except BaseException:
            self.drop(fs)
            raise
        self.give_back(fs)

    def take(self) -> AbstractFileSystem:
        """An instance, to be returned with `give_back`, or with `drop` if it has failed."""
        if self._closed:
            raise InvalidRequest("the store was closed; open it again")
        state = self._own_state()
        with state.lock:
            if self._shared:
                if not state.idle:
                    state.idle.append(self._new())
                state.users += 1
                return state.idle[-1]
            if state.idle:
                return state.idle.pop()
        return self._new()

    def give_back(self, fs: AbstractFileSystem) -> None:
        """Return an instance for the next user."""
        state = self._own_state()
        if self._shared:
            self._leave(state)
            return
        with state.lock:
            keep = not self._closed and len(state.idle) < _MOST_IDLE
            if keep:
                state.idle.append(fs)
        if not keep:
            _disconnect(fs)

    def drop(self, fs: AbstractFileSystem) -> None:
        """Do not use an instance again, unless it is shared."""
        if self._shared:
            self._leave(self._own_state())
        else:
            _disconnect(fs)

    def close(self) -> None:
        """Close the idle instances; those in use are closed when they are returned."""
        self._closed = True
        self._let_go(self._own_state())

    def _leave(self, state: _State) -> None:
        with state.lock:
            # An instance inherited from the parent was not counted in the forked child.
            state.users = max(state.users - 1, 0)
        if self._closed:
            self._let_go(state)

    def _let_go(self, state: _State) -> None:
        with state.lock:
            if state.users:
                return
            idle, state.idle = state.idle, []
        for fs in idle:
            _disconnect(fs)

    def _new(self) -> AbstractFileSystem:
        fs = self._make()
        # Whatever fsspec's configuration in the environment says: others write to the same location.
        fs.dircache.use_listings_cache = False
        return fs

    def _own_state(self) -> _State:
        state = self._state
        if state.pid != os.getpid():
            _abandoned.append(state)
            # A thread of the parent, which does not exist here, may have held fsspec's lock.
            fsspec.asyn.reset_lock()
            state = self._state = _State()
        return state


def _disconnect(fs: AbstractFileSystem) -> None:
    """Close the connections of an instance: fsspec has no call for this, and leaves it to the garbage collector.

    An instance of adlfs is never garbage-collected: the finalizer that it has registered keeps it alive.
    """
    client = getattr(fs, "client", None)
    holders = (getattr(client, "http", None), getattr(fs, "ftp", None), client, getattr(fs, "service_client", None))
    for holder in holders:
        close = getattr(holder, "close", None)
        if callable(close):
            try:
                if inspect.iscoroutinefunction(close):
                    fsspec.asyn.sync(fs.loop, close, timeout=_CLOSE_SECONDS)
                else:
                    close()
            except Exception:  # noqa: BLE001 - it is not used any more
                _log.debug("could not close a connection of %s", type(fs).__name__, exc_info=True)
