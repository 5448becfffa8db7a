"""The vector index against a dictionary, and the embedder whose neighbours can be worked out by hand."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openmem import Memory
from openmem.adapters.kit import vectors
from openmem.adapters.kit.vectors import VectorIndex, unit
from openmem.embedding.testing import WordEmbedder

VECTORS = st.lists(st.integers(-3, 3), min_size=3, max_size=3)
CHANGES = st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.none() | VECTORS), max_size=30)


def cosine(one: list[int], other: list[int]) -> float:
    lengths = math.hypot(*one) * math.hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0


@given(CHANGES, VECTORS)
def test_the_index_against_a_dictionary(changes: list[tuple[str, list[int] | None]], query: list[int]) -> None:
    index, kept = VectorIndex[str](3), {}
    for key, vector in changes:
        if vector is None:
            index.discard(key)
            kept.pop(key, None)
        else:
            index.put(key, unit(vector))
            kept[key] = vector
    found = dict(zip(index.keys, index.similarities(unit(query)), strict=True))
    assert found == pytest.approx({key: cosine(vector, query) for key, vector in kept.items()}, abs=1e-6)
    assert len(index) == len(kept)


def test_the_last_row_takes_the_place_of_one_that_goes() -> None:
    index = VectorIndex[str](2)
    for key, vector in {"a": [1.0, 0.0], "b": [0.6, 0.8], "c": [0.0, 1.0]}.items():
        index.put(key, unit(vector))
    index.discard("a")
    assert dict(zip(index.keys, index.similarities(unit([0.0, 1.0])), strict=True)) == pytest.approx(
        {"b": 0.8, "c": 1.0}
    )


def test_many_blocks_are_one_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "BLOCK", 16)
    chance, index, kept = random.Random(1), VectorIndex[int](2), {}
    for key in (chance.randrange(120) for _ in range(600)):
        angle = chance.uniform(0, 2 * math.pi)
        if key in kept and chance.random() < 0.5:
            index.discard(key)
            del kept[key]
        else:
            index.put(key, unit([math.cos(angle), math.sin(angle)]))
            kept[key] = math.cos(angle)
        assert len(index) == len(kept)
    found = dict(zip(index.keys, index.similarities(unit([1.0, 0.0])), strict=True))
    assert len(kept) > 32
    assert found == pytest.approx(kept, abs=1e-6)
    assert all(index.get(key)[0] == pytest.approx(kept[key], abs=1e-6) for key in kept)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, width=32), min_size=1, max_size=8))
@example([3e38, -3e38])  # whose squares no float32 holds
@example([1e-45, 0.0])  # whose square is nothing in one
def test_unit_vectors_have_length_one_or_are_zero(vector: list[float]) -> None:
    length = float(np.linalg.norm(unit(vector)))
    assert length == (pytest.approx(1.0, abs=1e-5) if any(vector) else 0)


@given(VECTORS, st.integers(1, 6))
def test_equal_vectors_score_equally_wherever_they_lie(vector: list[int], copies: int) -> None:
    index = VectorIndex[int](3)
    for key in range(copies * 3):
        index.put(key, unit(vector if key % 3 else [1, 2, 3]))
    scores = index.similarities(unit([3, 1, 2]))
    assert len(set(scores[1::3]) | set(scores[2::3])) == 1


def test_vectors_of_the_callers_are_searched_with_and_stored() -> None:
    memory = Memory("memory://", embedder="test:2")
    east, north = memory.add("east", "u", vector=[2.0, 0.0]), memory.add("north", "u", vector=[0.0, 0.5])
    found = memory.search(None, "u", vector=[3.0, 4.0])
    assert {hit.memory.id: hit.score for hit in found} == pytest.approx({north.id: 0.8, east.id: 0.6})
    assert [hit.memory.id for hit in found] == [north.id, east.id]
    assert {hit.score for hit in memory.search(None, "u", vector=[-1.0, 0.0])} == {0.0}


def test_the_test_embedder_is_a_bag_of_words() -> None:
    embedder = WordEmbedder(dimension=1024)
    assert len({embedder.axis(word) for word in ("red", "green", "blue")}) == 3
    memory = Memory("memory://", embedder=embedder)
    memory.add("red green", "u")
    [found] = memory.search("RED blue", "u", mode="vector")
    assert found.score == pytest.approx(0.5)
