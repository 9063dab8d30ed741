"""Store URLs: what was parsed can be written again, and what is shown holds no secret."""

from __future__ import annotations

import copy
import doctest
import logging
import os
import pathlib
import pickle
from urllib.parse import quote

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests import strategies

import holdall
from holdall import HoldallError, InvalidStoreURL, StoreURL, url
from holdall.url import is_secret_name


def test_the_table_of_the_module_is_true():
    """Every example of the module's text runs as printed."""
    result = doctest.testmod(url)

    assert result.attempted > 5
    assert result.failed == 0


@given(strategies.store_urls())
@example(StoreURL("s3", host="[a]b]"))
@example(StoreURL("s3", host="a:1", port=2))
@example(StoreURL("s3", username="", password=""))
@example(StoreURL("s3", host="a", username="***", password="***", query={"token": "***"}))
def test_a_revealed_url_reads_back_as_the_same(store_url):
    """`reveal` loses nothing, whatever characters the parts hold; so does a pickle."""
    again = StoreURL.parse(store_url.reveal())

    assert again == store_url
    assert hash(again) == hash(store_url)
    assert pickle.loads(pickle.dumps(store_url)) == store_url
    assert copy.deepcopy(store_url) == store_url


@given(strategies.store_urls())
def test_a_shown_url_is_one_line_of_visible_ascii(store_url):
    """What goes into a log cannot break its lines, and looks like one URL."""
    assert str(store_url).isascii()
    assert str(store_url).isprintable()
    assert " " not in str(store_url)


@given(st.permutations(["a=1", "b=2", "c=3"]))
def test_the_order_of_options_makes_no_other_url(items):
    """Equal URLs have equal hashes."""
    one, other = StoreURL.parse("s3://b?a=1&b=2&c=3"), StoreURL.parse("s3://b?" + "&".join(items))

    assert one == other
    assert hash(one) == hash(other)


def spellings(secret):
    """The ways in which a text could show a secret."""
    quoted = {quote(secret, safe=safe) for safe in ("", "/", "/:,")}
    return {secret, *quoted, repr(secret)[1:-1], ascii(secret)[1:-1]}


def assert_hidden(secret, *texts):
    for text in texts:
        for spelling in spellings(secret):
            assert spelling not in text


@given(strategies.secrets, strategies.secret_names)
def test_a_shown_url_holds_no_secret(secret, name):
    """Neither `str` nor `repr` nor a log line nor an f-string shows a password or a secret option."""
    store_url = StoreURL("s3", host="b", username="u", password=secret, query={name: secret, "region": "x"})
    record = logging.LogRecord("holdall", logging.INFO, "", 0, "opening %s, %r", (store_url, store_url), None)

    assert str(store_url) == f"s3://u:***@b?{quote(name, safe='')}=***&region=x"
    assert_hidden(secret, str(store_url), repr(store_url), f"{store_url}", record.getMessage())


@pytest.mark.parametrize("name", ["endpoint_url", "proxy"])
def test_the_password_of_a_url_inside_an_option_is_hidden(name):
    """A proxy's password is a secret although its option's name does not say so."""
    store_url = StoreURL.parse(f"s3://b?{name}=http://user:Zq7secret@proxy:80/x")

    assert str(store_url) == f"s3://b?{name}=http://user:***%40proxy:80/x"
    assert store_url.query[name] == "http://user:Zq7secret@proxy:80/x"


def _message_of(text, **options):
    try:
        holdall.open_store(text, **options)
    except HoldallError as error:
        reduced = pickle.loads(pickle.dumps(error))
        assert str(reduced) == str(error)
        return f"{error} {error!r} {reduced!r} {error.backend}"
    raise AssertionError("this URL must not open")


