"""Which kind of file system a directory is on: those of this machine answer quickly, and are never out of date.

A network file system answers in milliseconds, or not at all while its server is away, and lets directories look as they
did up to a minute ago (nfs(5), "acdirmax").
"""

from __future__ import annotations

import os
import re

__all__ = ["OF_THIS_MACHINE", "kind_of"]

OF_THIS_MACHINE = frozenset(
    {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs"}
)
_MOUNTS = "/proc/self/mountinfo"
_escaped = re.compile(r"\\([0-7]{3})").sub


def kind_of(path: str, mounts: str = _MOUNTS) -> str:
    """What kind of file system a path is on, such as `ext4`; empty where that cannot be told, as on other systems."""
    path = os.path.realpath(path)
    longest, kind = "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                # proc_pid_mountinfo(5): optional fields end with a dash, and the type follows.
                before, _, after = line.partition(" - ")
                point = _escaped(lambda code: chr(int(code[1], 8)), before.split(" ")[4])
                # Of two on the same point, the later one is on top.
                if len(point) >= len(longest) and os.path.commonpath([path, point]) == point:
                    longest, kind = point, after.split(" ")[0]
    except (OSError, IndexError, ValueError):
        return ""
    return kind
