"""What a check works with: its own location, handles on it, and functions that report what it did and saw."""

from __future__ import annotations

import contextlib
import json
import os
import random
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from holdall.backend import Capability
from holdall.conformance._target import DirectoryRaw, RawAccess, Target, directory_of
from holdall.url import StoreURL

if TYPE_CHECKING:
    from holdall.model import FileObject
    from holdall.store import FileStore

__all__ = [
    "LARGEST_TRIED_BYTES",
    "NO_RAW_ACCESS",
    "Broken",
    "Kit",
    "NotChecked",
    "NotDeclared",
    "Settings",
    "broken",
    "elsewhere",
    "expect",
    "expect_error",
    "expect_exactly",
]

_SHOWN = 400

LARGEST_TRIED_BYTES = 64 * 1024 * 1024
"""A larger limit is not tested by filling it, unless large files are requested."""

NO_RAW_ACCESS = "no raw access to this backend"


class Broken(AssertionError):
    """A promise is broken: what was done, what was expected, and what was seen."""

    def __init__(self, did: str, expected: str, saw: str) -> None:
        super().__init__(f"did {did}; expected {expected}; saw {saw}")
        self.did, self.expected, self.saw = did, expected, saw


class NotDeclared(Exception):
    """The check concerns a capability that the backend does not declare."""


class NotChecked(Exception):
    """The check could not run in this environment; the text says why."""


@dataclass(frozen=True)
class Settings:
    """The user's settings for a run."""

    seed: int = 0
    max_examples: int = 25
    large: bool = False


def show(value: Any) -> str:
    """A value in a readable form: bytes by length and both ends, files by id and size, errors by type and text; of an
    exception group, the first error.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
        return repr(data) if len(data) <= 48 else f"{len(data)} bytes {data[:16]!r}…{data[-16:]!r}"
    if isinstance(value, BaseExceptionGroup):
        return show(value.exceptions[0])
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}{_cause(value)}"
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN // 2]} … {text[-_SHOWN // 2 :]}"


def _cause(error: BaseException) -> str:
    """The causes of an error, with the place where each was raised: often the only clue for the backend's author."""
    cause = error.__cause__
    if cause is None or str(cause) in str(error):
        return ""
    frames = traceback.extract_tb(cause.__traceback__)
    place = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    return f"; caused by {type(cause).__name__}: {cause}{place}{_cause(cause)}"


def broken(did: str, expected: Any, saw: Any) -> Broken:
    """The failure to raise; strings are used as they are, other values are formatted by `show`."""
    return Broken(did, *(v if isinstance(v, str) else show(v) for v in (expected, saw)))


def expect(saw: Any, expected: Any, did: str) -> None:
    """Raises `Broken` unless both are equal."""
    if type(saw) is bool or type(expected) is bool:
        if saw is not expected:
            raise Broken(did, show(expected), show(saw))
    elif saw != expected:
        raise Broken(did, show(expected), show(saw))


def expect_exactly(saw: Any, expected: Any, did: str) -> None:
    """Raises `Broken` unless both are the same JSON; Python's equality does not distinguish 1, 1.0 and True."""
    if json.dumps(saw, sort_keys=True, default=repr) != json.dumps(expected, sort_keys=True, default=repr):
        raise Broken(did, show(expected), show(saw))


def fields_of(file: FileObject) -> dict[str, Any]:
    """All metadata of a file, for `expect_exactly`."""
    return file.model_dump(mode="json")


def expect_error(kind: type[BaseException] | tuple[type[BaseException], ...], did: str, call: Callable[[], Any]) -> Any:
    """Raises `Broken` unless the call raises one of these errors; returns the error."""
    kinds = kind if isinstance(kind, tuple) else (kind,)
    names = " or ".join(k.__name__ for k in kinds)
    try:
        result = call()
    except kinds as error:
        return error
    except (NotChecked, NotDeclared, Broken):
        raise
    except BaseException as error:
        raise Broken(did, names, show(error)) from error
    raise Broken(did, names, f"no error; it returned {show(result)}")


class NotEmpty(Exception):
    """The location is not empty: the run stops, so that it does not touch the user's files."""


