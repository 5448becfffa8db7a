"""Content and fidelity: what was added is what is read."""

from __future__ import annotations

import json
import math
from typing import Any

from openmem.errors import InvalidRequestError, PayloadTooLargeError
from openmem.types import MemoryRecord

from ..check import check
from ..harness import Harness
from ..probes import declared
from ..verdicts import whole
from ._shared import ALIKE, longest, most, most_listed, rich

BROKEN = ("U+0000 \x00 inside", "\x00", "a lone \ud800 surrogate", "\udfff")
NEEDS = {"scope": "scopes", "external_id": "supports_external_id"}
TYPED: dict[str, Any] = {
    "int": 7,
    "negative": -1,
    "large": 2**53 + 1,
    "largest": 2**63 - 1,
    "least": -(2**63),
    "float": 0.1,
    "tiny": 5e-324,
    "whole": 1.0,
    "minus zero": -0.0,
    "true": True,
    "false": False,
    "text": "7",
    "empty": "",
    "list": [3, 1, 2, "1", [[]], {}],
    "deep": {"a": {"b": {"c": [{"d": None, "e": True, "f": [1, 1.0, "1"]}]}}},
    "a key with spaces": 1,
    "dotted.key": 1,
    "float of an integer": 1e16,
    "floats": [2.0**53, -1e300, 1.7976931348623157e308, 1e-300],
    "spaces": "  outer \n",
    "composed \u00e9": "\u00e9",
    "decomposed e\u0301": "e\u0301",
    "quote'\"key": 1,
    "ключ 🙂": "значение",
    "": "the empty key",
    "deeper": json.loads('[{"in":' * 10 + "7" + "}]" * 10),
}


def verbatim(h: Harness) -> list[str]:
    """Make texts that are easily bent."""
    word = h.marker()
    return [
        f"  outer spaces {word}  ",
        f"line\nbreaks\r\nof\tall kinds\u2028here {word}\u0085",
        f"e\u0301 is not \u00e9 {word}",
        f"日本語 العربية עברית ไทย 🙂👩‍👩‍👧 \U0010ffff \ue000 {word}",
        f"zero\u200bwidth \ufeffbom \u202eright to left {word}",
        f"quotes ' \" ` \\ \\n %s {{x}} ${{y}} <b>&amp;</b> {word}",
        f"'; DROP TABLE memories; -- {word}",
        f'{{"json": [1, null, "{word}"]}}',
        f"\x01\x07\x1b\x7f control characters {word}",
        f"{h.number()}",
        f"0{h.number()}",
        f'"{word}"',
        f"{word}{'A' * 5000}"[: longest(h, 5000)],
    ]


async def _stored(h: Harness, record: MemoryRecord) -> list[tuple[str, MemoryRecord]]:
    """Read a record by each verb that answers with it."""
    listing = await h.memory.list(h.user, limit=most_listed(h))
    listed = [item for item in listing.items if item.id == record.id]
    h.require(listed, "list does not have the record")
    got = await h.memory.get(record.id, user_id=h.user)
    return [("add", record), ("get", got), ("list", listed[0])]


def same(stored: Any, given: Any) -> bool:
    """Compare JSON values by type and sign as well, at every depth: 1, 1.0 and true differ, and so do 0.0 and -0.0."""
    if type(stored) is not type(given):
        return False
    if isinstance(given, float):
        return stored == given and math.copysign(1, stored) == math.copysign(1, given)
    if isinstance(given, dict):
        return stored.keys() == given.keys() and all(same(stored[key], given[key]) for key in given)
    if isinstance(given, list):
        return len(stored) == len(given) and all(map(same, stored, given))
    return bool(stored == given)


def labels(h: Harness) -> list[str]:
    """Make labels whose order, case and characters matter, one of them twice."""
    word = h.marker()
    odd = [f"b{word}", f"a{word}", f"B{word}", f" {word} ", f"a,{word}", f"%{word}", f"b {word}"]
    return [*odd, *(f"{sign}{word}" for sign in ALIKE), odd[1], *(f"{word}{number}" for number in range(30, 0, -1))]


