"""Who may ask, and whose files they see."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from holdall.server._errors import APIError
from holdall.server._keys import Keys

__all__ = ["authenticator", "no_other_site"]

_bearer = HTTPBearer(auto_error=False, description="An API key.")


class _Authenticator:
    """A FastAPI dependency: the tenant of the key in `Authorization: Bearer`."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys

    async def __call__(self, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> str:
        if bearer is None:
            raise _refused("You didn't provide an API key: send it in the header 'Authorization: Bearer KEY'.")
        tenant = self._keys.tenant_of(bearer.credentials)
        if tenant is None:
            raise _refused("Incorrect API key provided.")
        return tenant


def authenticator(keys: Keys) -> _Authenticator:
    """The dependency for `create_router` that lets in who has one of these keys, and says which tenant it is."""
    return _Authenticator(keys)


def _refused(message: str) -> APIError:
    return APIError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def no_other_site(request: Request) -> None:
    """Without keys, whatever page is open in a browser on this machine could send forms: refuse other sites' pages."""
    origin = request.headers.get("origin")
    elsewhere = origin is not None and urlsplit(origin).netloc != request.headers.get("host")
    if elsewhere or request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
        raise APIError(403, "A page of another site may not use this server while it has no API keys.")
