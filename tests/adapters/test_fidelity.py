"""Swapping the backend changes nothing that an application sees."""

from __future__ import annotations

import itertools
import random
import runpy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from openmem import Memory
from support.sentences import DID, WHAT, WHERE, WHO, questions, seen
from support.servers import PostgresCluster


@pytest.fixture(scope="module")
def items() -> list[dict[str, Any]]:
    """Make 2,000 memories of four users."""
    random.seed(11)
    facts = [" ".join(parts) + "." for parts in itertools.product(WHO, DID, WHAT, WHERE)]
    return [
        {"content": fact, "user_id": f"user {number % 4}", "external_id": str(number), "importance": number % 10 / 10}
        for number, fact in enumerate(random.sample(facts, 2000))
    ]


@contextmanager
def filled(url: str, items: list[dict[str, Any]]) -> Iterator[Memory]:
    """Open a store that holds the memories, real embeddings included."""
    with Memory(url, embedder="local") as memory:
        assert not [result for result in memory.add_many(items) if result.error]
        yield memory


@pytest.fixture(scope="module")
def reference(items: list[dict[str, Any]]) -> Iterator[Memory]:
    with filled("memory://", items) as memory:
        yield memory


@pytest.fixture(scope="module")
def sqlite(items: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Memory]:
    with filled(f"sqlite:///{tmp_path_factory.mktemp('fidelity') / 'f.db'}", items) as memory:
        yield memory


@pytest.fixture(scope="module")
def engine(items: list[dict[str, Any]], postgres: PostgresCluster) -> Iterator[Memory]:
    """A store behind a wire, whose scores may differ in what single precision loses."""
    name = postgres.create()
    with filled(postgres.url(name), items) as memory:
        yield memory
    postgres.drop(name)


@pytest.mark.parametrize("mode", ["vector", "keyword", "hybrid"])
def test_top_ten_and_scores_are_identical(reference: Memory, sqlite: Memory, mode: str) -> None:
    answered = 0
    for question, user in questions():
        expected = seen(reference.search(question, user, mode=mode))  # type: ignore[arg-type]
        assert seen(sqlite.search(question, user, mode=mode)) == expected  # type: ignore[arg-type]
        answered += len(expected) == 10
    assert answered > 150  # most questions have ten answers: the comparison is not of empty lists


def test_filtered_search_is_identical(reference: Memory, sqlite: Memory) -> None:
    wanted = {"importance": {"gte": 0.3, "lt": 0.5}}
    for question, user in questions()[:50]:
        expected = seen(reference.search(question, user, filter=wanted))
        assert len(expected) == 10
        assert seen(sqlite.search(question, user, filter=wanted)) == expected


def test_context_is_identical_but_for_ids(reference: Memory, sqlite: Memory) -> None:
    for question, user in questions()[:50]:
        blocks = [memory.context(question, user, token_budget=200) for memory in (reference, sqlite)]
        lines = [[line.rpartition(" [")[0] for line in block.text.splitlines()] for block in blocks]
        assert lines[0] == lines[1] != []


@pytest.mark.parametrize(("mode", "overlap"), [("vector", 1.0), ("keyword", 0.99), ("hybrid", 0.99)])
def test_top_ten_of_an_engine_are_nearly_those_of_the_reference(
    reference: Memory, engine: Memory, mode: str, overlap: float
) -> None:
    common, expected_in_all, difference = 0, 0, 0.0
    for question, user in questions():
        expected = dict(seen(reference.search(question, user, mode=mode)))  # type: ignore[arg-type]
        found = dict(seen(engine.search(question, user, mode=mode)))  # type: ignore[arg-type]
        assert len(found) == len(expected)
        both = found.keys() & expected.keys()
        common += len(both)
        expected_in_all += len(expected)
        difference = max(difference, *(abs(found[key] - expected[key]) for key in both))
    assert expected_in_all > 1500
    assert common / expected_in_all >= overlap
    assert difference < 1e-6


# --- long texts -------------------------------------------------------------------------------------------------

BENCHMARK = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "fidelity.py"))


@pytest.fixture(scope="module")
def long_texts() -> Any:
    """Make 60 texts of up to 2,000 characters in several scripts, and 30 questions."""
    return BENCHMARK["long_texts"](60, 30)


@pytest.fixture(scope="module")
def long_reference(long_texts: Any) -> Iterator[Memory]:
    with filled("memory://", long_texts.items) as memory:
        yield memory


@pytest.mark.parametrize("backend", ["sqlite", "postgres", "qdrant+edge", "qdrant+local"])
def test_long_texts_of_several_scripts_are_found_alike(
    request: pytest.FixtureRequest, tmp_path: Path, long_texts: Any, long_reference: Memory, backend: str
) -> None:
    url = request.getfixturevalue("postgres_url") if backend == "postgres" else f"{backend}:///{tmp_path / 'store'}"
    with filled(url, long_texts.items) as memory:
        for mode, least in BENCHMARK["LEAST"].items():
            share, difference = BENCHMARK["overlap"](long_reference, memory, long_texts.questions, mode)
            assert share >= least
            assert difference < 1e-6
