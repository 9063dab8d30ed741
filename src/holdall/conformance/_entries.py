"""Entries published without the store's `create` (with ids of other programs, of other times, damaged), and comparison
of listings.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from holdall.conformance._kit import broken, expect
from holdall.ids import minted_at_ms
from holdall.model import FileObject, FilePage, encode_meta
from holdall.store import FileStore

__all__ = ["minted", "minted_ago", "pages_of", "plant", "position", "quietly", "same_ids", "same_pages"]

_AGES_SECONDS = (1, 61, 600, 3 * 3600, 2 * 86_400, 30 * 86_400, 100 * 86_400)


def plant(
    store: FileStore,
    file_id: str,
    data: bytes = b"planted",
    *,
    meta: bytes | None = None,
    **fields: Any,
) -> FileObject:
    """Publish an entry through the backend, as a copy of another store or another program would.

    Returns the file described in it; `meta` replaces its metadata document, `fields` the values in the document.
    """
    fields.setdefault("created_at", int(time.time()))
    file = FileObject(
        **{"id": file_id, "filename": "planted.txt", "purpose": "user_data", "bytes": len(data), **fields}
    )
    with store.backend.stage(file_id) as staged:
        staged.write(data)
        staged.publish(encode_meta(file) if meta is None else meta)
    return file


def minted(ms: int, number: int = 0) -> str:
    """The id that holdall might have generated at `ms` (Unix milliseconds)."""
    return f"file-{ms:012x}7{number:03x}8{number:015x}"


def minted_ago() -> list[tuple[str, int]]:
    """Ids generated from months to a second ago, oldest first, with their creation times in Unix seconds."""
    now_ms = int(time.time() * 1000)
    found = []
    for age in reversed(_AGES_SECONDS):
        for number in range(3):
            ms = now_ms - age * 1000
            file_id = minted(ms, number)
            if minted_at_ms(file_id, now_ms) is not None:
                found.append((file_id, ms // 1000))
    return found


def position(file: FileObject) -> tuple[int, str]:
    """The sort key of a file in listings."""
    return file.created_at, file.id


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep holdall's warnings off the terminal while entries are damaged on purpose.

    A program's own logging still receives them; only logging's handler of last resort does not.
    """
    handler = logging.NullHandler()
    logging.getLogger("holdall").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("holdall").removeHandler(handler)


def same_ids(saw: Iterable[Any], expected: Iterable[str], did: str) -> None:
    """Raises `Broken` unless both are the same ids in the same order; the failure tells the difference."""
    got, wanted = list(saw), list(expected)
    if got == wanted:
        return
    counts, known = Counter(got), set(wanted)
    problems = []
    for name, ids in (
        ("missing", [i for i in wanted if i not in counts]),
        ("repeated", [i for i, n in counts.items() if n > 1]),
        ("not expected", [i for i in counts if i not in known]),
    ):
        if ids:
            more = f" and {len(ids) - 2} more" if len(ids) > 2 else ""
            problems.append(f"{len(ids)} {name}: {', '.join(map(str, ids[:2]))}{more}")
    if not problems:
        at = next(n for n, (a, b) in enumerate(zip(got, wanted, strict=True)) if a != b)
        problems.append(f"another order: {got[at]} at place {at}, where {wanted[at]} should be")
    raise broken(did, f"{len(wanted)} ids: {_few(wanted)}", f"{len(got)} ids; {'; '.join(problems)}")


def _few(ids: list[str]) -> str:
    return ", ".join(ids) if len(ids) <= 3 else f"{ids[0]}, {ids[1]}, … {ids[-1]}"


def pages_of(store: FileStore, limit: int, most: int, **options: Any) -> Iterator[FilePage]:
    """The pages of a listing, requested as a client would; broken if there is no end after `most` pages."""
    after = options.pop("after", None)
    for _ in range(most):
        page = store.list(limit=limit, after=after, **options)
        yield page
        if not page.has_more or not page.data:
            return
        after = page.last_id
    raise broken(
        f"list(limit={limit}, after=<last_id of the page before>) {most} times", "an end", "has_more every time"
    )


def same_pages(store: FileStore, limit: int, expected: list[str], **options: Any) -> None:
    """List by pages: each must be full except the last, and together they must have exactly these ids."""
    said = "".join(f", {name}={value!r}" for name, value in options.items())
    at = 0
    for page in pages_of(store, limit, len(expected) + 2, **options):
        did = f"list(limit={limit}{said}) from place {at} of {len(expected)}"
        same_ids([f.id for f in page], expected[at : at + limit], did)
        if page.data:
            expect((page.first_id, page.last_id), (page.data[0].id, page.data[-1].id), f"first_id, last_id of {did}")
        at += len(page.data)
    same_ids(expected[:at], expected, f"list(limit={limit}{said}) until has_more is false")
