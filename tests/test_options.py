"""Options: typed, each mistake explained, and a store's own URL opens it again."""

from __future__ import annotations

import datetime as dt
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ByteSize, Field, SecretStr

import holdall
from holdall import InvalidStoreURL, PluginLoadError, StorageError, StoreURL
from holdall.backend import BackendOptions
from holdall.backends.memory import MemoryBackend
from holdall.errors import StorageUnavailable
from holdall.options import DEFAULT_MAX_BYTES, nearest, split_options


@pytest.fixture(autouse=True)
def fake(put_on_path):
    """The fake distribution, under a scheme for each of its classes."""
    put_on_path(
        {
            "fake": "fake_store:FakeBackend",
            "demanding": "fake_store:Demanding",
            "careless": "fake_store:Careless",
            "greedy": "fake_store:Greedy",
        }
    )


def refused(url, kind=InvalidStoreURL, **options):
    """The message with which a URL is refused."""
    with pytest.raises(kind) as caught:
        holdall.open_store(url, **options)
    return str(caught.value)


# Word for word: what is wrong, what there is, what was probably meant.
MESSAGES = {
    "file:///nowhere?fsycn=false": "unknown option 'fsycn' for file://; did you mean 'fsync'? it has: fsync, max_bytes",
    "memory://?fsync=false": "unknown option 'fsync' for memory://; it has: max_bytes",
    "memory://?max_byte=1": "unknown option 'max_byte' for memory://; did you mean 'max_bytes'? it has: max_bytes",
    "memory://?MAX_BYTES=1": "unknown option 'MAX_BYTES' for memory://; it has: max_bytes",
    "memory://?max_bytes=many": (
        "option 'max_bytes' of memory:// cannot be 'many': should be a size such as 64MiB, or a number of bytes"
    ),
    "memory://?max_bytes=0": "option 'max_bytes' of memory:// cannot be '0': should be greater than 0",
    "memory://?max_bytes=1XB": (
        "option 'max_bytes' of memory:// cannot be '1XB': should be a size such as 64MiB, or a number of bytes"
    ),
    "file:///nowhere?fsync=fasle": (
        "option 'fsync' of file:// cannot be 'fasle': should be true or false; did you mean 'false'?"
    ),
    "fake://?level=hihg": "option 'level' of fake:// cannot be 'hihg': should be 'low' or 'high'; did you mean 'high'?",
    "fake://?colour=Gren": "option 'colour' of fake:// cannot be 'Gren': should be 'red' or 'green'; did you mean 'green'?",
    "fake://?retries=x": ("option 'retries' of fake:// cannot be 'x': should be a whole number"),
    "fake://?retries=-1": "option 'retries' of fake:// cannot be '-1': should be greater than or equal to 0",
    "fake://?retries=http://u:Zq7pw@x": (
        "option 'retries' of fake:// cannot be 'http://u:***@x': should be a whole number"
    ),
    "fake://?pin_token=123": "option 'pin_token' of fake://: Value should have at least 6 items after validation, not 3",
    "fake://?passphrase=Zq7%20pass": "option 'passphrase' of fake://: it is not accepted",
    "fake://?fast=1&retries=9&secret_key=Zq7secret": (
        "the options of fake:// do not fit together: fast goes with few retries, not with key ***"
    ),
    "demanding://": "demanding:// needs the option 'region'; add ?region=… to the URL",
}


@pytest.mark.parametrize(("url", "message"), MESSAGES.items())
def test_a_wrong_option_is_refused_with_a_sentence(url, message):
    """Each mistake has its own message; none shows a secret."""
    assert refused(url) == message


def test_a_long_value_is_shortened():
    """A value of a megabyte does not make a message of a megabyte."""
    assert len(refused("fake://?retries=" + "x" * 1_000_000)) < 300


def test_a_wrong_keyword_is_refused_like_a_wrong_option():
    """Keywords and the query are one set of options."""
    assert refused("memory://", fsync=True) == MESSAGES["memory://?fsync=false"]
    assert refused("fake://", retries=[1]).startswith("option 'retries' of fake:// cannot be [1]: ")


_ITSELF = [None]
_ITSELF[0] = _ITSELF


@pytest.mark.parametrize(
    "value", [b"\xff", bytearray(b"\xff"), [b"\xff"], 10**5000, _ITSELF], ids=lambda v: type(v).__name__
)
@pytest.mark.parametrize("name", ["max_bytes", "fsync", "nonsense"])
def test_a_value_that_has_no_text_is_refused(tmp_path, name, value):
    """The error names the option; nothing is opened."""
    message = refused(tmp_path / "new", **{name: value})
    assert message.startswith(f"option {name!r} of file:// cannot be a {type(value).__name__} that no URL can express")
    assert not (tmp_path / "new").exists()


