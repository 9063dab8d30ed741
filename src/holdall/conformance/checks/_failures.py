"""A storage that fails temporarily: a file that cannot be read must not be reported as absent."""

from __future__ import annotations

from typing import Any

from holdall.backend import Capability
from holdall.conformance._kit import Kit, NotChecked, broken, expect, expect_error
from holdall.conformance._process import Nursery
from holdall.conformance._registry import check
from holdall.errors import FileNotFound


@check("errors.failure_is_not_missing", needs=Capability.SHARED)
def failure_is_not_missing(kit: Kit) -> None:
    """Another process, whose connections are broken and which can open no further file or connection, reads, lists and
    deletes; once it can open them again, it reads.
    """
    warm, cold = kit.put(b"was read before"), kit.put(b"is there")
    content = b"is there".hex()
    kit.settle()
    right: dict[str, Any] = {
        "get": cold.id,
        "get_content": content,
        "open": content,
        "backend.read_meta": kit.store.backend.read_meta(cold.id).hex(),
        "backend.open_data": content,
        "backend.read_metas": [cold.id],
        "list": sorted([warm.id, cold.id]),
    }
    with Nursery(kit.target) as nursery:
        outcome = nursery.one("read_without_descriptors", kit.url, warm=warm.id, file_id=cold.id)
    if outcome.error:
        raise NotChecked(f"a process without descriptors gave no answer: {outcome.error}")
    answers = [answer for answer in outcome.said if "way" in answer]
    for answer in answers:
        did = f"{answer['way']} of a file that is there, in a process that can open no file and no connection more"
        if "FileNotFoundError" in answer.get("types", ()):
            raise broken(did, "what is there, or an error that is not FileNotFound", answer["raised"])
        if "value" in answer and answer["way"] in right:
            expect(answer["value"], right[answer["way"]], did)
        if "value" in answer and answer["way"] == "backend.remove":
            expect_error(FileNotFound, f"{did} returned; get", lambda: kit.open().get(cold.id))
    did = "break all connections, and let the process open none for a while; then get_content"
    if (still := outcome.value("still")) is not None:
        raise broken(f"{did}, {outcome.value('tries')} times", "the content, the last time at least", still)
    expect(outcome.value("again"), b"was read before".hex(), did)
    if all("value" in answer for answer in answers):
        raise NotChecked("it goes on without a descriptor more")
