"""File ids: how they are minted, which are accepted, and what can be read off them.

An id of holdall's own is `file-` and 32 lower-case hexadecimal digits of a UUID version 7
(RFC 9562, section 5.7), so comparing two ids as text compares their creation times.
Ids minted elsewhere are accepted if they are safe to use as a name anywhere.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable

from holdall.errors import InvalidFileId

__all__ = [
    "DEFAULT_MINTER",
    "PREFIX",
    "IdMinter",
    "adopt",
    "check_id",
    "has_minted_form",
    "have_minted_form",
    "is_valid",
    "lower_bound",
    "minted_at_ms",
    "plausible_range",
    "time_of_text",
]

PREFIX = "file-"

_ACCEPTED = re.compile(r"file-[A-Za-z0-9_-]{1,128}").fullmatch
_FORM = "file-[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}"
_MINTED = re.compile(_FORM).fullmatch
# The same form for many at once: all digits as one of them, with a "/" after each, and what stands in some places.
_DIGITS_AS_ONE = bytes.maketrans(b"0123456789abcdef", b"0" * 16)
_SHAPE = b"0il0-" + b"0" * 32 + b"/"
_PLACES = ((0, b"f"), (3, b"e"), (17, b"7"), (21, b"89ab"))
_AT_ONCE = 1000
# The same digits in another case would be the same file on a case-insensitive file system.
_MINTED_RECASED = re.compile(r"file-(?=.*[A-F])[0-9a-fA-F]{32}").fullmatch

# No id was minted before 2026; one minted over a day ahead of this machine's clock is not ours either.
_EARLIEST_MS = 1_767_225_600_000
_SKEW_MS = 86_400_000
_LATEST_MS = (1 << 48) - 1
_DIGITS_OF_TIME = re.compile(r"file-([0-9a-f]{0,12})(.?)").match

_SHOWN_CHARACTERS = 60

# One bit of the 74 stays clear at the start of a millisecond, so that stepping does not overflow.
_RANDOM_MASK = (1 << 73) - 1


def is_valid(file_id: object) -> bool:
    """Whether this is `file-` and 1 to 128 characters of `A-Z a-z 0-9 _ -`.

    32 hexadecimal digits with a capital among them are refused: that is a minted id in another spelling.
    """
    if not isinstance(file_id, str):
        return False
    # Nearly all ids are of this form, which costs one look.
    return bool(_MINTED(file_id) or (_ACCEPTED(file_id) and not _MINTED_RECASED(file_id)))


def check_id(file_id: object, operation: str) -> str:
    """The id itself, if it is one; otherwise `InvalidFileId`, before anything looks at the storage."""
    if is_valid(file_id):
        return str(file_id)
    shown = repr(file_id) if isinstance(file_id, str) else f"a value of type {type(file_id).__name__}"
    if len(shown) > _SHOWN_CHARACTERS:
        shown = shown[:_SHOWN_CHARACTERS] + "…'"
    if not isinstance(file_id, str):
        why = "a file id is text"
    elif _MINTED_RECASED(file_id):
        why = "the 32 hexadecimal digits of a file id are in lower case"
    else:
        why = "a file id is 'file-' followed by 1 to 128 of the characters A-Z a-z 0-9 _ -"
    raise InvalidFileId(f"cannot {operation} {shown}: {why}", operation=operation)


def has_minted_form(file_id: str) -> bool:
    """Whether holdall can have minted this at some time: 74 of its bits are random, so no other file has it."""
    return _MINTED(file_id) is not None


def have_minted_form(names: list[str]) -> bool:
    """Whether all have it, of names without a "/". In few steps: a listing of many takes longest to look at each."""
    return all(_have_minted_form(names[start : start + _AT_ONCE]) for start in range(0, len(names), _AT_ONCE))


def _have_minted_form(names: list[str]) -> bool:
    # A regular expression takes twice as long, and so does the text of a hundred thousand, which is in no cache.
    text = "/".join([*names, ""]).encode(errors="replace")
    return text.translate(_DIGITS_AS_ONE) == _SHAPE * len(names) and not any(
        text[place :: len(_SHAPE)].strip(digits) for place, digits in _PLACES
    )


def minted_at_ms(file_id: str, now_ms: int | None = None) -> int | None:
    """When an id was minted, in Unix milliseconds (UTC); None if it was not minted by holdall.

    An id whose time is before 2026 or more than a day after `now_ms` counts as minted elsewhere.
    """
    if not _MINTED(file_id):
        return None
    ms = int(file_id[5:17], 16)
    latest = (int(time.time() * 1000) if now_ms is None else now_ms) + _SKEW_MS
    return ms if _EARLIEST_MS <= ms <= latest else None


def time_of_text(text: str) -> int:
    """What stands where an id of holdall's has its time, in milliseconds, whoever minted it.

    Never decreases in the order of text: what is no digit counts as the digits that it sorts next to.
    """
    found = _DIGITS_OF_TIME(text)
    if found is None:
        return 0
    digits, other = found.groups()
    if len(digits) < 12 and other > "9":
        digits = (digits if other > "f" else f"{digits}9").ljust(12, "f")
    return int(digits.ljust(12, "0"), 16)


def adopt(file_id: str, now: float) -> tuple[str, int]:
    """An id that was given out before, and the creation time for it, in Unix seconds (UTC).

    That is the time it was minted at, so that the order of ids stays the order of creation; or `now` for an id that was
    minted elsewhere. Raises `InvalidFileId`.
    """
    # As in minting: a clock that is wrong by decades must not stop anybody from storing files.
    now_ms = max(int(now * 1000), 0)
    return check_id(file_id, "create"), (minted_at_ms(file_id, now_ms) or now_ms) // 1000


def lower_bound(ms: int) -> str:
    """A text that sorts before every id minted at `ms` (Unix milliseconds) or later, and after every earlier one."""
    return f"{PREFIX}{min(max(ms, 0), _LATEST_MS):012x}"


def plausible_range(now_ms: int) -> tuple[str, str]:
    """Texts that enclose every id holdall can have minted up to now; an id outside was minted elsewhere."""
    return lower_bound(_EARLIEST_MS), lower_bound(now_ms + _SKEW_MS + 1)


class IdMinter:
    """Mints ids, each greater than the one before, from any number of threads.

    Within one millisecond the random part is raised by a random step (RFC 9562, section 6.2, method 2), so the
    next id cannot be guessed. A clock that steps back is followed only when it is off by more than ten seconds.
    """

    _STEP_BACK_MS = 10_000

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last_ms = 0
        self._last_random = 0
        # A signal's handler may store a file on a thread that is in here already.
        self._lock = threading.RLock()

    def after_fork(self) -> None:
        """In a forked child: a lock that another thread held at the fork would stay held for ever."""
        self._lock = threading.RLock()

    def mint(self) -> tuple[str, int]:
        """A new id, and its creation time in Unix seconds (UTC)."""
        entropy = int.from_bytes(os.urandom(10), "big")
        # Before 1970 there is no id; a clock that is so wrong must not stop anybody from storing files.
        ms = max(int(self._clock() * 1000), 0)
        with self._lock:
            if self._last_ms - self._STEP_BACK_MS <= ms <= self._last_ms:
                ms = self._last_ms
                random = self._last_random + 1 + (entropy >> 40)
                if random >> 74:
                    ms += 1
                    random = entropy & _RANDOM_MASK
            else:
                random = entropy & _RANDOM_MASK
            self._last_ms, self._last_random = ms, random
        high, low = random >> 62, random & ((1 << 62) - 1)
        value = ms << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
        return f"{PREFIX}{value:032x}", ms // 1000


DEFAULT_MINTER = IdMinter()
"""Shared by all stores of the process that use the system's clock, so their ids are in one order."""
os.register_at_fork(after_in_child=DEFAULT_MINTER.after_fork)