async def _only(h: Harness, record: MemoryRecord) -> None:
    h.require(await h.all_ids() == [record.id], "a refused add was stored")
    h.require(await h.memory.get(record.id, user_id=h.user) == record, "a refused update changed the record")


async def _comes_back(h: Harness, fields: dict[str, Any]) -> None:
    record = await h.add(f"fact {h.marker()}", **fields)
    for verb, stored in await _stored(h, record):
        shown = {**stored.model_dump(exclude_none=True), **(stored.model_extra or {})}
        for name, value in fields.items():
            h.require(
                name in shown and same(shown[name], value),
                f"{verb} answers {name} = {shown.get(name)!r}, not {value!r}",
            )


@check("CON-1", "content is verbatim")
async def keeps_content_verbatim(h: Harness) -> None:
    """Store texts that are easily bent and read them by add, get, list and search."""
    texts = verbatim(h)
    for text in texts:
        record = await h.add(text)
        for verb, stored in await _stored(h, record):
            h.require(stored.content == text, f"{verb} answers {stored.content!r:.80}, not {text!r:.80}")
    hits = await h.memory.search("quotes", h.user, limit=min(len(texts), most(h)))
    shown = [hit.memory.content for hit in hits]
    h.require(shown and set(shown) <= set(texts), f"search answers a content nobody stored: {shown!r:.200}")


@check("CON-1", "an update's content is verbatim too", requires=["update"])
async def keeps_updated_content_verbatim(h: Harness) -> None:
    """Give one record each of the texts in turn."""
    record = await h.add(h.own("at first"))
    for text in verbatim(h):
        await h.memory.update(record.id, user_id=h.user, content=text)
        stored = await h.memory.get(record.id, user_id=h.user)
        h.require(stored.content == text, f"get answers {stored.content!r:.80}, not {text!r:.80}")


@check("CON-2", "blank content is refused and nothing stored")
async def refuses_blank_content(h: Harness) -> None:
    """Add nothing but white space, and update to it."""
    record = await h.add(h.own("fact"))
    for text in ("", " ", "\n\t \r\n", "\u2003\u00a0"):
        await h.refused(h.memory.add(text, h.user), InvalidRequestError)
        if "update" in h.capabilities.verbs:
            await h.refused(h.memory.update(record.id, user_id=h.user, content=text), InvalidRequestError)
    await _only(h, record)


@check("CON-3", "U+0000 and lone surrogates are refused in every text of an add")
async def refuses_broken_text(h: Harness) -> None:
    """Put broken text into each text of an add."""
    record = await h.add(h.own("fact"))
    for text in BROKEN:
        places: list[dict[str, Any]] = [{"content": text}, {"tags": ["fine", text]}, {"source": {"app": text}}]
        places += [{"source": {"ref": text}}, {"kind": text}, {"user_id": text}]
        if h.capabilities.features.supports_metadata:
            places += [{"metadata": {"key": text}}, {"metadata": {text: 1}}, {"metadata": {"deep": [{"x": [text]}]}}]
            places += [{"x-conformance": text}, {"x-conformance": {text: 1}}]
        places += [{name: text} for name in ("scope", "external_id") if declared(NEEDS[name], h.capabilities)]
        for place in places:
            await h.refused(h.memory.add(**{"content": h.own("fact"), "user_id": h.user, **place}), InvalidRequestError)
    await _only(h, record)


