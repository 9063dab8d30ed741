"""After a fork obstore would hang: a child is refused at once, and one whose parent made no request works."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from obstore_servers import Server

PROGRAM = """
import os, signal, sys, warnings
warnings.simplefilter("ignore")
import holdall

url, before = sys.argv[1:]
store = holdall.open_store(url)
if before == "used":
    store.create("a.txt", b"a", purpose="user_data")
if os.fork() == 0:
    signal.alarm(20)
    for again in (store, None):
        try:
            with again or holdall.open_store(url) as child:
                file = child.create("b.txt", b"b", purpose="user_data")
                print("child", child.get_content(file.id), flush=True)
        except holdall.StorageError as error:
            print("refused", "spawn" in str(error), flush=True)
    os._exit(0)
_, status = os.wait()
print("ended", status)
print("parent", store.get_content(store.create("c.txt", b"c", purpose="user_data").id))
"""


def _run(url: str, before: str) -> list[str]:
    command = [sys.executable, "-c", PROGRAM, url, before]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.fixture(params=["memory", "file", "s3"])
def url(request, tmp_path, weed_s3: Server, prefix):
    """A store of each kind."""
    kinds = {"memory": "memory+obstore://n", "file": f"file+obstore://{tmp_path}", "s3": weed_s3.url(prefix)}
    return kinds[request.param]


def test_a_child_of_a_process_that_used_obstore_is_refused_at_once(url):
    """Through the old handle and through a new one: a clear error, no hang, and the parent goes on."""
    assert _run(url, "used") == ["refused True", "refused True", "ended 0", "parent b'c'"]


def test_a_child_of_a_process_that_made_no_request_works(url):
    """A server may open its store, fork its workers, and use the store in each."""
    assert _run(url, "only opened") == ["child b'b'", "child b'b'", "ended 0", "parent b'c'"]


def test_importing_the_plugin_starts_nothing():
    """A process that has only imported the plugin has one thread, so it may fork."""
    program = "import holdall_obstore, os; print(len(os.listdir('/proc/self/task')))"
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("no /proc/self/task to count threads in")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "1\n"
