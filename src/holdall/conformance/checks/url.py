"""URLs: they identify the location and nothing else, and never show a secret."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, get_args

from pydantic import SecretStr

from holdall.conformance._entries import same_ids
from holdall.conformance._kit import Kit, NotChecked, broken, expect, expect_error, show
from holdall.conformance._registry import check
from holdall.conformance._secrets import Secrets, leaks, new_secret, secrets_of
from holdall.errors import FileNotFound, HoldallError, InvalidStoreURL, StorageError
from holdall.options import StoreOptions
from holdall.url import StoreURL, is_secret_name

# Names that become equal to another if they are decoded twice, or not at all, or are used as a pattern.
ODD_NAMES = (
    " with spaces",
    "100%",
    "x%20y",
    "x y",
    "x%2520y",
    "x+y",
    "%41",
    "A",
    "Grüße",
    "Gr%C3%BC%C3%9Fe",
    "日本語",
    "Ελληνικά",
    "[ab]",
    "*",
    "?#",
)

_NO_URL = "the target opens stores that have no url"


def _with(url: str, **options: str) -> str:
    """The location with options added, secrets included."""
    parsed = StoreURL.parse(url)
    return dataclasses.replace(parsed, query=MappingProxyType({**parsed.query, **options})).reveal()


@check("url.roundtrip")
def roundtrip(kit: Kit) -> None:
    """The store's URL, as text, opens a store on the same files. Locations next to and below it are separate."""
    file = kit.put(b"there")
    url = kit.store.url
    if url is None:
        raise NotChecked(_NO_URL)
    text = url.reveal()
    expect(StoreURL.parse(text) == url, True, f"StoreURL.parse(store.url.reveal()) == store.url, where it is {url}")
    if "***" not in str(url):
        expect(str(url), text, "str(store.url), which has no secret, and store.url.reveal()")
    for n in range(3):
        store = kit.open(text)
        expect(store.url, url, f"the url of the store opened with store.url, {n + 1} times over")
        expect(store.get(file.id), file, f"get through the store opened with store.url, {n + 1} times over")
        expect(store.get_content(file.id), b"there", f"get_content through the store opened with {url}")
        back = kit.put(b"%d" % n, store=store)
        expect(kit.store.get_content(back.id), b"%d" % n, "get_content of a file that was created through that store")
        same_ids(sorted(kit.listed()), sorted(kit.listed(store)), "list() through both")
        text = store.url.reveal() if store.url else text
    _apart(kit)


def _apart(kit: Kit) -> None:
    """A location next to this one, whose name begins with the whole name of this one, and a location below this one."""
    below = dataclasses.replace(parsed := StoreURL.parse(kit.url), path=f"{parsed.path.rstrip('/')}/below").reveal()
    stores = {"the location": kit.store}
    held = {"the location": sorted([*kit.listed(), kit.put(b"the location").id])}
    for name, url in (("one whose name begins with its name", _beside(kit, "-too")), ("one below it", below)):
        # A storage may not have such a place: below a file, for example.
        with contextlib.suppress(InvalidStoreURL, StorageError):
            store = kit.open(kit.adopt(url))
            held[name] = [kit.put(name.encode(), store=store).id]
            stores[name] = store
    for name, store in stores.items():
        for other in (o for o in stores if o != name):
            did = f"create in {other}; through the store of {name}"
            foreign = held[other][-1]
            expect_error(FileNotFound, f"{did}, get that file", lambda: store.get(foreign))
            expect_error(FileNotFound, f"{did}, delete that file", lambda: store.delete(foreign))
        store.sweep(older_than=0)
    for name, store in stores.items():
        did = f"create a file in each of {', '.join(stores)}; in {name}"
        same_ids(sorted(kit.listed(store)), held[name], f"{did}, list()")
        expect(store.get_content(held[name][-1]), name.encode(), f"{did}, get_content")


@check("url.unknown_option_rejected_with_suggestion")
def unknown_option_rejected_with_suggestion(kit: Kit) -> None:
    """Every option of the store and of the backend with a letter doubled, and others that are similar to none."""
    if kit.store.url is None:
        raise NotChecked(_NO_URL)
    known = [*StoreOptions.model_fields, *type(kit.store.backend).Options.model_fields]
    for name in known:
        for wrong in (name + name[-1], name[0] + name):
            if wrong not in known:
                error = _rejected(kit, wrong, "1")
                if name not in str(error).replace(wrong, ""):
                    did = f"open the location with ?{wrong}=1"
                    raise broken(did, f"an error that suggests {name!r}", str(error))
    for wrong in ("colour_of_the_shed", "Max_Bytes", "max-bytes", "x"):
        if wrong not in known:
            _rejected(kit, wrong, "1")


def _rejected(kit: Kit, option: str, value: str) -> HoldallError:
    did = f"open the location with ?{option}={value}"
    error: HoldallError = expect_error(InvalidStoreURL, did, lambda: kit.open(_with(kit.url, **{option: value})))
    if option not in str(error):
        raise broken(did, f"an error that names {option!r}", str(error))
    return error


