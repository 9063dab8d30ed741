"""Large files: hashing while writing, reading whole files, and the cost of verifying what is read."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import holdall
from benchmarks.harness import MIB, Run, check, quiet, timed, warm_memory

__all__ = ["measure"]

_SIZE = 256 * MIB
_WHOLE = "Path.read_bytes"


def measure(run: Run) -> None:
    """Tables `stream.create` and `content.256MiB`."""
    if run.wants("stream.") or run.wants("content."):
        # Large files are removed as soon as they have been read.
        run.later(lambda: _measure(run))


def _measure(run: Run) -> None:
    run.say("stream.*, content.*: 256 MiB")
    data = run.data(_SIZE)
    sha256 = hashlib.sha256(data).hexdigest()
    rounds = run.pick(3, 6, 8)
    folder = run.new_folder()
    with holdall.open_store(str(folder / "store"), fsync=False) as store:
        if run.wants("stream."):
            table = run.table("stream.create", "store a stream of 256 MiB with its SHA-256", "copy, then hash")
            ways = _creates(store, folder)
            for number in range(rounds + 1):
                for who in run.shuffled(ways):
                    quiet()
                    warm_memory(_SIZE + 64 * MIB)
                    (seconds,), ((digest, remove),) = timed(ways[who], [io.BytesIO(data)])
                    check(digest in {sha256, None}, f"{who}: wrong SHA-256")
                    remove()
                    if number:
                        table.add(who, seconds)
        if run.wants("content."):
            file = store.create("a", data, purpose="user_data")
            reads = _reads(store, file.id, folder / "store")
            table = run.table("content.256MiB", "read 256 MiB whole", _WHOLE)
            for number in range(rounds + 1):
                for who in run.shuffled(reads):
                    warm_memory(_SIZE + 64 * MIB)
                    (seconds,), (found,) = timed(lambda _, read=reads[who]: read(), [None])
                    check(found in (data, sha256, _SIZE), f"{who}: other bytes came back")
                    del found
                    if number:
                        table.add(who, seconds)
    shutil.rmtree(folder)


def _creates(store: Any, folder: Path) -> dict[str, Callable[[Any], Any]]:
    """Each returns the SHA-256, and a function that removes what was stored."""

    def ours(source: Any) -> Any:
        file = store.create("a", source, purpose="user_data")
        return file.sha256, lambda: store.delete(file.id)

    def sequence(source: Any) -> Any:
        path = folder / "copy"
        with open(path, "wb") as target:
            shutil.copyfileobj(source, target, 256 * 1024)
        with open(path, "rb") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
        return digest, path.unlink

    def copy(source: Any) -> Any:
        path = folder / "copy"
        with open(path, "wb") as target:
            shutil.copyfileobj(source, target, 256 * 1024)
        return None, path.unlink

    return {"holdall": ours, "copy, then hash": sequence, "copy only": copy}


def _reads(store: Any, file_id: str, root: Path) -> dict[str, Callable[[], Any]]:
    path = root / file_id / "data.bin"
    memory = path.read_bytes()

    def chunks() -> int:
        with store.open(file_id) as stream:
            return sum(map(len, iter(lambda: stream.read(MIB), b"")))

    def verified() -> str:
        with store.open(file_id) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    def bare() -> int:
        with open(path, "rb", buffering=0) as stream:
            return sum(map(len, iter(lambda: stream.read(MIB), b"")))

    return {
        "holdall, get_content": lambda: store.get_content(file_id),
        "holdall, open, by the MiB": chunks,
        "holdall, open, and SHA-256 of it": verified,
        _WHOLE: path.read_bytes,
        "open, by the MiB": bare,
        "SHA-256 of it in memory": lambda: hashlib.sha256(memory).hexdigest(),
    }
