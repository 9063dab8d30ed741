"""A process that is killed at any moment leaves whole entries only, and loses nothing that it acknowledged."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal

import pytest

import holdall

_CREATE = """
kill_at(root, nth)
with holdall.open_store(root, fsync=fsync) as store:
    say(created=store.create("new", b"new" * 5000, purpose="batch").id)
"""
_DELETE = """
kill_at(root, nth)
with holdall.open_store(root, fsync=fsync) as store:
    store.delete(victim)
    say(deleted=victim)
"""
_SWEEP = """
kill_at(root, nth)
with holdall.open_store(root, fsync=fsync) as store:
    store.sweep(older_than=0)
    say(swept=True)
"""
_STREAM = """
with holdall.open_store(root, fsync=False) as store:
    for i in range(1000):
        name = f"{seed}-{i}."
        size = (i * 7919) % 100_000
        file = store.create(name, (name.encode() * (size // len(name) + 1))[:size], purpose="batch")
        say(created=file.id)
        if i % 3 == 2:
            say(deleting=file.id)
            store.delete(file.id)
            say(deleted=file.id)
"""


def _put(root, name):
    with holdall.open_store(root) as store:
        return store.create(name, name.encode() * 3000, purpose="batch").id


def _killed_at_each(child, code, **names):
    """What was said before each death, then what was said in the end."""
    for nth in itertools.count(1):
        *said, end = child.run(code, nth=nth, **names)
        if end["exit"] == 0:
            assert nth > 8, "the child was hardly ever killed"
            yield said
            return
        assert end["exit"] == -signal.SIGKILL
        yield said


@pytest.mark.parametrize("fsync", [False, True])
@pytest.mark.parametrize("fresh", [False, True], ids=["used", "fresh"])
def test_create(child, root, check_store, *, fsync, fresh):
    """Killed before any step of `create`: the file is there whole or not at all, the others are untouched, and a sweep
    removes the rest. In a root that is not there yet, too.
    """
    others = set() if fresh else {_put(root, "old")}
    for said in _killed_at_each(child, _CREATE, root=root, fsync=fsync):
        if not os.path.exists(root):
            assert not said
            continue
        present = check_store(root)
        acknowledged = {m["created"] for m in said}
        assert others | acknowledged <= present
        assert len(present - others) <= 1
        if fresh:
            shutil.rmtree(root)
        else:
            others = present
    assert acknowledged


@pytest.mark.parametrize("fsync", [False, True])
def test_delete(child, root, check_store, *, fsync):
    """Killed before any step of `delete`: the file is there whole or gone, gone for good if that was acknowledged."""
    other, victim = _put(root, "old"), None
    survived = died = 0
    for nth in itertools.count(1):
        victim = victim or _put(root, "victim")
        *said, end = child.run(_DELETE, root=root, fsync=fsync, victim=victim, nth=nth)
        present = check_store(root)
        assert other in present
        assert present <= {other, victim}
        if victim in present:
            assert not said, "an acknowledged delete came back"
            survived += 1
        else:
            died += 1
            victim = None
        if end["exit"] == 0:
            break
    assert said
    assert survived > 3
    assert died > 3


def test_sweep(child, root, check_store):
    """A sweep that is killed before any of its steps touches no file, and the next one finishes the work."""
    others = {_put(root, "old")}

    def litter():
        for name in (".staging/file-a.0.new", ".staging/file-b.0.old", f"file-{'0' * 32}"):
            os.makedirs(f"{root}/{name}", exist_ok=True)
            for inner in ("data.bin", ".tmpXY12"):
                with open(f"{root}/{name}/{inner}", "wb") as file:
                    file.write(b"x" * 100)

    litter()
    for _ in _killed_at_each(child, _SWEEP, root=root, fsync=False):
        assert check_store(root) == others
        litter()


def test_random_moments(child, root, check_store):
    """Killed at random moments of a stream of creates and deletes, thirty times: every acknowledged file is there and
    right, every acknowledged delete is gone, nothing else appears half.
    """
    dice = random.Random(7)
    expected, uncertain = set(), set()
    for seed in range(30):
        stop_after, pid = dice.randrange(1, 40), None
        for heard, message in enumerate(child.messages(_STREAM, root=root, seed=seed), 1):
            if "pid" in message:
                pid = message["pid"]
            elif "created" in message:
                expected.add(message["created"])
            elif "deleting" in message:
                expected.remove(message["deleting"])
                uncertain.add(message["deleting"])
            elif "deleted" in message:
                uncertain.remove(message["deleted"])
            if heard == stop_after:
                os.kill(pid, signal.SIGKILL)
        assert message == {"exit": -signal.SIGKILL}
        present = check_store(root)
        assert expected <= present
        # At most one create was under way, published and not yet acknowledged.
        assert len(present - expected - uncertain) <= 1
        expected, uncertain = present, set()