@check("url.secrets_redacted")
def secrets_redacted(kit: Kit) -> None:
    """The secrets in the URL; then a password, an existing secret option and one that does not exist."""
    url = kit.url
    with _collecting(kit) as log:
        _try_all(kit, log, url, secrets_of(url), "the location itself")
        parsed = StoreURL.parse(url)
        if parsed.password is None:
            secret, hidden = new_secret()
            _try_all(
                kit, log, dataclasses.replace(parsed, username="user", password=secret).reveal(), hidden, "a password"
            )
            wrong = dataclasses.replace(parsed, username="user", password=secret, port=1, host=parsed.host or "host")
            _try_all(kit, log, _with(wrong.reveal(), max_byts="1"), hidden, "a password and a misspelt option")
        for option in _secret_options(kit):
            if option not in parsed.query:
                secret, hidden = new_secret()
                _try_all(kit, log, _with(url, **{option: secret}), hidden, f"the option {option!r}")
                _try_all(
                    kit,
                    log,
                    _with(url, **{option: secret, "max_bytes": "many"}),
                    hidden,
                    f"{option!r} and a wrong value",
                )
        for option in ("secret_tokn", "api_key", "password", "proxy"):
            if option not in type(kit.store.backend).Options.model_fields:
                secret, hidden = new_secret()
                value = f"http://user:{hidden['the first half of the secret']}@proxy" if option == "proxy" else secret
                _try_all(
                    kit, log, _with(url, **{option: value}), hidden, f"the option {option!r}, which does not exist"
                )
        for hidden, did, record in log.log:
            leaks(hidden, f"open {did}: what was logged", record)


def _secret_options(kit: Kit) -> list[str]:
    fields: Mapping[str, Any] = type(kit.store.backend).Options.model_fields
    return [
        name
        for name, field in fields.items()
        if is_secret_name(name) or SecretStr in (field.annotation, *get_args(field.annotation))
    ]


class _Collector(logging.Handler):
    """Collects log records, with the secrets and the operation at that time."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.hidden: Secrets = {}
        self.did = ""
        self.log: list[tuple[Secrets, str, str]] = []
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        self.log.append((self.hidden, self.did, self.format(record)))


@contextlib.contextmanager
def _collecting(kit: Kit) -> Iterator[_Collector]:
    """Collects everything that holdall and the backend's package log within the context."""
    collector = _Collector()
    names = {
        "holdall",
        type(kit.store.backend).__module__.partition(".")[0],
        type(kit.store).__module__.partition(".")[0],
    }
    loggers = [(logger, logger.level) for logger in map(logging.getLogger, sorted(names))]
    for logger, _ in loggers:
        logger.addHandler(collector)
        logger.setLevel(logging.DEBUG)
    try:
        yield collector
    finally:
        for logger, level in loggers:
            logger.removeHandler(collector)
            logger.setLevel(level)


def _try_all(kit: Kit, log: _Collector, url: str, hidden: Secrets, what: str) -> None:
    """Open and use it; whatever the result, no text may show the secret."""
    log.hidden, log.did = hidden, f"with {what}"
    did = f"open with {what}"
    try:
        store = kit.open(url)
    except Exception as error:
        leaks(hidden, f"{did}: the {type(error).__name__}", error)
        return
    for name, subject in (("store", store), ("store.url", store.url), ("store.backend", store.backend)):
        leaks(hidden, f"{did}: {name}", subject)
    calls: dict[str, Callable[[], object]] = {
        "get of an absent file": lambda: store.get("file-absent"),
        "get of no id": lambda: store.get("../x"),
        "create over max_bytes": lambda: store.create("a", io.BytesIO(b"12345"), purpose="batch", max_bytes=2),
        "list with a bad cursor": lambda: store.list(after="no id"),
        "list": lambda: store.list(limit=1),
        "delete of an absent file": lambda: store.delete("file-absent"),
        "close": store.close,
        "get after close": lambda: store.get("file-absent"),
    }
    for name, call in calls.items():
        try:
            call()
        except Exception as error:
            leaks(hidden, f"{did}, {name}: the {type(error).__name__}", error)
    leaks(hidden, f"{did}: the closed store", store)


@check("url.percent_and_unicode_paths")
def percent_and_unicode_paths(kit: Kit) -> None:
    """Fifteen locations whose names differ only if they are decoded exactly once, each with a separate file."""
    made = []
    for name in ODD_NAMES:
        url = kit.adopt(_beside(kit, name))
        did = f"a location whose name ends in {name!r}"
        try:
            store = kit.open(url)
            file = kit.put(name.encode(), name, store)
        except Exception as error:
            raise broken(f"open and create in {did}", "no error", show(error)) from error
        if store.url is not None:
            expect(store.url, StoreURL.parse(url), f"the url of {did}")
        made.append((did, url, file))
    for did, url, file in made:
        for text in dict.fromkeys((url, StoreURL.parse(url).reveal())):
            store = kit.open(text)
            kit.settle()
            same_ids([f.id for f in store.list()], [file.id], f"list() of {did}")
            expect(store.get_content(file.id), file.filename.encode(), f"get_content in {did}")


def _beside(kit: Kit, name: str) -> str:
    """A location next to the check's own: its name, continued by this one."""
    parsed = StoreURL.parse(kit.url)
    if not parsed.path.strip("/"):
        return parsed.child(name).reveal()
    return dataclasses.replace(parsed, path=parsed.path.rstrip("/") + name).reveal()


@check("url.store_truthiness")
def store_truthiness(kit: Kit) -> None:
    """When it is new, when it has a file, and when that is deleted."""
    for when in ("a new location", "a location with a file", "a location whose file was deleted"):
        if "with" in when:
            file = kit.put(b"there")
        elif "deleted" in when:
            kit.store.delete(file.id)
        for store in (kit.store, kit.open()):
            expect(bool(store), True, f"bool(store) of {when}")
            expect(bool(store.backend), True, f"bool(store.backend) of {when}")