def test_options_of_a_backend_that_would_be_shown_or_hide_the_stores_are_refused():
    """A plugin learns of its mistake at the first use, not when a log holds its users' secrets."""
    assert "the option 'pin' of careless:// is a secret" in refused("careless://", PluginLoadError)
    assert "has an option 'max_bytes', which every store has already" in refused("greedy://", PluginLoadError)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1.5GiB", 3 * 2**29),
        ("10 MB", 10_000_000),
        ("1kib", 1024),
        (ByteSize(7), 7),
        (None, DEFAULT_MAX_BYTES),
    ],
)
def test_sizes_have_units(text, size):
    """`max_bytes` is a number of bytes or has a unit; None is the default."""
    assert holdall.open_store("memory://", max_bytes=text).max_bytes == size


def test_values_arrive_with_their_types():
    """The backend gets what its `Options` say, not text."""
    store = holdall.open_store(
        "fake://?level=high&colour=green&part_bytes=2KiB&patience=PT90S&fast=yes&secret_key=Zq7secret"
    )
    options = store.backend.options

    assert (options.level, options.colour.value, options.part_bytes) == ("high", "green", 2048)
    assert (options.patience, options.fast) == (dt.timedelta(seconds=90), True)
    assert options.secret_key.get_secret_value() == "Zq7secret"
    assert "Zq7" not in f"{store!r} {store.url} {options!r} {options}"


def test_keywords_win_over_the_query():
    """What the caller says in code counts; None takes an option back to its default."""
    store = holdall.open_store("fake://?retries=1&level=low&fast=true", retries=2, level=None)

    assert (store.backend.options.retries, store.backend.options.level, store.backend.options.fast) == (2, None, True)
    assert dict(store.url.query) == {"retries": "2", "fast": "true"}


@given(st.data())
def test_the_url_of_a_store_opens_it_again(data):
    """However the options were given, `store.url` carries all of them: the backend opened by it gets the same."""
    from fake_store import Colour

    values = {
        "level": st.sampled_from(["low", "high", None]),
        "colour": st.sampled_from([Colour.GREEN, "green"]),
        "part_bytes": st.sampled_from([5, "5KiB", ByteSize(9)]),
        "patience": st.sampled_from([dt.timedelta(days=2, hours=1), dt.timedelta(milliseconds=1), 90, 1.5]),
        "fast": st.booleans(),
        "retries": st.integers(0, 5),
        "endpoint_url": st.none() | st.text(),
        "secret_key": st.none() | st.text().map(SecretStr) | st.text(),
        "max_bytes": st.sampled_from([1, "1GiB", ByteSize(77)]),
    }
    options = {name: data.draw(values[name]) for name in data.draw(st.sets(st.sampled_from(sorted(values))))}
    options = {n: v for n, v in options.items() if "\0" not in str(getattr(v, "get_secret_value", lambda v=v: v)())}
    store = holdall.open_store("fake://name", **options)
    again = holdall.open_store(store.url.reveal())

    assert again.backend.options == store.backend.options
    assert again.max_bytes == store.max_bytes
    assert again.url == store.url
    assert again.backend._space is store.backend._space


@pytest.mark.parametrize(
    ("host", "kind"),
    [("value-error", StorageError), ("os-error", StorageUnavailable), ("unavailable", StorageUnavailable)],
)
def test_what_a_backend_says_when_it_cannot_open_holds_no_secret(host, kind):
    """Any exception of `from_url` becomes a holdall error, and what it quotes of the URL is redacted."""
    with pytest.raises(kind) as caught:
        holdall.open_store(f"fake://user:Zq7p%40ss@{host}?secret_key=Zq7s%2Fcret&endpoint_url=http://a:Zq7x@b")

    assert "Zq7" not in f"{caught.value} {caught.value.backend}"
    assert caught.value.operation == "open"
    assert caught.value.backend == str(StoreURL.parse(f"fake://user:p@{host}?secret_key=x&endpoint_url=http://a:y@b"))


def test_a_store_url_is_taken_as_it_is():
    """A `StoreURL` opens like its text."""
    url = StoreURL.parse("memory://options-test?max_bytes=9")

    assert holdall.open_store(url).max_bytes == 9
    assert holdall.open_store(url).backend._space is holdall.open_store("memory://options-test").backend._space


def test_split_options_makes_both_models():
    """The store's options and the backend's come from one mapping, each in its own model."""
    own, theirs = split_options("memory", {"max_bytes": "2"}, MemoryBackend.Options)

    assert own.max_bytes == 2
    assert theirs == MemoryBackend.Options()


def test_the_nearest_word_is_near():
    """A hint is given for a slip, not for a guess."""
    assert nearest("regoin", ["region", "profile"]) == "region"
    assert nearest("xyz", ["region", "profile"]) is None
    assert nearest("xyz", []) is None


def test_a_traceback_of_a_refused_secret_does_not_show_it():
    """Not even as the cause: pydantic's own error quotes what it refuses."""

    class Options(BackendOptions):
        token: str = Field(min_length=50)

    secret = "hunter2" * 2
    with pytest.raises(InvalidStoreURL) as caught:
        split_options("x", {"token": secret}, Options)

    assert secret not in "".join(traceback.format_exception(caught.value))