@given(strategies.secrets, strategies.secret_names, strategies.plain_option_names, st.booleans(), st.data())
def test_no_error_of_opening_holds_a_secret(secret, name, other, encoded, data):
    """Whatever is wrong with a URL, its message shows no secret of it, even if it was not percent-encoded."""
    # Unencoded, these end the value; what then stands behind them is no longer known to be secret.
    assume(encoded or not set(secret) & set("&#%@/:?"))
    written = quote(secret, safe="") if encoded else secret
    template = data.draw(
        st.sampled_from(
            [
                "memory://u:{0}@b",
                "memory://u:{0}@b:port",
                "memory://u:{0}@b?{2}=1",
                "memory://b?{1}={0}",
                "memory://b?{1}={0}&{1}={0}",
                "memory://b?{1}={0}&{2}",
                "memory://b?{1}={0}&{2}=%FF",
                "memory://b?{1}={0}&max_bytes=many",
                "memory:/b?{1}={0}",
                "memory:/u:{0}@b?{2}=1",
                "me_mory://u:{0}@b",
                "/u:{0}@b?x=y",
                "x u:{0}@y://b",
                "nothing://u:{0}@b?{1}={0}",
                "file://u:{0}@localhost/tmp",
                "file:///tmp?{1}={0}",
            ]
        )
    )
    assume(other != "max_bytes")

    assert_hidden(secret, _message_of(template.format(written, quote(name), other)))


@pytest.mark.parametrize(
    "text", ["s3://b?secret=Zq7&tail", "s3://b?secret=Zq7&tail x", "s3://u:77?tail@b", "s3://b?tail@x"]
)
def test_what_may_be_the_end_of_a_secret_is_not_shown(text):
    """A secret whose '&' or '?' was not encoded does not come into the message as the name of an option."""
    with pytest.raises(InvalidStoreURL) as caught:
        StoreURL.parse(text)

    assert "tail" not in str(caught.value)


