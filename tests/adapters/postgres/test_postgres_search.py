"""postgres:// searching by its index: never short, nearly exact, whatever the filter and the statistics."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from openmem import Memory
from openmem.adapters.postgres import search as postgres_search
from openmem.types import SearchResult
from support.clocks import Clock
from support.servers import PostgresCluster

ROWS, DIMENSION = 2500, 32
STATES: Any = ["superseded", "expired", "upcoming", "archived"]
WORDS = ("tea", "garden", "piano", "harbour", "storm", "kite")

Search = Callable[..., list[SearchResult]]


def vectors(count: int) -> list[list[float]]:
    """Make points round some centres, as texts make them."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(40, DIMENSION))
    points = centres[random.integers(40, size=count)] + 0.5 * random.normal(size=(count, DIMENSION))
    return points.tolist()  # type: ignore[no-any-return]


def items(count: int, user: str) -> Iterator[dict[str, Any]]:
    for n, vector in enumerate(vectors(count)):
        yield {
            "content": f"{WORDS[n % 6]} {WORDS[n % 5]} number {n}",
            "user_id": user,
            "vector": vector,
            "external_id": str(n),
            "scope": f"s/{n % 40}",
            "tags": ["seldom"] if n % 400 == 7 else ["often"],
            "metadata": {"n": n, "rare": n % 500 == 3},
            "archived": n % 50 == 11,
        }


STORES: dict[str, dict[str, Any]] = {
    "whole": {},
    "divided": {"partitions": 2, "db_schema": "Own"},
    "half": {"precision": "half"},
}


@pytest.fixture(scope="module", params=STORES)
def filled(request: pytest.FixtureRequest, postgres: PostgresCluster) -> Iterator[tuple[str, Memory]]:
    """A database of two users with many memories and one with few, whose statistics were never taken."""
    options = STORES[request.param]
    name = postgres.create()
    with Memory(postgres.url(name), embedder=f"test:{DIMENSION}", clock=Clock(), index="hnsw", **options) as memory:
        memory.list("many")
        schema = options.get("db_schema", "openmem")
        for (table,) in postgres.run(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r' AND relnamespace = %s::regnamespace",
            f'"{schema}"',
            database=name,
        ):
            postgres.run(f"ALTER TABLE {table} SET (autovacuum_enabled = false)", database=name)
        for user, count in (("many", ROWS), ("others", ROWS), ("few", 9)):
            results = memory.add_many(list(items(count, user)))
            assert not [result.error for result in results if result.error]
        yield name, memory
    postgres.drop(name)


