"""botocore's session, without habits that cost each request time."""

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

# The description of S3's calls: a second to read, the same for every session.
_loader: list[Any] = []


def new_session(profile: str | None) -> aiobotocore.session.AioSession:
    """A session of one profile, or of the environment's."""
    session = aiobotocore.session.AioSession(profile=profile)
    # Asking for leave to send a body costs a round trip, and no timeout covers the wait for the answer.
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
    """The server that the environment or `~/.aws/config` names for S3; None: AWS."""
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    # botocore puts this together only for a client that it makes.
    provider = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), client_name="s3")
    found: str | None = provider.provide()
    return found


def user_agent() -> str:
    """What requests say they come from. botocore would put its own together anew, twice for each of them."""
    parts = [f"{name}/{version(name)}" for name in ("holdall-s3", "s3fs", "aiobotocore", "botocore")]
    return " ".join([*parts, f"Python/{platform.python_version()}"])


def timestamp(value: Any) -> dt.datetime:
    """The time that an answer gives. botocore would guess at its format; S3 has two, one in headers, one in XML."""
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
    """Look for an error in an answer that says it is none. For that it is parsed once more, which takes long for a
    listing, and is not needed for one that is seen to be whole.
    """
    body = response_dict.get("body")
    if not isinstance(body, bytes) or not body.rstrip().endswith(b"ListBucketResult>"):
        look(response_dict=response_dict, **more)


class _Parser(AioRestXMLParser):  # type: ignore[misc]
    """Reads listings without asking botocore's description of S3 about each element: that takes longer than a server
    needs to list. Of each object it takes what is asked for here: key, size and time, and the time as it is written.
    """

    def _parse_payload(self, response: Any, shape: Any, member_shapes: Any, final_parsed: dict[str, Any]) -> None:
        if shape.name != "ListObjectsV2Output":
            super()._parse_payload(response, shape, member_shapes, final_parsed)
            return
        root = self._parse_xml_string_to_dom(response["body"])
        # Not every server gives its tags a namespace; all of one answer have the same.
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