class Kit:
    """The working environment of one check. Locations are created on first use and destroyed by `close`."""

    def __init__(self, target: Target, settings: Settings) -> None:
        self.target = target
        self.settings = settings
        self.random = random.Random(settings.seed)  # noqa: S311 - data for tests, repeatable on purpose
        self._urls: list[str] = []
        self._stores: list[FileStore] = []
        self._store: FileStore | None = None
        self._raw: RawAccess | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The location of this check, secrets included."""
        if not self._urls:
            self.fresh()
        return self._urls[0]

    @property
    def store(self) -> FileStore:
        """The first handle on the location of this check."""
        if self._store is None:
            self._store = self.open()
        return self._store

    @property
    def capabilities(self) -> Capability:
        """The capabilities that the backend declares."""
        return self.store.capabilities

    @property
    def raw(self) -> RawAccess:
        """White-box access to the location of this check. Raises `NotChecked` if there is none."""
        if self._raw is None:
            self._raw = self.target.raw
        if self._raw is None:
            # A separate handle, because closing it finishes the probe's pending work.
            with self.target.open(self.url) as store:
                directory = directory_of(store)
            if directory is not None:
                self._raw = DirectoryRaw(directory)
        if self._raw is None:
            raise NotChecked(NO_RAW_ACCESS)
        return self._raw

    def need(self, capability: Capability) -> None:
        """Raises `NotDeclared` unless the backend declares this."""
        missing = [str(flag.name) for flag in capability & ~self.capabilities]
        if missing:
            raise NotDeclared(f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not declared")

    def fresh(self) -> str:
        """A new location; the first one is `url`."""
        url = self.target.fresh()
        self._urls.append(url)
        with self.target.open(url) as store:
            # A failure to list is for `list.empty` to report; with its new name, the location is the suite's in either
            # case.
            first = None
            with contextlib.suppress(Exception):
                first = next(iter(store.backend.list_ids()), None)
            if first is not None:
                self._urls.remove(url)
                raise NotEmpty(f"{StoreURL.parse(url)} is not empty; the suite works in empty locations only")
        return url

    def adopt(self, url: str) -> str:
        """Add a location that the check names itself; it is destroyed at the end like the others."""
        assert self.url, "the check's own location comes first"
        self._urls.append(url)
        return url

    def open(self, url: str | None = None, *, remembering: bool = False) -> FileStore:
        """A new handle, closed at the end of the check. Caches metadata only if it is to be `remembering`."""
        store = self.target.open(url or self.url)
        if not remembering:
            store.remember = 0
        with self._lock:
            self._stores.append(store)
        return store

    def put(
        self, data: Any = b"some bytes", filename: str = "a.txt", store: FileStore | None = None, **options: Any
    ) -> FileObject:
        """Create a file, with defaults for arguments that do not matter to the check."""
        options.setdefault("purpose", "user_data")
        # Not "store or self.store": a store that is falsy when empty is for `url.store_truthiness` to report.
        return (self.store if store is None else store).create(filename, data, **options)

    def listed(self, store: FileStore | None = None) -> list[str]:
        """The ids in a listing, by default through a new handle, after the time that listings need to settle."""
        self.settle()
        if store is not None:
            return [f.id for f in store.list()]
        with self.target.open(self.url) as other:
            return [f.id for f in other.list()]

    def leftovers(self) -> list[str] | None:
        """Everything in the storage that belongs to no entry, after all handles are closed; None if that cannot be
        determined.

        The handles are closed because a backend may defer freeing space until then.
        """
        try:
            raw = self.raw
            self.close_handles()
            return raw.leftovers()
        except (NotChecked, NotImplementedError):
            return None

    def fits(self, size: int) -> bool:
        """Whether a file of this size is within the backend's declared limit."""
        most = self.store.backend.limits.max_file_bytes
        return most is None or size <= most

    def settle(self) -> None:
        """Wait for the time by which the backend declares its listings to lag."""
        seconds = self.store.backend.limits.settle_seconds
        if seconds > 0:
            time.sleep(seconds)

    def close(self) -> None:
        """Close every handle and destroy every location."""
        self.close_handles()
        for url in self._urls:
            # A broken backend may raise anything here; the check's own finding is what counts.
            with contextlib.suppress(Exception):
                self.target.destroy(url)

    def close_handles(self) -> None:
        """Close every open handle; `store` is opened again on its next use."""
        stores, self._stores, self._store = self._stores, [], None
        for store in stores:
            with contextlib.suppress(Exception):
                store.close()

    def noise(self, size: int) -> bytes:
        """Random bytes, which compression or text conversion would change; the same for the same seed."""
        return self.random.randbytes(size)


@contextlib.contextmanager
def raw_or_not_checked() -> Iterator[None]:
    """Turns operations that raw access does not support here into `NotChecked`."""
    try:
        yield
    except NotImplementedError as error:
        raise NotChecked(str(error) or "raw access cannot do this here") from error


@contextlib.contextmanager
def elsewhere() -> Iterator[None]:
    """Set local time far from UTC: on a machine that runs in UTC, mistakes with time zones would not show."""
    if not hasattr(time, "tzset"):
        yield
        return
    before = os.environ.get("TZ")
    os.environ["TZ"] = "NPT-05:45"
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()