@check("CON-3", "U+0000 and lone surrogates are refused in every text of the other verbs")
async def refuses_broken_requests(h: Harness) -> None:
    """Put broken text into queries, ids, users, tags and updates."""
    record = await h.add(h.own("fact"))
    for text in BROKEN:
        calls = [
            h.memory.search(text, h.user),
            h.memory.search("fact", text),
            h.memory.search("fact", h.user, tag=text),
        ]
        calls += [h.memory.list(text), h.memory.list(h.user, tag=text), h.memory.get(text)]
        calls += [h.memory.get(record.id, user_id=text), h.memory.delete(record.id, user_id=text)]
        if "context" in h.capabilities.verbs:
            calls.append(h.memory.context(text, h.user))
        if "update" in h.capabilities.verbs:
            calls += [h.memory.update(record.id, **change) for change in ({"content": text}, {"tags": [text]})]
        for call in calls:
            await h.refused(call, InvalidRequestError)
    await _only(h, record)


@check("CON-4", "tags, source and confidence come back as given")
async def keeps_plain_fields(h: Harness) -> None:
    """Store labels whose order, case and characters matter."""
    await _comes_back(h, {"tags": labels(h), "confidence": 0.1})
    await _comes_back(h, {"source": {"app": "Conformance", "type": "imported", "ref": "file://x y#1?z=ü"}})
    for confidence in (0.0, 1.0, 0.30000000000000004):
        await _comes_back(h, {"confidence": confidence})


@check("CON-4", "scope comes back as given", requires=["scopes"])
async def keeps_the_scope(h: Harness) -> None:
    """Store scopes of ordinary and unusual characters."""
    for path in ("a", "a/b/c", "A/b", "a.b/c_d/e%f", "with space/été/日本"):
        await _comes_back(h, {"scope": h.scope(path)})


@check("CON-5", "metadata comes back as given", requires=["supports_metadata"])
async def keeps_metadata(h: Harness) -> None:
    """Store every type of JSON, deep, and unusual keys."""
    await _comes_back(h, {"metadata": TYPED})
    await _comes_back(h, {"metadata": {}})
    await _comes_back(h, {"metadata": {"z": [3, 1, 2], "a": [True, 1, 1.0, {"flag": False, "zero": 0}]}})


@check("CON-5", "an update's metadata comes back as given", requires=["supports_metadata", "update"])
async def keeps_updated_metadata(h: Harness) -> None:
    """Give a record without metadata every type of JSON by an update."""
    record = await h.add(h.own("fact"))
    given = {key: value for key, value in TYPED.items() if key != "deep"} | {"deep": {"a": [1, 1.0, True, None, "1"]}}
    await h.memory.update(record.id, user_id=h.user, metadata=given)
    stored = (await h.memory.get(record.id, user_id=h.user)).metadata
    h.require(same(stored, given), f"get answers metadata = {stored!r}, not {given!r}")


@check("CON-5", "extensions come back as given", requires=["supports_metadata"])
async def keeps_extensions(h: Harness) -> None:
    """Store extensions of several types, one of them named like nothing we know."""
    await _comes_back(h, {"x-conformance": TYPED, "x-other": [1, "2", None], "x-flag": False, "x-Case-Kept": "v"})


@check("CON-5", "what a caller does with an answer changes nothing stored", requires=["supports_metadata"])
async def answers_are_the_callers_own(h: Harness) -> None:
    """Change an answered record, and what was given to add, and read again."""
    given: dict[str, Any] = {"list": [1], "deep": {"a": 1}}
    record = await h.add(h.own("mine"), metadata=given, tags=[h.own("t")])
    given["list"] = [2]
    given["deep"]["a"] = 2
    (record.metadata or {}).setdefault("deep", {})["b"] = 3
    (record.tags or []).append("u")
    stored = await h.memory.get(record.id, user_id=h.user)
    h.require(stored.metadata == {"list": [1], "deep": {"a": 1}}, f"stored metadata became {stored.metadata}")
    h.require(stored.tags == [h.own("t")], f"stored tags became {stored.tags}")


