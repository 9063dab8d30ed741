"""From a URL to a store."""

from __future__ import annotations

import os
from typing import Any

import platformdirs

from holdall import registry
from holdall.errors import HoldallError, storage_error
from holdall.options import split_options
from holdall.store import FileStore
from holdall.url import StoreURL

__all__ = ["ENVIRONMENT_VARIABLE", "default_url", "open_store"]

ENVIRONMENT_VARIABLE = "HOLDALL_STORE"


def default_url() -> StoreURL:
    """`$HOLDALL_STORE`; if that is unset or empty, a directory of this user's.

    On Linux that is `~/.local/share/holdall/files`.
    """
    text = os.environ.get(ENVIRONMENT_VARIABLE)
    if text:
        return StoreURL.parse(text)
    return StoreURL.parse(platformdirs.user_data_path("holdall", appauthor=False) / "files")


def open_store(url: str | os.PathLike[str] | StoreURL | None = None, **options: Any) -> FileStore:
    """Open the store at `url`; make its location if it is absent.

    `url` is a store URL or the path of a local directory, by default that of `default_url()`. `options` are the same as
    in the URL's query, and win over it. `store.url` opens the same store again.

    Raises `InvalidStoreURL` (and its subclass `UnknownScheme`), `PluginLoadError`, and `StorageError` if the location
    cannot be used.
    """
    parsed = url if isinstance(url, StoreURL) else default_url() if url is None else StoreURL.parse(url)
    backend_class = registry.load(parsed.scheme)
    store_options, backend_options = split_options(parsed.scheme, {**parsed.query, **options}, backend_class.Options)
    parsed = parsed.with_options({name: _as_text(value) for name, value in options.items()})
    try:
        backend = backend_class.from_url(parsed, backend_options)
    except HoldallError as error:
        error.backend = error.backend or str(parsed)
        error.operation = error.operation or "open"
        raise
    except OSError as error:
        raise storage_error(error, "open", backend=str(parsed)) from error
    return FileStore(backend, url=parsed, max_bytes=int(store_options.max_bytes))


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    secret = getattr(value, "get_secret_value", None)
    return str(secret() if secret else value)
