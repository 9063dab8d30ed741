"""Strategies of hypothesis for the tests: ids, URLs, metadata, files."""

from __future__ import annotations

import string

from hypothesis import strategies as st

from holdall import ids
from holdall.model import FileObject, FilePurpose
from holdall.url import StoreURL, is_secret_name

NOW_MS = 1_800_000_000_000
"""The time in tests with their own clock, in Unix milliseconds: 15 January 2027."""

_SAFE = string.ascii_letters + string.digits + "_-"

texts = st.text(max_size=30)
"""Text of any characters that UTF-8 can encode."""

odd_texts = st.text(
    st.one_of(
        st.sampled_from(list("/:@?&=#%+[]*~ \t\n\"'\\äé漢🎉\x01\x7f")),
        st.characters(exclude_characters="\0", codec="utf-8"),
    ),
    max_size=12,
)
"""Text that consists mostly of characters with a special meaning in URLs, without NUL."""


@st.composite
def minted_ids(draw, ms=None):
    """An id as holdall generates it, within the last 300 days before `NOW_MS`, unless at one of `ms`."""
    at = draw(st.integers(NOW_MS - 300 * 86_400_000, NOW_MS) if ms is None else ms)
    random = draw(st.integers(0, (1 << 74) - 1))
    value = at << 80 | 0x7 << 76 | (random >> 62) << 64 | 0b10 << 62 | (random & ((1 << 62) - 1))
    return f"file-{value:032x}"


foreign_ids = st.one_of(
    st.text(_SAFE, min_size=1, max_size=128).map("file-".__add__),
    st.uuids(version=4).map(lambda u: f"file-{u.hex}"),
).filter(lambda i: ids.is_valid(i) and ids.minted_at_ms(i, NOW_MS) is None)
"""Valid ids that holdall did not generate."""

json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([2**53 + 1, 2**63, 2**64 + 1, -(2**70), 10**400]),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(["\0", "🎉", "\u2028", '"\\/', "\x7f", "\ufeff", "é", "e\u0301"]),
        texts,
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)

metadata = st.dictionaries(texts, json_values, max_size=5)
"""JSON objects."""

purposes = st.one_of(
    st.sampled_from(list(FilePurpose)),
    st.text(string.ascii_lowercase + "-", min_size=1, max_size=20).filter(
        lambda p: p not in {*FilePurpose, *(q.replace("-", "_") for q in FilePurpose)}
    ),
)

_moments = st.integers(0, 2**40)

files = st.builds(
    FileObject,
    id=st.one_of(minted_ids(), foreign_ids),
    filename=texts,
    purpose=purposes,
    bytes=st.integers(0, 2**63 - 1),
    created_at=_moments,
    expires_at=st.none() | _moments,
    content_type=st.none() | st.sampled_from(["text/plain", 'text/plain; charset="utf-8"']),
    sha256=st.none() | st.text("0123456789abcdef", min_size=64, max_size=64),
    metadata=st.none() | metadata,
)

_schemes = st.from_regex(r"[a-z][a-z0-9.-]{0,8}(\+[a-z0-9][a-z0-9.-]{0,8})?", fullmatch=True)
secret_names = st.sampled_from(
    ["password", "secret_access_key", "token", "sas_token", "account-key", "api_key", "Auth"]
)
option_names = st.one_of(odd_texts.filter(bool), secret_names, st.sampled_from(["region", "endpoint_url"]))


@st.composite
def store_urls(draw):
    """A `StoreURL` with odd characters in every part."""
    username = draw(st.none() | odd_texts.filter(lambda t: t != "***"))
    return StoreURL(
        draw(_schemes),
        host=draw(odd_texts | st.sampled_from(["[::1]", "bucket.example"])),
        port=draw(st.none() | st.integers(1, 65535)),
        username=username,
        password=None if username is None else draw(st.none() | odd_texts | st.just("***")),
        path=draw(st.just("") | odd_texts.map("/".__add__)),
        query=draw(st.dictionaries(option_names, odd_texts | st.just("***"), max_size=4)),
    )


# Long, and unlike any word of a message, so that it cannot occur there by chance.
secrets = st.text(st.sampled_from(list("ABCXYZ0189/+=%:@!~'\"\\é🎉 ")), min_size=6, max_size=12).map("Zq7".__add__)
"""Secrets with characters that URLs and messages escape."""

plain_option_names = st.text(string.ascii_lowercase + "_", min_size=1, max_size=8).filter(
    lambda n: not is_secret_name(n)
)
