"""Instances of a filesystem: safe for threads and forks whatever the filesystem itself is, and without its caches."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

import fsspec.asyn
from fsspec.spec import AbstractFileSystem

from holdall.errors import InvalidRequest

__all__ = ["Pool"]

_MOST_IDLE = 8

# What a parent opened must be neither used nor closed by its child: both share the connection.
_abandoned: list[object] = []


class _State:
    def __init__(self) -> None:
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.idle: list[AbstractFileSystem] = []


class Pool:
    """Hands out instances; one at a time to a user, unless `shared` says that one can serve all threads.

    A filesystem over one connection (ftp, sftp) is not safe to be used by two threads at once, and one that failed may
    have lost its connection: after an error its instance is not used again.
    """

    def __init__(self, make: Callable[[], AbstractFileSystem], *, shared: bool) -> None:
        self._make = make
        self._shared = shared
        self._state = _State()
        self._closed = False

    @contextlib.contextmanager
    def use(self) -> Iterator[AbstractFileSystem]:
        """An instance, for the time of the context."""
        fs = self.take()
        try:
            yield fs
        except FileNotFoundError:
            # An answer, not a failure.
            self.give_back(fs)
            raise
        except BaseException:
            if self._shared:
                self.give_back(fs)
            raise
        self.give_back(fs)

    def take(self) -> AbstractFileSystem:
        """An instance to be given back with `give_back`, or to be dropped if it has failed."""
        if self._closed:
            raise InvalidRequest("the store was closed; open it again")
        state = self._own_state()
        with state.lock:
            if state.idle:
                return state.idle[-1] if self._shared else state.idle.pop()
            if self._shared:
                state.idle.append(self._new())
                return state.idle[-1]
        return self._new()

    def give_back(self, fs: AbstractFileSystem) -> None:
        """Keep an instance for the next user."""
        state = self._own_state()
        if self._shared or self._closed:
            return
        with state.lock:
            if len(state.idle) < _MOST_IDLE:
                state.idle.append(fs)

    def close(self) -> None:
        """Forget the instances; those in use are dropped when they are given back."""
        self._closed = True
        state = self._own_state()
        with state.lock:
            state.idle.clear()

    def _new(self) -> AbstractFileSystem:
        fs = self._make()
        # Whatever the environment's configuration of fsspec says: others write to the same place.
        fs.dircache.use_listings_cache = False
        return fs

    def _own_state(self) -> _State:
        state = self._state
        if state.pid != os.getpid():
            _abandoned.append(state)
            # A thread of the parent may have held fsspec's lock; that thread is not here.
            fsspec.asyn.reset_lock()
            state = self._state = _State()
        return state
