"""What several groups of checks need: the declared modes and features, reads by list and search alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from openmem.types import BatchResult, MemoryRecord

from ..filter_table import supported
from ..harness import Harness

MODES = ("hybrid", "vector", "keyword")
"""Best first: the order in which a default is chosen."""

ALIKE = ("é", "e\u0301", "e", "ß", "ss", "Ａ", "A")
"""Signs that are one by normalisation, by case folding or without accents, and differ by their code points."""


def modes(h: Harness) -> list[str]:
    """List the declared search modes, best first."""
    return [mode for mode in MODES if getattr(h.capabilities.features, f"{mode}_search")]


def declared(h: Harness) -> set[str]:
    """Name the declared features."""
    features = h.capabilities.features.model_dump()
    return {name for name, value in features.items() if value not in (None, False, "none")}


def by_test_words(h: Harness) -> bool:
    """Tell whether vectors are those of the predictable embedder, which counts words."""
    embedding = h.capabilities.features.embedding
    return embedding is not None and embedding.model.startswith("test-words")


def rich(h: Harness) -> dict[str, Any]:
    """Give a value to every field that the provider supports, but those that tie a record to others."""
    fields = {
        "scope": h.scope("rich"),
        "tags": [h.own("red"), h.own("blue")],
        "source": {"app": "conformance", "type": "explicit", "ref": "line/7"},
        "confidence": 0.25,
        "kind": "preference",
        "importance": 0.75,
        "session": h.own("session"),
        "valid_from": "2020-01-02T03:04:05.678901Z",
        "valid_to": "2999-12-31T23:59:59Z",
        "metadata": {"topic": "billing", "deep": {"list": [1, "two", None], "flag": False}},
        "pinned": True,
        "x-team": {"name": "core", "size": 3},
    }
    return supported(fields, declared(h))


def most(h: Harness) -> int:
    """Say how many results a search may ask for."""
    limits = h.capabilities.limits
    return min(100, (limits and limits.max_search_results) or 100)


def most_listed(h: Harness) -> int:
    """Say how many records a list may ask for."""
    limits = h.capabilities.limits
    return min(500, (limits and limits.max_list_results) or 500)


def longest(h: Harness, length: int) -> int:
    """Cut a length of content to what the provider declares."""
    return min(length, h.capabilities.features.max_content_length or length)


async def found(h: Harness, query: str, **selection: Any) -> list[str]:
    """Search for as many as there may be and return the ids, best first."""
    return h.ids(await h.memory.search(query, h.user, **{"limit": most(h), **selection}))


async def reads(
    h: Harness,
    query: str,
    among: Iterable[MemoryRecord],
    expected: Iterable[MemoryRecord],
    what: str,
    *,
    selection: Mapping[str, Any],
    all_expected: bool = False,
    none_expected: bool = False,
    by: Sequence[str | None] = (None,),
) -> None:
    """Hold list and search against the same expected records; the query is a word of every record.

    by: the modes that are searched in; None is the default one.
    """
    seeded, wanted = [each.id for each in among], [each.id for each in expected]
    answers = {"list": await h.all_ids(**selection)}
    for mode in by:
        answers[f"{mode} search" if mode else "search"] = await found(h, query, mode=mode, **selection)
    for verb, ids in answers.items():
        h.expect(
            ids,
            wanted,
            among=seeded,
            what=f"{verb} {what}",
            all_expected=all_expected,
            none_expected=none_expected,
        )


async def add_all(h: Harness, items: Sequence[Any], user_id: str | None = None) -> list[BatchResult]:
    """Add items in as few batches as the provider declares to take, and return all answers."""
    return await _in_batches(h, h.memory.add_many, items, user_id or h.user)


async def delete_all(h: Harness, ids: Sequence[str]) -> list[BatchResult]:
    """Delete in as few batches as the provider declares to take, and return all answers."""
    return await _in_batches(h, h.memory.delete_many, ids, h.user)


async def _in_batches(h: Harness, verb: Any, items: Sequence[Any], user_id: str) -> list[BatchResult]:
    limits = h.capabilities.limits
    size = (limits and limits.max_batch_size) or len(items)
    results: list[BatchResult] = []
    for first in range(0, len(items), size):
        results += await verb(list(items[first : first + size]), user_id=user_id)
    return results


async def crowd(h: Harness, items: Sequence[Mapping[str, Any]], user_id: str | None = None) -> list[str]:
    """Add many records, in one batch where that is offered, and return their ids."""
    owner = user_id or h.user
    if "add_many" not in h.capabilities.verbs:
        return h.ids(await h.seed([dict(item) for item in items], user_id=owner))
    results = await add_all(h, items, owner)
    errors = [result.error.message for result in results if result.error]
    h.require(not errors, f"add_many refused an ordinary item: {errors[:1]}")
    ids = [result.memory.id for result in results if result.memory]
    for each, item in zip(ids, items, strict=True):
        h.name(each, item["content"])
    await h.memory.wait_for_ingest(ids, owner)
    return ids