@pytest.fixture
def by_index(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make the index be taken for all but a few rows; return the statements that took it."""
    taken: list[str] = []
    written = postgres_search.Search.by_index

    def noted(search: postgres_search.Search) -> str:
        taken.append(written(search))
        return taken[-1]

    monkeypatch.setattr(postgres_search, "EXACT", 5)
    monkeypatch.setattr(postgres_search, "INDEX_COST", 0)
    monkeypatch.setattr(postgres_search.Search, "by_index", noted)
    return taken


def questions() -> list[dict[str, Any]]:
    random = np.random.default_rng(6)
    points = np.array(vectors(ROWS))
    near = points[random.integers(ROWS, size=4)] + 0.3 * random.normal(size=(4, DIMENSION))
    return [
        {"query": f"{WORDS[n % 6]} by the {WORDS[n % 4]}", "vector": point.tolist()} for n, point in enumerate(near)
    ]


SELECTIONS: list[dict[str, Any]] = [
    {},
    {"include": STATES},
    {"scope": "s"},
    {"scope": "s/3"},
    {"tag": "seldom"},
    {"tag": "often", "filter": {"metadata.n": {"gte": ROWS // 2}}},
    {"filter": {"metadata.rare": True}},
    {"filter": {"metadata.n": {"lt": 8}}},
    {"filter": {"metadata.n": {"in": [1, 2, 3]}}},
    {"filter": {"metadata.n": -1}},
    {"min_score": 0.6},
]


def matching(memory: Memory, user: str, selection: dict[str, Any]) -> int:
    """Count what a selection leaves, up to a hundred."""
    fields = {name: value for name, value in selection.items() if name != "min_score"}
    return len(memory.list(user, limit=100, **fields).items)


def shares(memory: Memory, monkeypatch: pytest.MonkeyPatch, user: str, mode: Any) -> list[float]:
    """Search by the index and exactly; return which share of the exact answers the index gave, for each search."""
    found = []
    for selection in SELECTIONS:
        exists = matching(memory, user, selection)
        for question in questions():
            for limit in (10,) if selection else (1, 10, 40):
                fields = {**question, "user_id": user, "mode": mode, "limit": limit, **selection}
                if mode == "vector":
                    fields["query"] = None
                quick = memory.search(**fields)
                with monkeypatch.context() as patch:
                    patch.setattr(postgres_search, "EXACT", 10**9)
                    exact = memory.search(**fields)
                assert len(quick) == len(exact), "an answer is never short"
                if "min_score" not in selection:
                    assert len(exact) == min(limit, exists)
                ranks = [(-hit.score, -hit.memory.created_at.timestamp(), hit.memory.id) for hit in quick]
                assert [rank[:2] for rank in ranks] == sorted(rank[:2] for rank in ranks)
                assert {hit.memory.user_id for hit in quick} <= {user}
                if exact:
                    common = {hit.memory.id for hit in quick} & {hit.memory.id for hit in exact}
                    scores = {hit.memory.id: hit.score for hit in exact}
                    assert all(hit.score == scores[hit.memory.id] for hit in quick if hit.memory.id in common)
                    found.append(len(common) / len(exact))
    return found


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
@pytest.mark.parametrize("analyzed", [False, True])
def test_the_index_answers_nearly_as_an_exact_search(
    filled: tuple[str, Memory],
    postgres: PostgresCluster,
    by_index: list[str],
    monkeypatch: pytest.MonkeyPatch,
    analyzed: bool,
    mode: str,
) -> None:
    database, memory = filled
    if analyzed:
        postgres.run("ANALYZE", database=database)
    found = shares(memory, monkeypatch, "many", mode)
    assert len(by_index) > 20
    assert np.mean(found) >= 0.95
    assert min(found) >= 0.5


def test_few_memories_are_searched_exactly(
    filled: tuple[str, Memory], by_index: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, memory = filled
    assert set(shares(memory, monkeypatch, "few", "vector")) == {1.0}


def test_a_user_with_few_memories_is_not_counted_for_every_search(
    filled: tuple[str, Memory], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, memory = filled
    counted: list[str] = []
    written = postgres_search.Search.exact_unless_many

    def noted(search: postgres_search.Search) -> str:
        counted.append(search.request.user_id)
        return written(search)

    monkeypatch.setattr(postgres_search.Search, "exact_unless_many", noted)
    monkeypatch.setattr(postgres_search, "EXACT", 100)
    for seconds, times in ((0.0, 3), (1e9, 0)):
        counted.clear()
        monkeypatch.setattr(postgres_search, "COUNTED_FOR", seconds)
        for user in ("many", "few", "few", "few", "many"):
            assert len(memory.search("tea", user, mode="vector")) == {"many": 10, "few": 9}[user]
        assert (counted.count("few"), counted.count("many")) == (times, 2)


def test_words_alone_need_no_index(filled: tuple[str, Memory], by_index: list[str]) -> None:
    _, memory = filled
    found = memory.search("garden pianos", "many", mode="keyword", limit=100)
    assert len(found) == 100
    assert by_index == []


def test_the_larger_the_table_the_later_the_index_pays(
    postgres: PostgresCluster, by_index: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index also walks past the rows of others."""
    name = postgres.create()
    monkeypatch.setattr(postgres_search, "INDEX_COST", 200)
    with Memory(postgres.url(name), embedder=f"test:{DIMENSION}", index="hnsw") as memory:
        memory.add_many(list(items(700, "u")))
        question = questions()[0]

        def indexed() -> bool:
            before = len(by_index)
            memory.search(user_id="u", mode="vector", **question)
            return len(by_index) > before

        postgres.run("ALTER TABLE openmem.memories SET (autovacuum_enabled = false)", database=name)
        told = "UPDATE pg_class SET reltuples = %s WHERE oid = 'openmem.memories'::regclass"
        for rows, expected in ((-1, True), (2000, True), (2600, False), (100_000, False)):
            postgres.run(told, rows, database=name)  # n * n > 200 * N: 700 rows of up to 2450
            assert indexed() is expected, rows
    postgres.drop(name)


def test_a_store_without_an_index_is_searched_exactly(postgres_url: str, by_index: list[str]) -> None:
    with Memory(postgres_url, embedder=f"test:{DIMENSION}", index="none") as memory:
        memory.add_many(list(items(300, "u")))
        for question in questions():
            assert len(memory.search(user_id="u", **question)) == 10
    assert by_index == []


@pytest.mark.parametrize("exact", [5, 5000])
def test_equal_scores_are_newest_first(postgres_url: str, monkeypatch: pytest.MonkeyPatch, exact: int) -> None:
    monkeypatch.setattr(postgres_search, "EXACT", exact)
    clock = Clock()
    with Memory(postgres_url, embedder=f"test:{DIMENSION}", clock=clock, index="hnsw") as memory:
        ids = []
        for n in range(60):
            ids.append(memory.add("the same words", "u").id)
            if n % 3:
                clock.tick()
        created = {record.id: record.created_at for record in memory.list("u", limit=100).items}
        newest = sorted(ids, key=lambda each: (created[each], each), reverse=True)
        for mode in ("vector", "keyword", "hybrid"):
            found = [hit.memory.id for hit in memory.search("same words", "u", mode=mode, limit=100)]  # type: ignore[arg-type]
            assert found == newest
            if exact == 5000:
                assert [hit.memory.id for hit in memory.search("same", "u", mode=mode, limit=7)] == newest[:7]  # type: ignore[arg-type]


def test_texts_without_words_are_found_by_no_search(postgres_url: str, by_index: list[str]) -> None:
    """A text without words has a vector of zeros, which is near to nothing."""
    with (
        Memory(postgres_url, embedder=f"test:{DIMENSION}", index="hnsw") as memory,
        Memory("memory://", embedder=f"test:{DIMENSION}") as reference,
    ):
        for each in (memory, reference):
            each.add_many(
                [{"content": text, "user_id": "u"} for text in ["!!!", "?", "tea", "-", "green tea", "…"] * 3]
            )
        for mode in ("vector", "keyword", "hybrid"):
            for query in ("tea", "!!!"):
                answers = [
                    [(hit.memory.content, hit.score) for hit in each.search(query, "u", mode=mode, limit=20)]  # type: ignore[arg-type]
                    for each in (memory, reference)
                ]
                assert [score for _, score in answers[0]] == pytest.approx([score for _, score in answers[1]])
                assert sorted(content for content, _ in answers[0]) == sorted(content for content, _ in answers[1])
