"""What is taken out of botocore's hands means the same as before."""

from __future__ import annotations

import asyncio
import datetime as dt
from email.utils import format_datetime
from typing import Any

import botocore.handlers
import pytest
from aiobotocore.parsers import create_parser
from botocore.model import ServiceModel
from botocore.parsers import ResponseParserError
from botocore.utils import parse_timestamp
from botocore.validate import ParamValidationDecorator
from holdall_s3 import S3Backend
from holdall_s3._session import new_session, timestamp
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


LISTING = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult{namespace}><Name>b</Name><Prefix>p/</Prefix><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys>
<EncodingType>url</EncodingType><IsTruncated>{more}</IsTruncated>
<Contents><Key>p/a%C3%BC&amp;</Key><LastModified>2026-11-25T06:41:21.123Z</LastModified><ETag>&#34;0&#34;</ETag>
<Size>70000000000</Size><Owner><ID>o</ID><DisplayName>o</DisplayName></Owner><StorageClass>STANDARD</StorageClass>
</Contents><NextContinuationToken>a/b=&gt;</NextContinuationToken>
<Contents><Key>p/b</Key><LastModified>2026-11-25T06:41:21Z</LastModified><ETag>&#34;0&#34;</ETag><Size>0</Size></Contents>
</ListBucketResult>"""


def _parsed(body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """An answer to ListObjectsV2 by our parser, and by aiobotocore's."""
    session = new_session(None)
    model = ServiceModel(session.get_component("data_loader").load_service_model("s3", "service-2"))
    shape = model.operation_model("ListObjectsV2").output_shape
    answer = {"body": body, "headers": {}, "status_code": 200, "context": {}}
    ours = session.get_component("response_parser_factory").create_parser("rest-xml")
    return asyncio.run(ours.parse(answer, shape)), asyncio.run(create_parser("rest-xml").parse(answer, shape))


@pytest.mark.parametrize("namespace", ["", ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'])
@pytest.mark.parametrize("more", ["true", "false"])
def test_listings_are_read_as_before(namespace: str, more: str) -> None:
    """Of a listing, the short way takes what botocore takes: keys, sizes, times, and how it goes on."""
    ours, theirs = _parsed(LISTING.format(namespace=namespace, more=more).encode())
    for name in ("IsTruncated", "NextContinuationToken", "EncodingType"):
        assert ours[name] == theirs[name]
    for mine, other in zip(ours["Contents"], theirs["Contents"], strict=True):
        read = mine | {"LastModified": timestamp(mine["LastModified"])}
        assert read == {name: other[name] for name in ("Key", "Size", "LastModified")}


def test_no_answer_is_no_empty_listing() -> None:
    """A server that answers with nothing has not said that there are no files."""
    with pytest.raises(ResponseParserError):
        _parsed(b"")


def _looked_at(body: bytes) -> dict[str, Any]:
    session = new_session(None)
    model = ServiceModel(session.get_component("data_loader").load_service_model("s3", "service-2"))
    answer = {"body": body, "headers": {}, "status_code": 200, "context": {}}
    emit = session.get_component("event_emitter").emit
    asyncio.run(
        emit(
            "before-parse.s3.ListObjectsV2",
            operation_model=model.operation_model("ListObjectsV2"),
            response_dict=answer,
            customized_response_dict={},
        )
    )
    return answer


@pytest.mark.parametrize("body", [b"<ListBucketResult><Contents>", b"<Error><Code>SlowDown</Code></Error>"])
def test_half_an_answer_is_tried_again(body: bytes) -> None:
    """A listing with status 200 that is an error or breaks off counts as the server's failure, as in botocore."""
    assert _looked_at(body)["status_code"] == 500


def test_a_whole_listing_is_parsed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look for an error leaves it alone."""
    parsed: list[object] = []
    monkeypatch.setattr(botocore.handlers, "_looks_like_special_case_error", lambda *seen: parsed.append(seen))
    assert _looked_at(LISTING.format(namespace="", more="true").encode() + b"\n")["status_code"] == 200
    assert parsed == []
    _looked_at(b"<CopyObjectResult></CopyObjectResult>")
    assert len(parsed) == 1
