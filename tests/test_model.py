"""The model of a file and its form at rest: exact bytes, a lossless round trip, and one error for what is damaged."""

from __future__ import annotations

import copy
import json
import pickle

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import strategies

from holdall import CorruptMetadata, FileObject, FilePage, FilePurpose
from holdall._arguments import MAX_METADATA_DEPTH
from holdall.model import assemble, decode_meta, encode_meta, to_purpose

FILE = FileObject(
    id="file-019b76da700070008000000000000001",
    filename="Übersicht 漢\n.pdf",
    purpose=FilePurpose.FINE_TUNE,
    bytes=12,
    created_at=1_800_000_000,
)

GOLDEN = """\
{
  "id": "file-019b76da700070008000000000000001",
  "object": "file",
  "filename": "Übersicht 漢\\n.pdf",
  "purpose": "fine_tune",
  "bytes": 12,
  "created_at": 1800000000,
  "status": "uploaded"
}"""

GOLDEN_ALL = (
    GOLDEN.removesuffix("\n}")
    + """,
  "expires_at": 1800000060,
  "content_type": "application/pdf",
  "sha256": "ab",
  "metadata": {
    "a": [
      1,
      null
    ],
    "é": {}
  }
}"""
)


def changed(**fields):
    """`FILE`, otherwise."""
    return FILE.model_copy(update=fields)


def test_the_form_at_rest_is_exact():
    """`meta.json` has these bytes: other programs, and other versions of this one, read them."""
    full = changed(
        expires_at=1_800_000_060, content_type="application/pdf", sha256="ab", metadata={"a": [1, None], "é": {}}
    )

    assert encode_meta(FILE).decode() == GOLDEN
    assert encode_meta(full).decode() == GOLDEN_ALL


@given(strategies.files)
def test_what_is_written_reads_back_the_same(file):
    """Any file, with any JSON metadata, survives: huge integers, floats to the last bit, NUL, emoji."""
    raw = encode_meta(file)
    again = decode_meta(raw, file.id)

    assert again == file
    assert repr(again.metadata) == repr(file.metadata)
    assert type(again.purpose) is type(file.purpose)
    assert json.loads(raw)["id"] == file.id


@given(strategies.files)
def test_a_file_that_was_assembled_is_like_one_that_was_validated(file):
    """Whatever is done with it: it compares, copies, pickles, and writes itself the same, with the same defaults."""
    fields = {name: value for name, value in file.__dict__.items() if value is not None}
    made = assemble(fields)

    assert made == file == FileObject(**fields)
    assert list(made.__dict__) == list(file.__dict__), "the order of the document"
    assert made.model_dump() == file.model_dump()
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == file
    assert repr(made) == repr(file)
    with pytest.raises(pydantic.ValidationError):
        made.bytes = 1


def test_metadata_at_the_limit_of_depth_reads_back():
    """What `create` accepts is not too deep for any reader here."""
    deep = {}
    for _ in range(MAX_METADATA_DEPTH):
        deep = {"x": deep}

    assert decode_meta(encode_meta(changed(metadata=deep)), FILE.id).metadata == deep


@pytest.mark.parametrize("purpose", FilePurpose)
def test_both_spellings_of_a_purpose_are_read(purpose):
    """At rest it is snake case, on the wire OpenAI's; either is understood everywhere."""
    snake = purpose.replace("-", "_")

    assert json.loads(encode_meta(changed(purpose=purpose)))["purpose"] == snake
    for spelling in (purpose.value, snake):
        raw = GOLDEN.replace('"fine_tune"', f'"{spelling}"').encode()
        assert decode_meta(raw, FILE.id).purpose is purpose
        assert to_purpose(spelling) is purpose


def test_a_purpose_nobody_knows_stays_text():
    """A purpose from a newer program is kept as it is, never an error."""
    raw = GOLDEN.replace('"fine_tune"', '"a-new_one"').encode()
    file = decode_meta(raw, FILE.id)

    assert file.purpose == "a-new_one"
    assert type(file.purpose) is str
    assert encode_meta(file) == raw


def test_keys_nobody_knows_are_ignored():
    """A newer program may write more keys, of any shape."""
    raw = GOLDEN.replace('"object"', '"shards": [{"id": 1}], "bytes_": -1, "object"').encode()

    assert decode_meta(raw, FILE.id) == FILE


def test_optional_keys_may_be_null_or_absent():
    """A writer that spells out what is not set means the same."""
    nulls = ', "expires_at": null, "content_type": null, "sha256": null, "metadata": null\n}'

    assert decode_meta((GOLDEN.removesuffix("\n}") + nulls).encode(), FILE.id) == FILE


@pytest.mark.parametrize("end", range(len(GOLDEN.encode())))
def test_a_truncated_document_is_corrupt(end):
    """Cut after any byte, it is never taken for a whole one."""
    with pytest.raises(CorruptMetadata) as caught:
        decode_meta(GOLDEN.encode()[:end], FILE.id)

    assert caught.value.file_id == FILE.id


def _without(key):
    return json.dumps({k: v for k, v in json.loads(GOLDEN).items() if k != key})


def _with(**values):
    return json.dumps(json.loads(GOLDEN) | values)


