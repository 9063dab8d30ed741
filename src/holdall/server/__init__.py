"""The Files API over HTTP, as the official SDK expects it, on top of any store.

`create_app` returns a complete service, `create_router` the routes for an existing FastAPI application.
It needs the extra: `pip install 'holdall[server]'`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from holdall.server._app import create_app
    from holdall.server._keys import Keys
    from holdall.server._metrics import Metrics
    from holdall.server._quota import Quota
    from holdall.server._router import create_router
    from holdall.server._sweeping import sweeping

__all__ = ["Keys", "Metrics", "Quota", "create_app", "create_router", "sweeping"]

_HOME = {
    "Keys": "_keys",
    "Metrics": "_metrics",
    "Quota": "_quota",
    "create_app": "_app",
    "create_router": "_router",
    "sweeping": "_sweeping",
}
_EXTRA = frozenset({"fastapi", "starlette", "uvicorn", "python_multipart", "prometheus_client"})


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'holdall.server' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"holdall.server.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        raise ModuleNotFoundError(
            f"holdall.server needs {error.name}, which is not installed: pip install 'holdall[server]'", name=error.name
        ) from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
