"""Files that expire: absent the moment they do, and their space given back by a sweep. It prints:

now: draft.txt, keep.txt
an hour later: keep.txt
the sweep removed 1 file
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time

from holdall import FileStore
from holdall.backends.local import LocalBackend


class Clock:
    """The system's clock, and a way to let time pass at once. Most programs need none: the system's is the default."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        """Unix seconds."""
        return time.time() + self.ahead


def main() -> None:
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, FileStore(LocalBackend(folder), clock=clock) as store:
        store.create("draft.txt", b"for now", purpose="user_data", expires_after=dt.timedelta(hours=1))
        store.create("keep.txt", b"for good", purpose="user_data")
        print("now:", ", ".join(file.filename for file in store))

        clock.ahead = 3600
        print("an hour later:", ", ".join(file.filename for file in store))

        report = store.sweep()
        print(f"the sweep removed {len(report.expired)} file")


if __name__ == "__main__":
    main()
