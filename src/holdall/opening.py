"""Opening a store from a URL."""

from __future__ import annotations

import json
import os
from typing import Any

import platformdirs
import pydantic_core

from holdall import registry
from holdall._guard import Guard
from holdall.errors import HoldallError, InvalidStoreURL
from holdall.options import split_options
from holdall.store import FileStore
from holdall.url import StoreURL

__all__ = ["ENVIRONMENT_VARIABLE", "as_text", "default_url", "open_store"]

ENVIRONMENT_VARIABLE = "HOLDALL_STORE"


def default_url() -> StoreURL:
    """`$HOLDALL_STORE`; if that is unset or empty, a directory in the user's home.

    On Linux that is `~/.local/share/holdall/files`.
    """
    text = os.environ.get(ENVIRONMENT_VARIABLE)
    if text:
        return StoreURL.parse(text)
    return StoreURL.parse(platformdirs.user_data_path("holdall", appauthor=False) / "files")


def open_store(url: str | os.PathLike[str] | StoreURL | None = None, **options: Any) -> FileStore:
    """Open the store at `url`; create its location if it does not exist.

    `url` is a store URL or the path of a local directory, by default `default_url()`. `options` are the options of the
    URL's query, and override it; None means the option's default. `store.url` opens the same store again.

    Raises `InvalidStoreURL` (and its subclass `UnknownScheme`), `PluginLoadError`, and `StorageError` if the location
    cannot be used. The messages contain no secret of the URL, whatever the backend wrote into them.
    """
    parsed = url if isinstance(url, StoreURL) else default_url() if url is None else StoreURL.parse(url)
    backend_class = registry.load(parsed.scheme)
    given = {name: value for name, value in {**parsed.query, **options}.items() if value is not None}
    parsed = _with_options(parsed, options)
    try:
        store_options, backend_options = split_options(parsed.scheme, given, registry.options_of(backend_class, parsed))
        # The validated values, not those passed in: a number of seconds becomes the time span it was parsed to.
        read = dict(store_options) | dict(backend_options)
        parsed = _with_options(parsed, {n: read[n] for n, v in options.items() if not isinstance(v, str | None)})
        with Guard(str(parsed), "open"):
            backend = backend_class.from_url(parsed, backend_options)
    except HoldallError as error:
        if (safe := parsed.redact(str(error))) != str(error):
            error.args = (safe,)
        raise
    return FileStore(backend, url=parsed, max_bytes=int(store_options.max_bytes))


def _with_options(url: StoreURL, options: dict[str, Any]) -> StoreURL:
    text = {}
    for name, value in options.items():
        try:
            text[name] = as_text(value)
        except ValueError:
            raise InvalidStoreURL(
                f"option {name!r} of {url.scheme}:// cannot be a {type(value).__name__} that no URL can express: "
                "give text, a number, or true or false"
            ) from None
    return url.with_options(text)


def as_text(value: Any) -> str | None:
    """An option's value as text for a URL, such that parsing it gives the same value. `ValueError` if there is none."""
    secret = getattr(value, "get_secret_value", None)
    plain = secret() if secret else pydantic_core.to_jsonable_python(value, fallback=str)
    if plain is None:
        return None
    if isinstance(plain, bytes):
        return plain.decode()
    if isinstance(plain, (dict, list)):
        return json.dumps(plain, ensure_ascii=False)
    return str(plain).lower() if isinstance(plain, bool) else str(plain)
