"""Files of any size pass through in bounded memory."""

from __future__ import annotations

import os

import pytest

_MIB = 1024 * 1024


@pytest.mark.parametrize("mib", [256])
def test_streaming(child, root, mib):
    """Storing and reading a large file takes less than 100 MiB of memory more than doing nothing."""
    if not os.path.exists("/proc/self/status"):
        pytest.skip("peak memory is read from /proc, which this system has not")
    said = child.tell(
        """
        before = peak_bytes()
        block = os.urandom(1024 * 1024)
        with holdall.open_store(root, fsync=False, max_bytes="2GiB") as store:
            file = store.create("large", (block for _ in range(mib)), purpose="batch")
            after_create = peak_bytes()
            with store.open(file.id) as stream:
                size = sum(map(len, iter(lambda: stream.read(1024 * 1024), b"")))
            after_read = peak_bytes()
            problems = len(store.verify().problems)
            store.delete(file.id)
        say(create=after_create - before, read=after_read - before, size=size, problems=problems)
        """,
        root=root,
        mib=mib,
    )
    assert said["size"] == mib * _MIB
    assert said["problems"] == 0
    assert said["create"] < 100 * _MIB
    assert said["read"] < 100 * _MIB
