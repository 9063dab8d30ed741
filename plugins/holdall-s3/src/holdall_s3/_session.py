"""botocore's session, without habits that cost each request time."""

from __future__ import annotations

import datetime as dt
import platform
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any

import aiobotocore.session
from botocore.handlers import add_expect_header
from botocore.utils import parse_timestamp

__all__ = ["new_session", "timestamp", "user_agent"]

# The description of S3's calls: a second to read, the same for every session.
_loader: list[Any] = []


def new_session(profile: str | None) -> aiobotocore.session.AioSession:
    """A session of one profile, or of the environment's."""
    session = aiobotocore.session.AioSession(profile=profile)
    # Asking for leave to send a body costs a round trip, and no timeout covers the wait for the answer.
    session.unregister("before-call.s3", add_expect_header)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=timestamp)
    if _loader:
        session.register_component("data_loader", _loader[0])
    else:
        _loader.append(session.get_component("data_loader"))
    return session


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
