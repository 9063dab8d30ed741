"""A process that uploads until it is killed, and reports its progress: `python uploader.py URL BYTES BYTES …`."""

from __future__ import annotations

import sys

import holdall

MIB = 1024 * 1024


def _tell(*words):
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def source(size):
    """This many bytes, a MiB at a time, each announced."""
    while size > 0:
        _tell("chunk")
        yield b"\xa5" * min(size, MIB)
        size -= MIB


def main():
    """Store files of these sizes in turn, forever."""
    with holdall.open_store(sys.argv[1]) as store:
        while True:
            for size in map(int, sys.argv[2:]):
                _tell("begin")
                _tell("stored", store.create("a", source(size), purpose="batch").id)


if __name__ == "__main__":
    main()
