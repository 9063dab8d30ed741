"""An interrupt in the memory backend leaves all files as they were, and the one it concerns there or not there."""

from __future__ import annotations

import itertools
import sys

import pytest

from holdall import FileStore
from holdall.backends import memory
from holdall.ids import DEFAULT_MINTER


def _interrupted(call, nth):
    """Make the call, with Ctrl-C before the `nth` line of the backend. Whether that line was reached."""
    lines = itertools.count(1)
    held = []

    def trace(frame, event, _):
        if frame.f_code.co_filename != memory.__file__:
            return None
        if event == "line":
            # Leaving a `with` is a line of its own, but nothing can interrupt before the lock is released.
            leaving = frame.f_lineno in held
            held.append(frame.f_lineno)
            if not leaving and next(lines) == nth:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


@pytest.mark.parametrize("verb", ["create", "delete"])
def test_an_interrupted_change(verb):
    """The file is there or not, for every handle; all others stay; and what was interrupted can be done again."""
    first, victim, last = sorted(DEFAULT_MINTER.mint()[0] for _ in range(3))
    for nth in itertools.count(1):
        store = FileStore(memory.MemoryBackend())
        for file_id in (first, last) if verb == "create" else (first, victim, last):
            _put(store, file_id)
        other = FileStore(store.backend)
        assert _listed(other) == _listed(store)
        reached = _interrupted(lambda s=store: _put(s, victim) if verb == "create" else s.delete(victim), nth)
        if not reached:
            break
        listed = _listed(store)
        assert [i for i in listed if i != victim] == [first, last]
        assert listed == _listed(other) == sorted(store.backend._space.entries)
        if victim in listed:
            store.delete(victim)
        _put(store, victim)
        assert _listed(store) == [first, victim, last]
        store.delete(victim)
        assert _listed(store) == _listed(other) == [first, last]
    assert nth > 3


def _put(store, file_id):
    with store.begin("a", purpose="batch", file_id=file_id) as upload:
        upload.finish()


def _listed(store):
    return [file.id for file in store]
