"""A worker: one of several processes that share a socket. `_workers` starts it, and sends its settings to its standard
input.

`python -m holdall.cli._worker`: the first line is the number of the socket's descriptor, the second a `Service`. It
writes to standard output when its storage is open. It ends when its standard input ends, because the supervising
process has died then.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

from holdall.cli import _errors
from holdall.cli._logs import log_everything
from holdall.cli._secrets import watch
from holdall.cli._service import Service, run

if TYPE_CHECKING:
    from holdall.server._tenants import Stores

__all__ = ["READY"]

# Contains NULs, so that it can be told from other output on the same stream.
READY = b"\0ready\0"


def _main() -> int:
    # Unbuffered: a thread blocked in a buffered read prevents the interpreter from exiting.
    with open(0, "rb", buffering=0, closefd=False) as told:
        descriptor, service = int(told.readline()), Service.from_json(told.readline().decode())
    watch([service.url])
    log_everything(as_json=service.as_json, debug=service.debug)
    threading.Thread(target=_until_alone, daemon=True).start()
    metrics = None
    if service.metrics_port is not None:
        from holdall.server import Metrics  # noqa: PLC0415

        metrics = Metrics()
    with socket.socket(fileno=descriptor) as listener:
        started = run(service, listener, metrics=metrics, background=[_say_ready])
    return 0 if started else _errors.FAILED


async def _say_ready(_: Stores) -> None:
    os.write(sys.stdout.fileno(), READY)
    # From now on nobody reads standard output, and whatever is printed is meant for people.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())


def _until_alone() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(_main())
