"""Arguments: what is accepted is exactly what is kept; everything else is one clear error."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests import strategies

from holdall import FileObject, FilePurpose, InvalidRequest
from holdall import _arguments as arguments
from holdall.model import decode_meta, encode_meta

HUGE = pytest.param(10**5000, id="5000 digits")
"""A number that Python refuses to write as text."""


def refused(check, *values):
    """The message, which must stay readable."""
    with pytest.raises(InvalidRequest) as caught:
        check(*values)
    assert len(str(caught.value)) < 600
    return str(caught.value)


def nested(levels, make):
    value = make(None)
    for _ in range(levels):
        value = make(value)
    return value


@given(strategies.metadata)
def test_metadata_is_copied_exactly(value):
    """Any JSON object comes back equal, of the same types, and not the caller's own."""
    copy = arguments.metadata(value)

    assert repr(copy) == repr(value)
    assert copy is not value


def _itself():
    ring = {}
    ring["again"] = ring
    return ring


def _itself_twice():
    ring = []
    ring += [ring, ring]
    return {"x": ring}


def _laughs():
    value = ["ha"]
    for _ in range(60):
        value = [value, value]
    return {"x": value}


class _Text(enum.StrEnum):
    A = "a"


@pytest.mark.parametrize(
    "value",
    [
        [],
        "text",
        {1: "a"},
        {None: "a"},
        {"a": (1, 2)},
        {"a": {1}},
        {"a": b"bytes"},
        {"a": math.nan},
        {"a": [math.inf]},
        {"a": decimal.Decimal(1)},
        {"a": dt.datetime.now(dt.UTC)},
        {"a": _Text.A},
        {"a": 10**5000},
        {"a": "\ud800"},
        {"\ud800": 1},
        {_Text.A: 1},
        collections.OrderedDict(a=1),
        {"a": collections.OrderedDict(a=1)},
        _itself(),
        _itself_twice(),
        _laughs(),
        {"a": "x" * 65536},
        {"a": nested(arguments.MAX_METADATA_DEPTH, lambda v: [v])},
    ],
)
def test_what_json_would_not_bring_back_is_refused(value):
    """A tuple would come back as a list, NaN not at all, an object that contains itself would never end."""
    refused(arguments.metadata, value)


def test_metadata_fits_to_the_byte():
    """64 KiB as compact JSON are kept, one byte more is not; and so for the depth."""
    size = arguments.MAX_METADATA_BYTES - len('{"a":""}')

    assert arguments.metadata({"a": "x" * size})
    assert "65537 bytes" in refused(arguments.metadata, {"a": "x" * (size + 1)})
    assert arguments.metadata(nested(arguments.MAX_METADATA_DEPTH - 1, lambda v: {"k": v}))
    assert "levels deep" in refused(arguments.metadata, nested(arguments.MAX_METADATA_DEPTH + 1, lambda v: {"k": v}))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_number_of_4000_digits_reads_back(sign):
    """The largest number that is taken is one that every reader here takes; ten times as much is refused."""
    most = sign * (10**4000 - 1)
    file = FileObject(id="file-a", filename="", purpose="x", bytes=0, created_at=0, metadata={"n": most})

    assert arguments.metadata({"n": most}) == {"n": most}
    assert decode_meta(encode_meta(file), "file-a").metadata == {"n": most}
    assert "4000 digits" in refused(arguments.metadata, {"n": most + sign})


def test_the_message_says_where_in_the_metadata():
    """A value that is wrong is found by its path."""
    assert refused(arguments.metadata, {"a": [1, {"b": {2}}]}).startswith("metadata['a'][1]['b'] is a set; JSON has ")


@pytest.mark.parametrize("value", FilePurpose)
def test_a_purpose_is_known_in_both_spellings(value):
    """Text, either spelling, and the member itself mean the same."""
    assert arguments.purpose(value) is value
    assert arguments.purpose(str(value)) is value
    assert arguments.purpose(value.replace("-", "_")) is value


@pytest.mark.parametrize("value", ["", "x" * 65, "ä", "a\nb", "\0", None, 7, b"batch", "\ud800"])
def test_a_purpose_is_short_visible_text(value):
    """It may stand in a header, a path of a URL or a table."""
    refused(arguments.purpose, value)


def test_a_purpose_of_ones_own_stays():
    """Any other visible text is a purpose."""
    assert arguments.purpose("my purpose/v2") == "my purpose/v2"


