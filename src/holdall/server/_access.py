"""Authentication of requests, and access control for servers without API keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine
from typing import Annotated, Any
from urllib.parse import SplitResult, urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from holdall.errors import InvalidRequest
from holdall.server._errors import APIError
from holdall.server._keys import TENANT, Keys

__all__ = ["authenticator", "visitor"]

_bearer = HTTPBearer(auto_error=False, description="An API key.")


def authenticator(keys: Keys) -> Callable[..., Coroutine[Any, Any, str]]:
    """The dependency for `create_router` that accepts requests with one of these keys, and returns the key's tenant."""

    # A function, not a callable object: older versions of FastAPI cannot read the annotations of the latter.
    async def tenant_of(
        request: Request, bearer: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
    ) -> str:
        if bearer is None:
            raise _refused("You didn't provide an API key: send it in the header 'Authorization: Bearer KEY'.")
        tenant = keys.tenant_of(bearer.credentials)
        if tenant is None:
            raise _refused("Incorrect API key provided.")
        request.scope[TENANT] = tenant
        return tenant

    return tenant_of


def _refused(message: str) -> APIError:
    return APIError(401, message, code="invalid_api_key", headers={"WWW-Authenticate": "Bearer"})


def _parts(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        # For example, an opening bracket without its closing one: such a URL has no host.
        return urlsplit("")


def visitor(hosts: Collection[str] | None) -> Callable[[Request], Coroutine[Any, Any, None]]:
    """The dependency of a server without keys, which every page in a browser on the same machine could otherwise send
    forms to.

    It refuses requests from pages of other sites and, with `hosts`, requests for any other host: a site can make its
    own name resolve to this machine (DNS rebinding), and its pages then have the same origin as this server.
    """
    if isinstance(hosts, str):
        # It would contain every part of itself, and so the names of other hosts.
        raise InvalidRequest(f"hosts must be a collection of names, such as {[hosts]!r}, not text")
    names = None if hosts is None else frozenset(name.lower() for name in hosts)

    # A coroutine function, although it awaits nothing: FastAPI would run a plain function on a thread, for each
    # request.
    async def refuse_other_sites(request: Request) -> None:
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        elsewhere = origin is not None and _parts(origin).netloc != host
        if elsewhere or request.headers.get("sec-fetch-site") in {"cross-site", "same-site"}:
            raise APIError(403, "A page of another site may not use this server while it has no API keys.")
        if names is not None and _parts(f"//{host}").hostname not in names:
            raise APIError(403, "This server does not answer to that name while it has no API keys.")

    return refuse_other_sites
