"""related: the nearest memories of the same user, the memory itself left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem import CapabilityLimits, Memory
from openmem._generated.models import SearchResponse
from openmem.types import SearchResult
from support.scripted import EMBEDDING, Scripted, record

WORDS = st.lists(st.sampled_from(["red", "green", "blue", "cyan"]), min_size=1, max_size=4).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=8), st.integers(1, 8), st.none() | st.floats(0, 1))
def test_related_is_search_by_the_content_without_itself(texts: list[str], limit: int, least: float | None) -> None:
    memory = Memory("memory://", embedder="test:64")
    ids = [memory.add(text, "u").id for text in texts]
    memory.add(texts[0], "v")
    found = memory.related(ids[0], limit=limit, min_score=least)
    searched = memory.search(texts[0], "u", mode="vector", limit=100, min_score=least)
    assert found == [hit for hit in searched if hit.memory.id != ids[0]][:limit]


def test_without_vectors_it_goes_by_words() -> None:
    memory = Memory("memory://", embedder="none")
    one, two = memory.add("red apples", "u"), memory.add("an apple", "u")
    memory.add("pears", "u")
    assert [hit.memory.id for hit in memory.related(one.id)] == [two.id]


def test_it_reads_within_a_scope_what_is_current() -> None:
    memory = Memory("memory://", embedder="test:64")
    start = memory.add("red", "u")
    inside = memory.add("red", "u", scope="a/b")
    memory.add("red", "u", scope="ab")
    memory.add("red", "u", scope="a", archived=True)
    assert [hit.memory.id for hit in memory.related(start.id, scope="a")] == [inside.id]


@pytest.mark.parametrize("content", [" " * 40_000 + "red", "red" + " " * 40_000, "red " * 20_000, "\x1f"])
def test_any_content_has_relations(content: str) -> None:
    memory = Memory("memory://", embedder="test:64")
    start, other = memory.add(content, "u"), memory.add("red", "u")
    assert [hit.memory.id for hit in memory.related(start.id)] == [other.id]


def test_it_asks_for_no_more_than_the_provider_gives() -> None:
    asked: list[int] = []

    def search(request: Any) -> SearchResponse:
        asked.append(request.limit)
        return SearchResponse(results=[SearchResult(memory=record("m2"), score=0.5)])

    adapter = Scripted(get=lambda request: record(request.id), search=search)
    adapter.embedding = EMBEDDING
    adapter.limits = lambda: CapabilityLimits(max_search_results=5)  # type: ignore[method-assign]
    memory = Memory(adapter, embedder="test:16")
    for limit in (3, 5, 10, 100):
        assert len(memory.related("m1", limit=limit)) == 1
    assert asked == [4, 5, 5, 5]