def test_text_may_be_a_member_of_an_enum():
    """What counts is its text, not its name, and plain text is what is kept."""

    class Own(str, enum.Enum):  # noqa: UP042 - a StrEnum would give its text anyway
        REPORT = "text/x-report"

    kept = [arguments.purpose(Own.REPORT), arguments.filename(Own.REPORT, 20), arguments.content_type(Own.REPORT)]

    assert kept == ["text/x-report"] * 3
    assert {type(text) for text in kept} == {str}


@pytest.mark.parametrize("value", ["", "a" * 256, "text/plain\r\nX: y", "text/plän", 7, b"text/plain"])
def test_a_content_type_is_safe_in_a_header(value):
    """No line break and nothing past ASCII gets into one."""
    refused(arguments.content_type, value)


@given(st.text(max_size=100))
def test_a_filename_is_kept_verbatim(name):
    """Any text that UTF-8 can express, also an empty one or a path."""
    assert arguments.filename(name, 100) == name
    assert arguments.filename(name, len(name)) == name


@pytest.mark.parametrize("value", ["a" * 101, "\ud800", None, 7, b"a"])
def test_a_filename_is_text_of_bounded_length(value):
    """What cannot be written as UTF-8, or is too long, is refused."""
    refused(arguments.filename, value, 100)


@pytest.mark.parametrize("value", [1, 60.0, dt.timedelta(hours=1), 250_000_000_000])
def test_a_lifetime_is_whole_seconds(value):
    """A number or a `timedelta`."""
    assert arguments.lifetime(value) == (value.total_seconds() if isinstance(value, dt.timedelta) else value)


@pytest.mark.parametrize(
    "value",
    [0, -1, 0.5, 1.5, True, "60", math.nan, math.inf, HUGE, 250_000_000_001, dt.timedelta(0), dt.timedelta.max],
)
def test_a_lifetime_is_at_least_a_second_and_ends_before_the_calendar(value):
    """A file that expires at once, after a fraction, or past the year 9999 is a mistake."""
    told = refused(arguments.lifetime, value)

    # The bounds told are those that hold: 0 is none of them.
    assert "whole number of seconds" in told or "from 1 to 250000000000" in told


@pytest.mark.parametrize("value", [-1, -0.001, True, "1", None, math.nan, math.inf, HUGE, dt.timedelta(-1)])
def test_a_span_is_not_negative(value):
    """Seconds from 0 on; no booleans, no text."""
    refused(arguments.seconds, "older_than", value)


@pytest.mark.parametrize("value", [0, -1, 10_001, 1.0, True, "20", HUGE])
def test_a_page_has_1_to_10000_files(value):
    """A limit that is no such number is refused."""
    refused(arguments.page_limit, value)


@pytest.mark.parametrize("value", ["ASC", "", None, 1, "x" * 10_000])
def test_an_order_is_asc_or_desc(value):
    """In these letters."""
    refused(arguments.order, value)


@pytest.mark.parametrize("value", ["", "0" * 63, "0" * 65, "g" * 64, "０" * 64, "0" * 64 + "\n", 7, b"0" * 64])
def test_a_sha256_is_64_hexadecimal_digits(value):
    """In ASCII, of either case."""
    refused(arguments.sha256, value)
    assert arguments.sha256("AB" * 32) == "ab" * 32


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "1", None, pytest.param(-(10**5000), id="-5000 digits")])
def test_a_limit_is_a_positive_whole_number(value):
    """Zero bytes is no limit that anything passes."""
    refused(arguments.limit, value)


@given(st.integers(0, 20), st.integers(-3, 25), st.none() | st.integers(-3, 25))
@example(20, 5, 3)
def test_a_range_is_that_of_a_slice_with_its_end_clipped(size, start, stop):
    """Where it is valid it selects what a slice does; elsewhere it is refused, never reinterpreted."""
    valid = 0 <= start <= size and (stop is None or start <= stop)
    if not valid:
        refused(arguments.byte_range, start, stop, size)
        return
    data = bytes(range(size))
    first, last = arguments.byte_range(start, stop, size)
    assert data[first:last] == data[start:stop]
    assert first <= last <= size


@pytest.mark.parametrize(("start", "stop"), [(True, None), (0, True), (0.0, None), ("0", None), (0, "1")])
def test_a_range_is_whole_numbers(start, stop):
    """Booleans, floats and text are no positions."""
    refused(arguments.byte_range, start, stop, 10)


def test_a_range_past_the_end_of_any_number_is_refused():
    """A start that Python refuses to write as text is refused in words."""
    refused(arguments.byte_range, 10**5000, None, 10)
    assert arguments.byte_range(3, 10**5000, 10) == (3, 10)
