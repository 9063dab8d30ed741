"""botocore's session, without behaviour that slows down each request."""

from __future__ import annotations

import datetime as dt
import functools
import platform
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

import aiobotocore.session
from aiobotocore.parsers import AioResponseParserFactory, AioRestXMLParser
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.handlers import BUILTIN_HANDLERS, add_expect_header
from botocore.utils import parse_timestamp

__all__ = ["configured_endpoint", "new_session", "timestamp", "user_agent"]

# The description of S3's API: it takes a second to load, and is the same for every session.
_loader: list[Any] = []


def new_session(profile: str | None) -> aiobotocore.session.AioSession:
    """A session of a profile, or of the environment."""
    session = aiobotocore.session.AioSession(profile=profile)
    # "Expect: 100-continue" costs a round trip before a body is sent, and no timeout covers the wait for the response.
    session.unregister("before-call.s3", add_expect_header)
    for event, look, *_ in BUILTIN_HANDLERS:
        if event.startswith("before-parse.s3") and look.__name__ == "_handle_200_error":
            session.unregister(event, look)
            session.get_component("event_emitter").register_first(event, functools.partial(_unless_listing, look))
    parsers = _Parsers()
    parsers.set_parser_defaults(timestamp_parser=timestamp)
    session.register_component("response_parser_factory", parsers)
    if _loader:
        session.register_component("data_loader", _loader[0])
    else:
        _loader.append(session.get_component("data_loader"))
    return session


def configured_endpoint(session: aiobotocore.session.AioSession) -> str | None:
    """The endpoint for S3 in the environment or `~/.aws/config`; None: AWS."""
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    # botocore evaluates this only when it creates a client.
    provider = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), client_name="s3")
    found: str | None = provider.provide()
    return found


def user_agent() -> str:
    """The User-Agent of requests. botocore would compose its own twice for each request."""
    parts = [f"{name}/{version(name)}" for name in ("holdall-s3", "s3fs", "aiobotocore", "botocore")]
    return " ".join([*parts, f"Python/{platform.python_version()}"])


def timestamp(value: Any) -> dt.datetime:
    """The time in a response. botocore would guess its format; S3 has two, one in headers, one in XML."""
    try:
        if value[3] == ",":
            return parsedate_to_datetime(value)
        if value[10] == "T" and value[-1] == "Z":
            return dt.datetime.fromisoformat(value)
    except (TypeError, ValueError, LookupError):
        pass
    found: dt.datetime = parse_timestamp(value)
    return found


def _unless_listing(look: Callable[..., None], response_dict: dict[str, Any], **more: Any) -> None:
    """Look for an error in a successful response, except in a complete listing: the check parses the body again, which
    is slow for listings.
    """
    body = response_dict.get("body")
    if not isinstance(body, bytes) or not body.rstrip().endswith(b"ListBucketResult>"):
        look(response_dict=response_dict, **more)


class _Parser(AioRestXMLParser):  # type: ignore[misc]
    """Parses listings without looking up each element in botocore's description of S3, which takes longer than a server
    needs to list. Of each object, it extracts only what is used here: key, size and time, the time as text.
    """

    def _parse_payload(self, response: Any, shape: Any, member_shapes: Any, final_parsed: dict[str, Any]) -> None:
        if shape.name != "ListObjectsV2Output":
            super()._parse_payload(response, shape, member_shapes, final_parsed)
            return
        root = self._parse_xml_string_to_dom(response["body"])
        # Not every server uses an XML namespace; within one response it is the same for all tags.
        space = root.tag[: root.tag.index("}") + 1] if "}" in root.tag else ""
        key, size, changed = f"{space}Key", f"{space}Size", f"{space}LastModified"
        final_parsed["Contents"] = [
            {"Key": node.findtext(key), "Size": int(node.findtext(size)), "LastModified": node.findtext(changed)}
            for node in root.iterfind(f"{space}Contents")
        ]
        for name in ("NextContinuationToken", "EncodingType"):
            if (text := root.findtext(space + name)) is not None:
                final_parsed[name] = text
        final_parsed["IsTruncated"] = root.findtext(f"{space}IsTruncated") == "true"


class _Parsers(AioResponseParserFactory):  # type: ignore[misc]
    def create_parser(self, protocol_name: str) -> Any:
        return _Parser(**self._defaults) if protocol_name == "rest-xml" else super().create_parser(protocol_name)
