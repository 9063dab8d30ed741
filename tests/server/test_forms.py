"""multipart/form-data: whatever way clients write it, and whatever is wrong with it."""

from __future__ import annotations

import contextlib
import json

import anyio
import httpx
import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st
from tests.server._serving import assert_nothing_is_left

from holdall.server._errors import APIError
from holdall.server._multipart import FormData
from holdall.server._receiving import check_length

EDGE = b"----edge"
KIND = f"multipart/form-data; boundary={EDGE.decode()}"
EXPIRES = {"anchor": "created_at", "seconds": 7200}


def _form(*parts, edge=EDGE, end=b"--\r\n"):
    """A body: of each part the header's parameters (or all its header lines) and the bytes."""
    lines = b""
    for text, data in parts:
        head = text if isinstance(text, bytes) else text.encode()
        if b":" not in head.partition(b"\r\n")[0].partition(b'"')[0]:
            head = b"Content-Disposition: form-data; " + head
        lines += b"--" + edge + b"\r\n" + head + b"\r\n\r\n" + data + b"\r\n"
    return lines + b"--" + edge + end


FILE = ('name="file"; filename="a.bin"', b"hello")
PURPOSE = ('name="purpose"', b"assistants")


def _post(running, body, kind=KIND):
    return httpx.post(f"{running.url}/v1/files", content=body, headers={"Content-Type": kind}, timeout=60)


def _refused(answer, status=400, param=None):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param, error
    return error


def _read(body, *, step):
    """All parts of a body that arrives in pieces of this size."""

    async def pieces():
        for at in range(0, len(body), step):
            yield body[at : at + step]

    async def run():
        return [
            (part.name, part.filename, part.content_type, b"".join([chunk async for chunk in part]))
            async for part in FormData(KIND, pieces())
        ]

    return anyio.run(run)


@pytest.mark.parametrize("size", [5, 700_000])
def test_fields_may_stand_before_or_after_the_file(served, size):
    """In any order, for files that are stored in one call and for those that are stored as they come."""
    fields = [
        PURPOSE,
        ('name="expires_after[anchor]"', b"created_at"),
        ('name="expires_after[seconds]"', b"7200"),
    ]
    file = (FILE[0], b"x" * size)
    for order in (
        [*fields, file],
        [file, *fields],
        [fields[0], file, *fields[1:]],
        [fields[1], file, fields[2], PURPOSE],
    ):
        made = _post(served, _form(*order)).raise_for_status().json()
        assert (made["purpose"], made["bytes"]) == ("assistants", size)
        assert made["expires_at"] == made["created_at"] + 7200
        stored = json.loads((served.root / made["id"] / "meta.json").read_bytes())
        assert (stored["purpose"], stored["expires_at"]) == ("assistants", made["expires_at"])


def test_expires_after_may_be_json(served):
    """As other clients than the SDK send it; but it must be an object with the two members and no others."""
    made = _post(served, _form(PURPOSE, FILE, ('name="expires_after"', json.dumps(EXPIRES).encode()))).json()
    assert made["expires_at"] == made["created_at"] + 7200
    for wrong in (
        b"", b"{", b"7200", b"[]", b'{"seconds": 7200}', b'{"anchor": "created_at"}',
        b'{"anchor": "created_at", "seconds": 3599}', b'{"anchor": "created_at", "seconds": 2592001}',
        b'{"anchor": "created_at", "seconds": 7200.5}', b'{"anchor": "now", "seconds": 7200}',
        b'{"anchor": "created_at", "seconds": 7200, "more": 1}',
    ):  # fmt: skip
        _refused(_post(served, _form(PURPOSE, FILE, ('name="expires_after"', wrong))), param="expires_after")
    for anchor, seconds in ((b"now", b"7200"), (b"created_at", b"1"), (b"created_at", b"many")):
        body = _form(
            PURPOSE, FILE, ('name="expires_after[anchor]"', anchor), ('name="expires_after[seconds]"', seconds)
        )
        _refused(_post(served, body), param="expires_after")
    members = [('name="expires_after[anchor]"', b"created_at"), ('name="expires_after[seconds]"', b"7200")]
    other = ('name="expires_after[second]"', b"7200")
    for fields in (members[:1], members[1:], [other], [*members, other]):
        _refused(_post(served, _form(PURPOSE, FILE, *fields)), param="expires_after")
    assert len(httpx.get(f"{served.url}/v1/files").json()["data"]) == 1


@pytest.mark.parametrize("form", ["expires_after.{}", "expires_after_{}", "expires_after[{}", "expires_after[][{}]"])
def test_expires_after_in_another_spelling_is_refused(served, form):
    """Who sent it believes that the file expires: it is told how the fields are named, and nothing is stored."""
    fields = ((f'name="{form.format(name)}"', str(value).encode()) for name, value in EXPIRES.items())
    refused = _post(served, _form(PURPOSE, *fields, FILE))

    _refused(refused, param="expires_after")
    assert "expires_after[seconds]" in refused.json()["error"]["message"]
    assert httpx.get(f"{served.url}/v1/files").json()["data"] == []