LOST = (
    "this looks like a URL with a password but has no ://, as in scheme://user:password@host "
    "(write ./ before the name of a directory with ':' and '@')"
)
# The messages are part of the interface: each says what is wrong and how to write it.
BAD = {
    "": "the store URL is empty; give a URL such as file:///var/lib/files, or a path",
    "s3_x://b": "'s3_x' is not a scheme: a scheme is letters, digits, '.' and '-', then '+driver'",
    "\u212abc://b": "'\u212abc' is not a scheme: a scheme is letters, digits, '.' and '-', then '+driver'",
    "a b://c": "what stands before :// is not a scheme: a scheme is letters, digits, '.' and '-', then '+driver'",
    "s3:/bucket": "a URL has two slashes after its scheme: write s3://… (or ./ before the name of a directory with a ':')",
    "memory:": "a URL has two slashes after its scheme: write memory://… (or ./ before the name of a directory with a ':')",
    "s3//u:secret@b": LOST,
    "s3+obstore:u:secret@b": LOST,
    "u:secret@b/c": LOST,
    "/data?fsync=false": (
        "a path takes no options: write file:///data?… for options, or %3F in a file:// URL for a '?' in the name"
    ),
    "file:///a#b": "in a file:// URL a '#' must be written %23",
    "file:///a\nb": "a store URL cannot contain control characters; write them percent-encoded",
    "file:///a%00b": "this file:// URL contains a NUL character (%00)",
    "file:///a%FFb": "the percent-encoding of this file:// URL is not UTF-8",
    "file:///a\udcffb": "the store URL or path is not UTF-8, so it cannot be written as a URL",
    "/a\udcffb": "the store URL or path is not UTF-8, so it cannot be written as a URL",
    "file:///a?fsync": "'fsync' of this file:// URL has no value: options are written name=value",
    "file:///a?=1": "an option of this file:// URL has no value: options are written name=value",
    "file:///a?fsync=1&fsync=0": "option 'fsync' is given twice in this file:// URL; keep one",
    "s3://b?token=***": "option 'token' of this s3:// URL is ***: it was printed with its secret hidden; fill it in",
    "s3://u:***@b": "the password of this s3:// URL is ***: it was printed with its secret hidden; fill it in",
    "s3://[::1": "the IPv6 address of this s3:// URL is not closed by ']'",
    "s3://u:se/cret@b": (
        "the port of this s3:// URL is not a number from 1 to 65535 "
        "(a '/', ':' or '@' inside a name or secret must be percent-encoded)"
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.items())
def test_a_bad_url_is_refused_with_a_sentence(text, message):
    """Each mistake has its own message, word for word."""
    with pytest.raises(InvalidStoreURL) as caught:
        StoreURL.parse(text)

    assert str(caught.value) == message


@pytest.mark.parametrize("port", ["", "0", "65536", "0655350", "8o", "-1", "+1", "١", " 1", "1" * 5000])
def test_only_a_port_is_a_port(port):
    """What is no number from 1 to 65535 in ASCII digits is refused."""
    with pytest.raises(InvalidStoreURL):
        StoreURL.parse(f"s3://host:{port}/a")


@pytest.mark.parametrize("value", [None, 7, b"file:///a", ["file:///a"]])
def test_what_is_no_text_is_refused(value):
    """Bytes and other values are no URL."""
    with pytest.raises(InvalidStoreURL):
        StoreURL.parse(value)


def test_a_path_is_taken_literally(tmp_path, monkeypatch):
    """A path object may have any characters in its name; a text may start with a tilde; both become absolute."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")

    assert StoreURL.parse(pathlib.Path("a%20?#b")) == StoreURL("file", path=f"{tmp_path}/a%20?#b")
    assert StoreURL.parse("~/x") == StoreURL("file", path="/home/somebody/x")
    assert StoreURL.parse("./s3:/x") == StoreURL("file", path=f"{tmp_path}/s3:/x")
    assert StoreURL.parse("./u:p@b") == StoreURL("file", path=f"{tmp_path}/u:p@b")
    assert StoreURL.parse("2:30/u@b") == StoreURL("file", path=f"{tmp_path}/2:30/u@b")
    assert StoreURL.parse(StoreURL.parse("a%20b").reveal()).path == f"{tmp_path}/a%20b"


def test_a_path_of_bytes_is_decoded_as_the_system_does():
    """An `os.PathLike` that gives bytes is a path too."""

    class BytesPath(os.PathLike):
        def __fspath__(self):
            return "/tmp/ä".encode()

    assert StoreURL.parse(BytesPath()).path == "/tmp/ä"


@pytest.mark.parametrize(
    "name",
    ["password", "PASSWD", "secret_access_key", "aws-secret", "token", "sas_token", "sig", "account_key", "key", "sas",
     "api_key", "apikey", "connection_string", "credentials", "auth", "passphrase", "opt.key"],
)  # fmt: skip
def test_these_names_hold_secrets(name):
    """The options by which storages are usually given their credentials are never shown."""
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["region", "endpoint_url", "fsync", "max_bytes", "bucket", "keyboard", "design"])
def test_these_names_hold_none(name):
    """What helps in a message is shown."""
    assert not is_secret_name(name)


def test_a_child_is_one_segment():
    """No name leads out of the location."""
    parent = StoreURL.parse("s3://b/a/?region=x")

    assert parent.child("c/d".replace("/", "%")).path == "/a/c%d"
    for bad in ("", ".", "..", "a/b"):
        with pytest.raises(InvalidStoreURL):
            parent.child(bad)


@given(strategies.secrets)
def test_redact_removes_every_spelling(secret):
    """An error of a library that quotes the URL, encoded or not, loses its secrets."""
    store_url = StoreURL("s3", host="b", username="u", password=secret, query={"token": secret + "x"})
    text = " ".join([secret, *spellings(secret), secret + "x", store_url.reveal(), f"{dict(store_url.query)}"])

    assert_hidden(secret, store_url.redact(text))
