"""A process that has imported holdall and runs each order in a fork of itself, so that a child costs milliseconds.

Reads one JSON object for each line: `code`, and the names to set for it. Writes JSON objects, one for each line: the
messages of the code, then `exit`, its exit code (or minus the signal that killed it). Started by the fixture `child`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback

import holdall
from holdall import registry

# Everything that is loaded on first use is loaded here, so that a child opens no files but the store's.
registry.load("file")
with holdall.open_store("memory://") as _store:
    _store.delete(_store.create("a", b"a", purpose="batch").id)

# Everything that accesses or changes the file system and that Python announces in advance (sys.audit). Partial writes
# are not included; kills at random moments cover these.
_EVENTS = frozenset(
    {
        "fcntl.flock",
        "open",
        "os.link",
        "os.listdir",
        "os.mkdir",
        "os.remove",
        "os.rename",
        "os.rmdir",
        "os.scandir",
        "os.truncate",
        "shutil.rmtree",
    }
)


def say(**message):
    """Send a message to the parent, which has received it when this returns."""
    os.write(1, json.dumps(message).encode() + b"\n")


def kill_at(root, nth):
    """From now on, kill the process right before the nth operation on files, except on files outside of `root`."""
    count = 0

    def hook(event, args):
        nonlocal count
        if event not in _EVENTS:
            return
        path = args[0]
        # Names relative to an open directory belong to the store; absolute paths elsewhere, to the interpreter.
        if isinstance(path, str) and path.startswith("/") and not path.startswith(root):
            return
        count += 1
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def drop_privileges():
    """Become a user to whom permissions apply."""
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def peak_bytes():
    """The peak resident memory so far."""
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


def attempt(function, *args, **kwargs):
    """Call the function, and send the outcome: the names of the error's classes and its text, or `done`."""
    try:
        function(*args, **kwargs)
    except Exception as error:
        say(error=[kind.__name__ for kind in type(error).__mro__], text=str(error))
    else:
        say(done=True)


def _run(order):
    try:
        exec(compile(order.pop("code"), "<child>", "exec"), {**globals(), **order})
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            say(pid=os.getpid())
            _run(json.loads(line))
        _, status = os.waitpid(pid, 0)
        say(exit=os.waitstatus_to_exitcode(status))