@pytest.mark.parametrize("member", [("anchor", b"created_at"), ("seconds", b"7200"), ("seconds", b"86400")])
def test_expires_after_in_two_ways_is_refused(served, member):
    """As JSON and as fields, whichever stands first and whatever they say: nobody is to guess which one is meant."""
    both = ('name="expires_after"', json.dumps(EXPIRES).encode()), (f'name="expires_after[{member[0]}]"', member[1])
    for fields in (both, both[::-1]):
        refused = _post(served, _form(PURPOSE, *fields, FILE))
        _refused(refused, param="expires_after")
        assert f"expires_after[{member[0]}]" in refused.json()["error"]["message"]
    assert httpx.get(f"{served.url}/v1/files").json()["data"] == []


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('filename="a.txt"', "a.txt"),
        ("filename=a.txt", "a.txt"),
        ('filename="Grüße 日本.txt"', "Grüße 日本.txt"),
        ('filename="a;b=c.txt"', "a;b=c.txt"),
        ('filename="a\\"b\\\\c.txt"', 'a"b\\c.txt'),
        ('filename="a%22b%0D%0Ac.txt"', 'a"b\r\nc.txt'),
        ('filename="100%.txt"', "100%.txt"),
        ('filename="C:\\dir\\a.txt"', "C:\\dir\\a.txt"),
        ('filename="../../etc/passwd"', "../../etc/passwd"),
        ("filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        ("filename*=utf-8'de'Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        ("filename=\"=?utf-8?B?R3LDvMOfZS50eHQ=?=\"; filename*=utf-8''Gr%C3%BC%C3%9Fe.txt", "Grüße.txt"),
        ("filename=\"plain.txt\"; filename*=latin1''pl%E4n.txt", "plain.txt"),
        ('FileName="a.txt"', "a.txt"),
        ('filename="nul\0.txt"', "nul\0.txt"),
    ],
)
def test_a_name_is_kept_as_the_client_meant_it(served, header, name):
    """Escapes of RFC 2183 and of browsers are undone, and a name by RFC 8187 is the better of two; the rest is verbatim,
    and none of it is a path.
    """
    made = _post(served, _form((f'name="file"; {header}', b"x"), PURPOSE)).raise_for_status().json()

    assert made["filename"] == name
    assert sorted(p.name for p in served.root.iterdir()) == [".staging", made["id"]]


@pytest.mark.parametrize("size", [1, 700_000])
def test_the_type_of_a_file_is_its_parts(served, size):
    """What the part says is answered with the bytes; what cannot be a media type is as if it had said nothing."""
    for header, expected in (
        ("Content-Type: text/csv; charset=utf-8", "text/csv; charset=utf-8"),
        ("X-Other: 1", "application/octet-stream"),
        ("Content-Type: grün", "application/octet-stream"),
        ("Content-Type: " + "x" * 300, "application/octet-stream"),
    ):
        head = f'Content-Disposition: form-data; name="file"; filename="a"\r\n{header}'
        made = _post(served, _form((head, b"x" * size), PURPOSE)).raise_for_status().json()
        answer = httpx.get(f"{served.url}/v1/files/{made['id']}/content")
        assert answer.headers["content-type"] == expected


def test_the_headers_of_a_part_may_be_in_any_case(served):
    """And may say that its bytes are sent as they are."""
    for encoding in ("binary", "8BIT", "7bit"):
        head = f'CONTENT-DISPOSITION: Form-Data; name="file"; filename="a"\r\ncontent-transfer-encoding: {encoding}'
        assert _post(served, _form((head, b"x"), PURPOSE)).raise_for_status().json()["filename"] == "a"


