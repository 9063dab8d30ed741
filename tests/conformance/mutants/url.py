"""Mutants of the URL checks: wrong places, swallowed options, secrets told, stores that are false."""

from __future__ import annotations

import dataclasses
import glob
import logging
import os
from collections.abc import Callable, Iterator
from typing import Any, ClassVar
from urllib.parse import unquote

from tests.conformance.mutants._base import MUTANTS, LocalBackend, MemoryBackend, MutantTarget, mutant

from holdall.backend import BackendOptions
from holdall.errors import FileNotFound, InvalidStoreURL
from holdall.options import StoreOptions
from holdall.store import FileStore
from holdall.url import StoreURL


@mutant("url.roundtrip", "url.percent_and_unicode_paths")
class UrlOfTheParent(FileStore):
    """The store's URL is that of the directory above."""

    @property
    def url(self) -> Any:
        url = super().url
        return None if url is None else StoreURL.parse(f"{url.scheme}://{url.host}/elsewhere")


@mutant("url.roundtrip")
class CountsHandles(MemoryBackend):
    """The fourth handle on a location gets a place of its own."""

    handles: ClassVar[dict[str, int]] = {}

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Any:
        count = cls.handles[str(url)] = cls.handles.get(str(url), 0) + 1
        return cls() if count == 4 else super().from_url(url, options)


def _taking(name: str, *, change: Any) -> Any:
    """A target whose stores are opened with a changed URL."""

    class Taking(MutantTarget):
        def open(self, url: str) -> FileStore:
            return super().open(change(url))

    return lambda url: Taking(url, MUTANTS[name])


def _without_unknown(url: str) -> str:
    parsed = StoreURL.parse(url)
    known = {*StoreOptions.model_fields, *LocalBackend.Options.model_fields}
    query = "&".join(f"{k}={v}" for k, v in parsed.query.items() if k in known)
    return url.partition("?")[0] + (f"?{query}" if query else "")


@mutant("url.unknown_option_rejected_with_suggestion", target=_taking("IgnoresUnknownOptions", change=_without_unknown))
class IgnoresUnknownOptions(LocalBackend):
    """What it does not know, it leaves out."""


def _terse(name: str) -> Any:
    class Terse(MutantTarget):
        def open(self, url: str) -> FileStore:
            try:
                return super().open(url)
            except InvalidStoreURL:
                raise InvalidStoreURL("an option of the URL is wrong") from None

    return lambda url: Terse(url, MUTANTS[name])


@mutant("url.unknown_option_rejected_with_suggestion", target=_terse("SaysSomeOptionIsWrong"))
class SaysSomeOptionIsWrong(MemoryBackend):
    """An option is wrong, but which?"""


class _Secretive(MemoryBackend):
    """A memory backend with a token, that takes a user and password too."""

    class Options(BackendOptions):
        """One secret."""

        token: str = ""

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Any:
        backend = cls((url.host + url.path).strip("/") or None)
        backend.url, backend.token = url, options.token
        return backend


@mutant("url.secrets_redacted")
class ReprShowsTheToken(_Secretive):
    """A backend's repr with all its fields."""

    def __repr__(self) -> str:
        return f"ReprShowsTheToken(token={self.token!r})"


@mutant("url.secrets_redacted")
class ErrorShowsTheUrl(_Secretive):
    """The URL, with all that is in it, in an error."""

    def read_meta(self, file_id: str) -> bytes:
        try:
            return super().read_meta(file_id)
        except FileNotFound:
            raise FileNotFound(f"no {file_id} in {self.url.reveal()}", file_id=file_id) from None


@mutant("url.secrets_redacted")
class LogsThePassword(_Secretive):
    """A line in the log at every opening."""

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Any:
        logging.getLogger("holdall.secretive").debug("opening for %s with %s", url.username, url.password)
        return super().from_url(url, options)


@mutant("url.secrets_redacted")
class CauseShowsTheUrl(_Secretive):
    """The error is clean; the one that it was raised from is not."""

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Any:
        if url.password:
            try:
                raise ValueError(f"no users here: {url.username}:{url.password}")
            except ValueError as error:
                raise InvalidStoreURL("this store takes no user") from error
        return super().from_url(url, options)


@mutant("url.secrets_redacted", base=_Secretive)
class ReprOfTheStore(FileStore):
    """The store's repr has the URL it was given."""

    def __repr__(self) -> str:
        return f"<store {self.url.reveal()}>"


@mutant("url.percent_and_unicode_paths")
class DecodesTwice(MemoryBackend):
    """Decodes a path that is decoded."""

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Any:
        return cls(unquote(url.host + url.path).strip("/"))


@mutant("url.percent_and_unicode_paths")
class PlusIsASpace(MemoryBackend):
    """Takes a plus for a space, as forms do."""

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Any:
        return cls((url.host + url.path).replace("+", " ").strip("/"))


