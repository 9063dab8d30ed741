"""No secret of a URL is shown, however wrong it is, and nothing else is hidden."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    "arguments",
    [
        ["-s", "{url}", "ls"],
        ["--store={url}", "ls"],
        ["ls", "--store={url}"],
        ["ls", "{url}"],
        ["--debug", "ls", "-s", "{url}"],
        ["copy", "{url}", "file:///nowhere?fsycn=0"],
        ["copy", "memory://", "memory://", "{url}"],
        ["{url}"],
        ["cat", "file-1", "--range={url}"],
        ["--{url}"],
    ],
)
@pytest.mark.parametrize(
    "secret_url",
    [
        "file://user:hun%2Fter22@host/x",
        "file:///x?secret_access_key=hun%2Fter22",
        "nosuch://key:hun%2Fter22@b/c?token=hun%2Fter22",
        "nosuch://key:hun/ter22@b:port",
    ],
)
def test_no_secret_of_a_url_is_shown(run, arguments, secret_url):
    """No error, whether of the store or of the command line, and no traceback shows a secret of a URL."""
    done = run(*(argument.format(url=secret_url) for argument in arguments))

    assert done.code == 2
    assert done.errors.startswith(("holdall: ", "Traceback"))
    assert "ter22" not in done.errors + done.text


def test_no_secret_of_the_environment_is_shown(run, monkeypatch):
    """The same holds for a URL in $HOLDALL_STORE."""
    monkeypatch.setenv("HOLDALL_STORE", "file://user:hunter22@host/x")
    done = run("--debug", "ls")

    assert done.code == 2
    assert "hunter22" not in done.errors


@pytest.mark.parametrize(
    "mistyped",
    [
        "s3:/user:hun/ter22@b",
        "s3//user:hunter22@b",
        "S3:\\\\user:hunter22@b/c",
        "s3;//user:hunter22@b",
        "s3+obstore:user:hunter22@b",
        "user:hunter22@b",
        "user:hunter22:x@b",
        " s3://user:hunter22@b",
        "-ns3://user:hunter22@b",
        "s3:/b?region=x&secret=hun%2Fter22",
        "b?token=hunter22@b",
        "secret_access_key=hun/ter22",
        "C:/user:hunter22@b",
    ],
)
@pytest.mark.parametrize("arguments", [["ls", "{}"], ["cat", "--range={}", "file-1"], ["--debug", "put", "{}"], ["{}"]])
def test_nor_is_one_of_what_was_meant_for_a_url(run, url, arguments, mistyped):
    """Without its `://`, or with something wrong before it, whichever command repeats it."""
    done = run("-s", url, *(argument.format(mistyped) for argument in arguments))

    assert done.code
    assert done.errors.startswith(("holdall: ", "Traceback"))
    assert "ter22" not in done.errors + done.text


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.org",
        "Ann <ann@example.org>",
        "/data/10:30/ann@work.txt",
        "../10:30/ann@work.txt",
        "a?b=c",
        "a:b",
        "x=y",
    ],
)
def test_what_is_no_url_stays_readable(run, url, text):
    """An address of mail, or a path with signs that a URL has as well, is repeated as it is."""
    done = run("-s", url, "put", text)

    assert (done.code, done.errors) == (1, f"holdall: {text}: No such file or directory\n")