DAMAGED = {
    "invalid UTF-8": GOLDEN.encode().replace("Ü".encode(), b"\xff"),
    "UTF-16": GOLDEN.encode("utf-16"),
    "byte order mark": GOLDEN.encode("utf-8-sig"),
    "zeros": b"\0" * 200,
    "something behind it": (GOLDEN + "{}").encode(),
    "no object": b"[]",
    "text": b'"file"',
    "another id": _with(id="file-other").encode(),
    "no id": _without("id").encode(),
    "no filename": _without("filename").encode(),
    "no purpose": _without("purpose").encode(),
    "no bytes": _without("bytes").encode(),
    "no created_at": _without("created_at").encode(),
    "id is a number": _with(id=1).encode(),
    "filename is null": _with(filename=None).encode(),
    "purpose is a list": _with(purpose=["batch"]).encode(),
    "bytes is text": _with(bytes="12").encode(),
    "bytes is a float": _with(bytes=12.0).encode(),
    "bytes is true": _with(bytes=True).encode(),
    "bytes is negative": _with(bytes=-1).encode(),
    "bytes is past 64 bits": _with(bytes=2**63).encode(),
    "created_at is negative": _with(created_at=-1).encode(),
    "created_at has 5000 digits": GOLDEN.replace("1800000000", "9" * 5000).encode(),
    "expires_at is text": _with(expires_at="never").encode(),
    "metadata is a list": _with(metadata=[]).encode(),
    "NaN in metadata": _with(metadata={"x": [float("nan")]}).encode(),
    "infinity in metadata": _with(metadata={"x": {"y": float("-inf")}}).encode(),
    "a float past infinity": _with(metadata={"x": 7}).replace('"x": 7', '"x": 1e999').encode(),
    "NaN for bytes": _with(bytes=float("nan")).encode(),
    "deep": _with(metadata={"x": 7}).replace('"x": 7', '"x": ' + "[" * 100_000 + "]" * 100_000).encode(),
    "deep and open": b"[" * 1_000_000,
    "deep in an unknown key": _with(zzz=7).replace('"zzz": 7', '"zzz": ' + "[" * 9999 + "]" * 9999).encode(),
    "half a surrogate pair": GOLDEN.replace("Ü", "\\ud800").encode(),
    "two ids, the last another": GOLDEN.replace('"object"', '"id": "file-b", "object"').encode(),
}


@pytest.mark.parametrize("raw", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_document_is_corrupt(raw):
    """Whatever is wrong: one error, in a short sentence that names the file and says what to do."""
    with pytest.raises(CorruptMetadata) as caught:
        decode_meta(raw, FILE.id)

    assert str(caught.value).startswith(f"the metadata of {FILE.id} cannot be read (")
    assert str(caught.value).endswith("; restore its meta.json from a backup or delete the file")
    assert len(str(caught.value)) < 400


@given(st.integers(0, len(GOLDEN_ALL.encode()) - 1), st.binary(max_size=3), st.integers(0, 3))
def test_damage_anywhere_is_corrupt_or_harmless(at, replacement, width):
    """A few bytes changed anywhere give `CorruptMetadata` or a valid file with the same id, nothing else."""
    raw = GOLDEN_ALL.encode()
    try:
        file = decode_meta(raw[:at] + replacement + raw[at + width :], FILE.id)
    except CorruptMetadata:
        return
    assert file.id == FILE.id
    assert decode_meta(encode_meta(file), FILE.id) == file


@given(st.binary())
def test_noise_is_corrupt(raw):
    """No bytes at all make another error."""
    with pytest.raises(CorruptMetadata):
        decode_meta(raw, FILE.id)


def test_the_last_of_two_equal_keys_counts():
    """As in JSON readers everywhere, a duplicate is no damage; which one counts is fixed."""
    raw = GOLDEN.replace('"bytes": 12', '"bytes": 1, "bytes": 12').encode()

    assert decode_meta(raw, FILE.id) == FILE


def test_a_file_cannot_be_changed():
    """Neither attributes nor deletion."""
    with pytest.raises(pydantic.ValidationError):
        FILE.filename = "other"
    with pytest.raises(pydantic.ValidationError):
        del FILE.filename


def test_files_are_equal_by_value_and_usable_as_keys():
    """Two reads of one file are the same key; a differing field makes them unequal."""
    again = decode_meta(GOLDEN.encode(), FILE.id)

    assert again == FILE
    assert {FILE: 1}[again] == 1
    assert {changed(metadata={"a": []}): 1}[changed(metadata={"a": []})] == 1
    assert changed(bytes=13) != FILE


def test_the_schema_describes_what_is_sent():
    """A service can publish the models' JSON schema: its fields, their types and bounds."""
    schema = FileObject.model_json_schema()
    fields = schema["properties"]

    assert schema["type"] == "object"
    assert schema["required"] == ["id", "filename", "purpose", "bytes", "created_at"]
    assert list(fields) == list(FileObject.model_fields)
    assert (fields["bytes"]["type"], fields["bytes"]["minimum"]) == ("integer", 0)
    assert {"type": "null"} in fields["expires_at"]["anyOf"]
    assert fields["purpose"]["anyOf"] == [{"$ref": "#/$defs/FilePurpose"}, {"type": "string"}]
    assert schema["$defs"]["FilePurpose"]["enum"] == [p.value for p in FilePurpose]

    page = FilePage.model_json_schema()
    assert page["properties"]["data"]["items"] == {"$ref": "#/$defs/FileObject"}
    assert json.loads(json.dumps(page)) == page


def test_a_page_is_its_files_and_the_apis_form():
    """It iterates, has a length, and dumps as the Files API lists."""
    page = FilePage(data=[FILE], has_more=True, first_id=FILE.id, last_id=FILE.id)

    assert list(page) == [FILE]
    assert len(page) == 1
    dumped = page.model_dump(mode="json", exclude_none=True)
    assert dumped["object"] == "list"
    assert dumped["data"][0]["purpose"] == "fine-tune"
    assert FilePage.model_validate_json(page.model_dump_json()) == page
