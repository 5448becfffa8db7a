"""Search: filters and min_score before the limit; hybrid fuses what the other modes give; best first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openmem import Memory, SearchResult
from openmem.protocol import cursors
from support.clocks import Clock

MODES = st.sampled_from(["vector", "keyword", "hybrid"])
TEXT = st.lists(st.sampled_from(["apple", "pear", "plum", "fig", "grape"]), min_size=1, max_size=5).map(" ".join)
TEXTS = st.lists(TEXT, min_size=1, max_size=10)


def filled(texts: list[str]) -> Memory:
    clock = Clock()
    memory = Memory("memory://", embedder="test:64", clock=clock)
    for number, text in enumerate(texts):
        memory.add(text, "u", metadata={"third": number % 3}, scope=f"s/{number % 2}")
        clock.tick(seconds=number % 2)
    return memory


def scores(found: list[SearchResult]) -> dict[str, float]:
    return {hit.memory.id: hit.score for hit in found}


@given(TEXT, TEXTS, MODES, st.data())
def test_min_score_is_inclusive_and_applies_before_the_limit(
    query: str, texts: list[str], mode: Any, data: st.DataObject
) -> None:
    memory = filled(texts)
    everything = memory.search(query, "u", mode=mode, limit=100)
    met = [hit.score for hit in everything]
    least = (
        data.draw(st.sampled_from(met) if met else st.floats(0, 1))
        if data.draw(st.booleans())
        else data.draw(st.floats(0, 1))
    )
    limit = data.draw(st.integers(1, 12))
    found = memory.search(query, "u", mode=mode, limit=limit, min_score=least)
    assert found == [hit for hit in everything if hit.score >= least][:limit]


@given(TEXT, TEXTS, MODES, st.integers(1, 5))
def test_a_selection_fills_the_limit(query: str, texts: list[str], mode: Any, limit: int) -> None:
    memory = filled(texts * 2)
    everything = memory.search(query, "u", mode=mode, limit=100)
    selected = [hit for hit in everything if (hit.memory.metadata or {})["third"] == 1 and hit.memory.scope == "s/0"]
    selection: dict[str, Any] = {"filter": {"metadata.third": 1}, "scope": "s/0"}
    found = memory.search(query, "u", mode=mode, limit=limit, **selection)
    assert len(found) == min(limit, len(selected))
    assert {hit.memory.id for hit in found} <= {hit.memory.id for hit in selected}
    assert found == memory.search(query, "u", mode=mode, limit=100, **selection)[:limit]


@given(TEXT, TEXTS)
def test_hybrid_fuses_what_the_modes_give(query: str, texts: list[str]) -> None:
    memory = filled(texts)
    vector = scores(memory.search(query, "u", mode="vector", limit=100))
    keyword = scores(memory.search(query, "u", mode="keyword", limit=100))
    hybrid = scores(memory.search(query, "u", mode="hybrid", limit=100))
    assert hybrid == pytest.approx({each: 0.5 * vector[each] + 0.5 * keyword.get(each, 0.0) for each in vector})
    assert scores(memory.search(query, "u", limit=100)) == hybrid  # the default is the best the backend has


@given(TEXT, TEXTS, MODES)
def test_best_first_and_ties_newest_first(query: str, texts: list[str], mode: Any) -> None:
    found = filled(texts).search(query, "u", mode=mode, limit=100)
    order = [(hit.score, hit.memory.created_at, hit.memory.id) for hit in found]
    assert order == sorted(order, reverse=True)
    assert all(0 <= hit.score <= 1 for hit in found)


class Angles:
    """An embedder whose texts begin with an angle in degrees, which is their vector."""

    model, dimension, inline = "angles", 2, True

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        angles = [math.radians(float(text.split()[0])) for text in texts]
        return [[math.cos(angle), math.sin(angle)] for angle in angles]

    async def close(self) -> None:
        pass


@given(
    st.lists(st.integers(0, 35), min_size=1, max_size=12),
    st.sampled_from(["vector", "hybrid"]),
    st.integers(1, 12),
    st.sampled_from([None, 0.0, 0.25]),
)
def test_cosines_below_zero_rank_as_they_are(tens: list[int], mode: Any, limit: int, least: float | None) -> None:
    clock = Clock()
    memory = Memory("memory://", embedder=Angles(), clock=clock)
    raw: dict[str, float] = {}
    for ten in tens:
        word = " pear" if ten % 3 else " apple"
        added = memory.add(f"{ten}0{word}", "u").id
        cosine = math.cos(math.radians(10 * ten))
        raw[added] = cosine if mode == "vector" else 0.5 * cosine
        clock.tick(seconds=ten % 2)
    if mode == "hybrid":
        for hit in memory.search("0.0 apple", "u", mode="keyword", limit=100):
            raw[hit.memory.id] += 0.5 * hit.score
    found = memory.search("0.0 apple", "u", mode=mode, limit=100)
    order = [raw[hit.memory.id] for hit in found]
    assert len(found) == len(tens)
    assert all(one >= other - 1e-6 for one, other in pairwise(order))
    assert [hit.score for hit in found] == pytest.approx([max(0.0, score) for score in order], abs=1e-6)
    for one, other in pairwise(found):
        if one.memory.content == other.memory.content:
            assert cursors.position(one.memory) > cursors.position(other.memory)
    some = memory.search("0.0 apple", "u", mode=mode, limit=limit, min_score=least)
    assert some == [hit for hit in found if least is None or hit.score >= least][:limit]


def test_the_nearest_of_the_far_is_related() -> None:
    memory = Memory("memory://", embedder=Angles())
    far = [memory.add(f"{degrees} tea", "u").id for degrees in (95, 120, 150, 180)]
    near = memory.add("0 tea", "u")
    assert [hit.memory.id for hit in memory.related(near.id, limit=2)] == far[:2]


@pytest.mark.parametrize("mode", ["vector", "keyword", "hybrid"])
def test_what_is_found_is_what_get_answers(mode: Any) -> None:
    memory = Memory("memory://", embedder="test:64")
    added = memory.add("apple", "u", tags=["t"], metadata={"k": [1]}, source={"app": "a"}, **{"x-v": 1})
    [found] = (
        memory.search("apples", "u", mode="keyword") if mode == "keyword" else memory.search("apple", "u", mode=mode)
    )
    assert found.memory == memory.get(added.id)