@check("CON-6", "every supported field comes back together")
async def keeps_every_field_together(h: Harness) -> None:
    """Store a record with everything set and read it by every verb."""
    record = await h.add(f"fact {h.marker()}", **rich(h))
    for verb, stored in await _stored(h, record):
        h.require(stored == record, f"{verb} answers {whole(stored)}, add answered {whole(record)}")
    for name, value in rich(h).items():
        if name not in ("valid_from", "valid_to", "source"):
            shown = {**record.model_dump(), **(record.model_extra or {})}[name]
            h.require(shown == value, f"{name} came back as {shown!r}, not {value!r}")


@check("CON-6", "kind and importance come back as given", requires=["filters"])
async def keeps_kind_and_importance(h: Harness) -> None:
    """Store known and own kinds and the bounds of importance."""
    for kind in ("fact", "preference", "my own word", "Été"):
        await _comes_back(h, {"kind": kind})
    for importance in (0.0, 1.0, 0.123456789):
        await _comes_back(h, {"importance": importance})


@check("CON-7", "content of the longest declared length is stored whole, longer is refused")
async def holds_to_the_declared_length(h: Harness) -> None:
    """Store content at and above the declared length; at ten thousand characters where none is declared."""
    longest = h.capabilities.features.max_content_length or 10_000
    text = (h.marker() + ("é" + "x" * 99) * (longest // 100 + 1))[: longest + 1]
    record = await h.add(text[:longest])
    stored = await h.memory.get(record.id, user_id=h.user)
    h.require(stored.content == text[:longest], f"{longest} characters came back as {len(stored.content)}")
    if h.capabilities.features.max_content_length:
        call = h.memory.add(text, h.user)
        await h.refused(call, PayloadTooLargeError, InvalidRequestError)
        h.require(await h.all_ids() == [record.id], "a refused add was stored")


@check("CON-8", "numbers out of bounds and unknown fields are refused")
async def refuses_what_does_not_fit(h: Harness) -> None:
    """Give fields values that the protocol does not have."""
    record = await h.add(h.own("fact"))
    bad: list[dict[str, Any]] = [{"confidence": value} for value in (-0.01, 1.01, float("nan"), "high")]
    bad += [{"importance": 2}, {"tags": "text"}, {"tags": [""]}, {"tags": [1]}, {"source": {"type": "guessed"}}]
    bad += [{"content": 7}, {"nonsense": 1}, {"contents": "x"}, {"valid_from": "soon"}, {"supersedes": "id"}]
    bad += [{"metadata": [1]}, {"metadata": {"x": {1, 2}}}, {"metadata": {"x": float("inf")}}, {"metadata": {1: 2}}]
    bad += [{"metadata": {"x": [number]}} for number in (2**63, -(2**63) - 1, 10**40)]
    for fields in bad:
        await h.refused(h.memory.add(**{"content": h.own("fact"), "user_id": h.user, **fields}), InvalidRequestError)
    await _only(h, record)


@check("CON-9", "metadata that is too large is refused, also where it grows", requires=["supports_metadata"])
async def metadata_has_a_size(h: Harness) -> None:
    """Store most of what may be, then add more than is left."""
    limits = h.capabilities.limits
    most = (limits and limits.max_metadata_bytes) or 1 << 20
    large = "x" * (most * 3 // 5)
    await h.refused(h.memory.add(h.own("fact"), h.user, metadata={"a": large, "b": large}), PayloadTooLargeError)
    await h.refused(
        h.memory.add(h.own("fact"), h.user, metadata={"a": large}, **{"x-own": large}), PayloadTooLargeError
    )
    record = await h.add(h.own("fact"), metadata={"a": large})
    if "update" in h.capabilities.verbs:
        call = h.memory.update(record.id, user_id=h.user, metadata={"b": large})
        await h.refused(call, PayloadTooLargeError)
    stored = await h.memory.get(record.id, user_id=h.user)
    h.require(stored.metadata == {"a": large}, "the metadata that fits is not stored whole")
    h.require(await h.all_ids() == [record.id], "a refused add was stored")
