"""What is taken out of botocore's hands means the same as before."""

from __future__ import annotations

import datetime as dt
from email.utils import format_datetime

import pytest
from botocore.utils import parse_timestamp
from botocore.validate import ParamValidationDecorator
from holdall_s3 import S3Backend
from holdall_s3._session import timestamp
from hypothesis import given
from hypothesis import strategies as st
from s3_servers import S3Server

import holdall

TIMES = st.datetimes(min_value=dt.datetime(1970, 1, 1), max_value=dt.datetime(2199, 12, 31)).map(  # noqa: DTZ001
    lambda when: when.replace(tzinfo=dt.UTC, microsecond=when.microsecond // 1000 * 1000)
)


@given(TIMES)
def test_times_of_headers_and_documents(when: dt.datetime) -> None:
    """Both of S3's formats are read to the moment they name."""
    whole = when.replace(microsecond=0)
    assert timestamp(format_datetime(whole, usegmt=True)) == whole
    assert timestamp(when.isoformat(timespec="milliseconds").replace("+00:00", "Z")) == when
    assert timestamp(whole.isoformat().replace("+00:00", "Z")) == whole


@pytest.mark.parametrize(
    "value",
    [
        1420070400,
        "1420070400",
        "20140101",
        "2026-11-25T06:41:21+02:00",
        "2026-11-25T06:41:21",
        "2026-11-25 06:41:21Z",
        "Wed, 25 Nov 2026 06:41:21 +0100",
        "Wednesday, 25-Nov-26 06:41:21 GMT",
        "Wed Nov 25 06:41:21 2026",
    ],
)
def test_other_times_are_read_as_before(value: object) -> None:
    """A server that writes them in another way is understood as botocore understands it."""
    assert timestamp(value) == parse_timestamp(value)


@pytest.mark.parametrize("value", ["", "yesterday", "Wed, 99 Nov 2026 06:41:21 GMT", "2026-99-25T06:41:21Z"])
def test_what_is_no_time(value: str) -> None:
    """Is a ValueError, which the client turns into its own."""
    with pytest.raises(ValueError, match="timestamp"):
        timestamp(value)


def test_the_client_goes_the_short_way(server: S3Server) -> None:
    """Requests say who sends them, with nothing put together anew or looked at twice, and times are read as above."""
    with holdall.open_store(server.url("session")) as store:
        file = store.create("a", b"", purpose="batch")
        backend = store.backend
        assert isinstance(backend, S3Backend)
        answer = backend._client.call("head_object", "look", Key=backend._keys.data(file.id))
        assert answer["LastModified"].tzinfo is dt.UTC
        client = backend._client.filesystem().s3
        assert client.meta.config.user_agent.startswith("holdall-s3/")
        assert not isinstance(client._serializer, ParamValidationDecorator)
        store.delete(file.id)
