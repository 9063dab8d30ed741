"""holdall stores uploaded files, each with its metadata, on any storage that can be named by URL.

>>> import holdall
>>> store = holdall.open_store("memory://")
>>> file = store.create("hello.txt", b"hello", purpose="assistants")
>>> store.get_content(file.id)
b'hello'

The names below are all that most applications need. In addition, `holdall.backend` is for authors of backends,
`holdall.conformance` tests backends, `holdall.wrappers` adds behaviour around a backend, and `holdall.server` serves
the Files API over HTTP.
Names are loaded on first use, so that `import holdall` is cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdall.aio import AsyncFileStore, open_async_store
    from holdall.backend import Backend, Capability, StagedFile
    from holdall.errors import (
        AccessDenied,
        CorruptMetadata,
        FileNotFound,
        FileTooLarge,
        HoldallError,
        IntegrityError,
        InvalidFileId,
        InvalidRequest,
        InvalidStoreURL,
        NotSupported,
        PluginLoadError,
        StorageError,
        StorageFull,
        StorageUnavailable,
        UnknownScheme,
    )
    from holdall.model import FileObject, FilePage, FilePurpose
    from holdall.opening import open_store
    from holdall.store import FileStore
    from holdall.url import StoreURL

__version__ = "0.1.0"

_HOME = {
    "AsyncFileStore": "aio",
    "open_async_store": "aio",
    "Backend": "backend",
    "Capability": "backend",
    "StagedFile": "backend",
    "AccessDenied": "errors",
    "CorruptMetadata": "errors",
    "FileNotFound": "errors",
    "FileTooLarge": "errors",
    "HoldallError": "errors",
    "IntegrityError": "errors",
    "InvalidFileId": "errors",
    "InvalidRequest": "errors",
    "InvalidStoreURL": "errors",
    "NotSupported": "errors",
    "PluginLoadError": "errors",
    "StorageError": "errors",
    "StorageFull": "errors",
    "StorageUnavailable": "errors",
    "UnknownScheme": "errors",
    "FileObject": "model",
    "FilePage": "model",
    "FilePurpose": "model",
    "open_store": "opening",
    "FileStore": "store",
    "StoreURL": "url",
}

__all__ = [
    "AccessDenied",
    "AsyncFileStore",
    "Backend",
    "Capability",
    "CorruptMetadata",
    "FileNotFound",
    "FileObject",
    "FilePage",
    "FilePurpose",
    "FileStore",
    "FileTooLarge",
    "HoldallError",
    "IntegrityError",
    "InvalidFileId",
    "InvalidRequest",
    "InvalidStoreURL",
    "NotSupported",
    "PluginLoadError",
    "StagedFile",
    "StorageError",
    "StorageFull",
    "StorageUnavailable",
    "StoreURL",
    "UnknownScheme",
    "open_async_store",
    "open_store",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'holdall' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"holdall.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
