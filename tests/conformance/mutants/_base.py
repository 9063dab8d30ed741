"""What a mutant is: a backend or store that breaks one promise, and the names of the checks that must notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdall.backend import Backend, StagedFile
from holdall.backends.local import LocalBackend
from holdall.backends.memory import MemoryBackend
from holdall.conformance import Target
from holdall.options import split_options
from holdall.store import FileStore
from holdall.url import StoreURL

__all__ = ["MUTANTS", "LocalBackend", "MemoryBackend", "Mutant", "StagedWrapper", "mutant", "target_of"]


@dataclass(frozen=True)
class Mutant:
    """A broken store and the checks it must fail: exactly these among all that run on it."""

    name: str
    kind: type[Backend | FileStore]
    fails: frozenset[str]
    base: type[Backend]
    target: Callable[[str], Target] | None
    categories: frozenset[str]

    @property
    def scheme(self) -> str:
        """The scheme its locations have."""
        return "file" if issubclass(self.base, LocalBackend) else "memory"


MUTANTS: dict[str, Mutant] = {}


def mutant(
    *fails: str,
    base: type[Backend] | None = None,
    target: Callable[[str], Target] | None = None,
    also: tuple[str, ...] = (),
) -> Callable[[type[Any]], type[Any]]:
    """Register a class as a mutant that exactly these checks must catch.

    A `Backend` is opened as it is; a `FileStore` is opened over `base` (memory unless said). The tests run the
    categories of the named checks, and those in `also`, on it; nothing else in them may fail.
    """

    def register(kind: type[Any]) -> type[Any]:
        backend = kind if issubclass(kind, Backend) else (base or MemoryBackend)
        assert kind.__name__ not in MUTANTS, f"two mutants are named {kind.__name__}"
        categories = frozenset({name.partition(".")[0] for name in fails} | set(also))
        MUTANTS[kind.__name__] = Mutant(kind.__name__, kind, frozenset(fails), backend, target, categories)
        return kind

    return register


class MutantTarget(Target):
    """Opens locations with the mutant's class, the way `open_store` opens them."""

    def __init__(self, url: str, subject: Mutant) -> None:
        super().__init__(url)
        self._subject = subject

    def open(self, url: str) -> FileStore:
        parsed = StoreURL.parse(url)
        subject = self._subject
        store_options, options = split_options(parsed.scheme, dict(parsed.query), subject.base.Options)
        backend = subject.base.from_url(parsed, options)
        kind = subject.kind if issubclass(subject.kind, FileStore) else FileStore
        return kind(backend, url=parsed, max_bytes=int(store_options.max_bytes))


def target_of(subject: Mutant, folder: str) -> Target:
    """A target whose locations lie in `folder`, or in memory."""
    url = f"file://{folder}?fsync=false" if subject.scheme == "file" else "memory://mutants"
    return (subject.target or (lambda u: MutantTarget(u, subject)))(url)


class StagedWrapper(StagedFile):
    """Passes everything on to another staged file; mutants override the one method they break."""

    def __init__(self, inner: StagedFile) -> None:
        self.inner = inner

    def write(self, chunk: Any) -> None:
        self.inner.write(chunk)

    def publish(self, meta: bytes) -> None:
        self.inner.publish(meta)

    def discard(self) -> None:
        self.inner.discard()