@mutant("url.percent_and_unicode_paths")
class AsciiPathsOnly(MemoryBackend):
    """Other letters have no place in its paths."""

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Any:
        return cls((url.host + url.path).strip("/").encode("ascii").decode())


@mutant("url.percent_and_unicode_paths")
class DropsOtherLetters(MemoryBackend):
    """Makes a safe name of every path."""

    @classmethod
    def from_url(cls, url: StoreURL, options: Any) -> Any:
        return cls((url.host + url.path).strip("/").encode("ascii", "ignore").decode())


@mutant("url.store_truthiness")
class StoreHasALength(FileStore):
    """The length of a store is the number of its files."""

    def __len__(self) -> int:
        return len(super().list().data)


@mutant("url.store_truthiness")
class BackendHasALength(MemoryBackend):
    """The length of a backend is the number of its entries."""

    def __len__(self) -> int:
        return len(self._space.ids)


@mutant("url.percent_and_unicode_paths")
class ListsByPattern(LocalBackend):
    """Lists by a pattern below its path, in which brackets are no letters."""

    def list_ids(self, after: str | None = None, before: str | None = None) -> Any:
        found = {os.path.basename(os.path.dirname(path)) for path in glob.glob(f"{self._root}/*/meta.json")}
        return (file_id for file_id in super().list_ids(after, before) if file_id in found)


class _OneTable(MemoryBackend):
    """Keeps the entries of all locations in one table; some statements forget to ask for the location."""

    tables: ClassVar[dict[type, dict[str, Any]]] = {}

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name)
        self.name = name or ""
        self.tables.setdefault(type(self), {})[self.name] = self._space

    def holding(self, file_id: str) -> Any:
        """The location that is taken to hold the entry."""
        table = self.tables[type(self)]
        return next((s for name, s in table.items() if self.takes(name) and file_id in s.entries), self._space)

    def takes(self, name: str) -> bool:
        raise NotImplementedError

    def _entry(self, file_id: str) -> tuple[bytes, bytes]:
        return _in(self.holding(file_id))._entry(file_id)

    def remove(self, file_id: str) -> None:
        _in(self.holding(file_id)).remove(file_id)


def _in(space: Any) -> MemoryBackend:
    backend = MemoryBackend()
    backend._space = space
    return backend


@mutant("url.roundtrip")
class FindsInAnyLocation(_OneTable):
    """`WHERE id = ?`: only the listing asks for the location, too."""

    def takes(self, name: str) -> bool:
        return True


@mutant("url.roundtrip")
class NameIsAPrefix(_OneTable):
    """`WHERE location LIKE ?`: what a location whose name goes on holds is in this one, too."""

    def takes(self, name: str) -> bool:
        return name.startswith(self.name)

    def list_ids(self, after: str | None = None, before: str | None = None) -> Iterator[str]:
        spaces = [space for name, space in self.tables[type(self)].items() if self.takes(name)]
        found = {file_id for space in spaces for file_id in list(space.ids)}
        return (i for i in sorted(found) if (after is None or i > after) and (before is None or i < before))


def _telling(name: str, what: Callable[[StoreURL, set[str]], str]) -> Any:
    """A target that says more of a URL than is good when a store cannot be opened."""

    class Telling(MutantTarget):
        def open(self, url: str) -> FileStore:
            try:
                return super().open(url)
            except InvalidStoreURL as error:
                parsed = StoreURL.parse(url)
                unknown = set(parsed.query) - {*StoreOptions.model_fields, *_Secretive.Options.model_fields}
                raise InvalidStoreURL(f"{error} {what(parsed, unknown)}") from None

    return lambda url: Telling(url, MUTANTS[name])


@mutant(
    "url.secrets_redacted",
    target=_telling("QuotesTheUnknown", lambda url, unknown: f"{[url.query[n] for n in sorted(unknown)]}"),
)
class QuotesTheUnknown(_Secretive):
    """An option that does not exist is shown with its value."""


@mutant(
    "url.secrets_redacted",
    target=_telling("ShowsWhoItIs", lambda url, unknown: f"{url.username}:{url.password}" if unknown else ""),
)
class ShowsWhoItIs(_Secretive):
    """A misspelt option is shown in its URL, with the password in front."""


@mutant(
    "url.secrets_redacted",
    target=_telling("ShowsTheOtherOptions", lambda url, unknown: "" if unknown else f"{dict(url.query)}"),
)
class ShowsTheOtherOptions(_Secretive):
    """A wrong value is shown with all the others."""


def _likeness(url: str) -> str:
    parsed = StoreURL.parse(url)
    query = {name.lower().replace("-", "_"): value for name, value in parsed.query.items()}
    return dataclasses.replace(parsed, query=query).reveal()


@mutant("url.unknown_option_rejected_with_suggestion", target=_taking("TakesDashes", change=_likeness))
class TakesDashes(MemoryBackend):
    """Takes an option in capitals, or with dashes, for the one it is like."""