@pytest.mark.parametrize(("length", "refused"), [("9" * 5000, True), ("\xb2", False), ("-1", False), ("", False)])
def test_a_length_that_only_some_servers_let_through_is_no_error_of_ours(length, refused):
    """What is a number is too large, however long it is; what is none is left to the server, and the form to its end."""
    request = Request({"type": "http", "headers": [(b"content-length", length.encode("latin-1"))]})
    with pytest.raises(APIError) if refused else contextlib.nullcontext():
        check_length(request, 10**12, "file")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (_form(PURPOSE), "file"),
        (_form(FILE), "purpose"),
        (_form(), "file"),
        (_form(PURPOSE, ('name="file"', b"no filename")), "file"),
        (_form(PURPOSE, ('name="file"; filename=""', b"x")), "file"),
        (_form(PURPOSE, FILE, FILE), "file"),
        (_form(PURPOSE, PURPOSE, FILE), "purpose"),
        (_form(('name="purpose"', b"batch_output"), FILE), "purpose"),
        (_form(('name="purpose"', b"fine_tune"), FILE), "purpose"),
        (_form(('name="purpose"', b"\xff"), FILE), "purpose"),
        (_form(FILE, ('name="purpose"', b"nonsense")), "purpose"),
        # Told before the file has come.
        (_form(('name="purpose"', b"nonsense"), FILE, end=b""), "purpose"),
        (_form(PURPOSE, FILE, ('name="expires_after"', b'{"anchor": "created_at_last", "seconds": 7200}')), "expires_after"),
        (_form(('name="purpose"', b"x" * 70_000), FILE), "purpose"),
        (_form(PURPOSE, (b'name="file"; filename="\xff"', b"x")), "file"),
        (_form(PURPOSE, ("name=\"file\"; filename*=latin1''x", b"x")), "file"),
        (_form(PURPOSE, ('filename="nameless"', b"x")), None),
        (_form(PURPOSE, ("X-Only: 1", b"x")), None),
        (_form(PURPOSE, ('Content-Disposition: form-data; name="file"; filename="a"\r\nContent-Transfer-Encoding: base64', b"aGk=")), None),
        (_form(PURPOSE, FILE, ('name="huge"', b"x" * 70_000)), "huge"),
        (_form(PURPOSE, FILE, *[('name="x"', b"")] * 70), None),
        (_form(PURPOSE, (f'name="file"; filename="{"n" * 40_000}"', b"x")), None),
        (_form(PURPOSE, (f'name="file"; filename="{"n" * 4097}"', b"x")), "file"),
        (_form(PURPOSE, (f'name="file"; filename="{"n" * 4097}"', b"x" * 1_000_000)), "file"),
        (_form(PURPOSE, FILE, end=b""), None),
        (_form(PURPOSE, FILE, end=b"\r\n"), None),
        (_form(PURPOSE, FILE)[: -len(EDGE) - 6], None),
        (_form(PURPOSE, FILE) + b"x" * 300_000, None),
        (b"", None),
        (b"not a form at all", None),
        (b"--" + EDGE + b"\r\nno colon\r\n\r\nx", None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_form_is_told_and_leaves_nothing(served, body, param):
    """400 in the envelope, which names the field; neither a file nor a leftover is there."""
    _refused(_post(served, body), param=param)
    assert_nothing_is_left(served)


@pytest.mark.parametrize(
    "kind",
    ["", "application/json", "multipart/form-data", "multipart/form-data; boundary=", "multipart/mixed; boundary=x",
     "multipart/form-data; boundary=" + "x" * 5000],
)  # fmt: skip
def test_what_is_no_form_is_refused(served, kind):
    """400: this route takes forms alone."""
    _refused(_post(served, _form(PURPOSE, FILE), kind))
    assert_nothing_is_left(served)


def test_other_fields_are_passed_over(served):
    """A client of another service sends fields of its own; they change nothing."""
    made = _post(served, _form(('name="provider"', b"x"), PURPOSE, ('name="extra"; filename="e"', b"y"), FILE)).json()

    assert (made["filename"], made["bytes"]) == ("a.bin", 5)


@given(
    contents=st.lists(
        st.one_of(
            st.binary(max_size=200), st.sampled_from([b"\r\n", b"\r\n--" + EDGE[:-1], b"--" + EDGE, b"\r", b"-" * 9])
        ),
        min_size=1,
        max_size=5,
    ),
    step=st.integers(1, 40),
)
def test_any_bytes_arrive_in_any_pieces(contents, step):
    """Whatever the bytes look like, and wherever the network cuts them: they come out as they went in."""
    parts = [(f'name="{n}"; filename="f"', data) for n, data in enumerate(contents)]

    assert _read(_form(*parts), step=step) == [(str(n), "f", None, data) for n, data in enumerate(contents)]


@given(
    body=st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda b: b"--" + EDGE + b"\r\n" + b)),
    step=st.integers(1, 50),
)
def test_no_body_is_more_than_refused(body, step):
    """Whatever is sent, it is a form or an error to tell; never another exception."""
    try:
        _read(body, step=step)
    except APIError as error:
        assert error.status == 400


def test_parts_that_nobody_reads_are_passed_over():
    """Asking for the next part skips what is left of this one, up to a bound."""

    async def pieces(body):
        yield body

    async def names(body):
        return [part.name async for part in FormData(KIND, pieces(body))]

    assert anyio.run(names, _form(FILE, PURPOSE)) == ["file", "purpose"]
    with pytest.raises(APIError):
        anyio.run(names, _form((FILE[0], b"x" * 70_000), PURPOSE))
