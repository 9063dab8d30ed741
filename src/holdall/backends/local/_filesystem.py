"""Whether a directory is on a local file system, where calls are fast and results are never stale.

A network file system answers in milliseconds, or not at all while its server is unreachable, and may show directories
as they were up to a minute ago (nfs(5), "acdirmax").
"""

from __future__ import annotations

import os
import re

__all__ = ["is_on_this_machine"]

_HERE = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)
_MOUNTS = "/proc/self/mountinfo"
_escaped = re.compile(r"\\([0-7]{3})").sub


def is_on_this_machine(path: str, mounts: str = _MOUNTS) -> bool:
    """Whether `path` is known to be on a local file system. False if unknown, as on systems other than Linux."""
    path = os.path.realpath(path)
    longest, kind = "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                # proc_pid_mountinfo(5): a dash ends the optional fields, and the file system type follows.
                before, _, after = line.partition(" - ")
                point = _escaped(lambda code: chr(int(code[1], 8)), before.split(" ")[4])
                # Of two mounts on the same point, the later one is visible.
                if len(point) >= len(longest) and os.path.commonpath([path, point]) == point:
                    longest, kind = point, after.split(" ")[0]
    except (OSError, IndexError, ValueError):
        return False
    return kind in _HERE
