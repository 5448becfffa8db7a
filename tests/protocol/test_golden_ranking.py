"""The golden ranking file holds every backend, and is what its own script makes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from golden import make_ranking
from openmem import Memory
from openmem.conformance.ranking_table import NEAR, table
from openmem.protocol import ranking
from support.qdrant_server import Server
from support.servers import PostgresCluster
from support.twins import at

PLACES = ("memory", "sqlite", "postgres", "qdrant", "qdrant+local", "qdrant+edge")


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Every backend that ranks by words: memory and files here, servers as their twins."""
    with ExitStack() as stack:
        if request.param == "postgres":
            cluster: PostgresCluster = request.getfixturevalue("postgres")
            name = cluster.create()
            stack.callback(cluster.drop, name)
            yield cluster.url(name)
        elif request.param == "qdrant":
            server = Server()
            stack.callback(server.client.close)
            stack.enter_context(at("qdrant.test", server))
            yield "qdrant://qdrant.test:6333/mem"
        else:
            yield {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'a.db'}"}.get(
                request.param, f"{request.param}:///{tmp_path / 'store'}"
            )


def test_the_file_is_what_its_script_makes() -> None:
    assert make_ranking.OUTPUT.read_text("utf-8") == make_ranking.written()


def test_both_analyses_find_the_same_terms() -> None:
    texts, queries = table()
    for text in [*texts, *(each.query for each in queries)]:
        assert sorted(ranking.terms(text)) == sorted(make_ranking.terms(text))


def hold(memory: Memory, ids: list[str], user: str) -> None:
    """Hold what a store finds to the file."""
    for query, expected in table().queries:
        found = memory.search(query, user, mode="keyword", limit=100)
        scores = {hit.memory.id: hit.score for hit in found}
        assert scores == {ids[place]: pytest.approx(score, abs=NEAR) for place, score in expected.items()}, query


def test_a_backend_scores_as_the_file_says(url: str) -> None:
    texts, shuffled = table().texts, list(range(60))
    random.Random(3).shuffle(shuffled)
    with Memory(url, embedder="none") as memory:
        memory.add_many([{"content": f"{text} {text}"} for text in texts], user_id="somebody else")
        added = memory.add_many([{"content": text} for text in texts], user_id="u")
        hold(memory, [str(each.id) for each in added], "u")
        # What a store went through does not matter: other texts in another order, changed and deleted.
        ids = dict.fromkeys(range(60), "")
        for place in shuffled[:30]:
            ids[place] = memory.add(f"to be changed {place}", "v").id
        gone = [memory.add(text, "v").id for text in texts[:5]]
        for place in shuffled[30:]:
            ids[place] = memory.add(texts[place], "v").id
        for place in shuffled[:30]:
            memory.update(ids[place], content=texts[place])
        assert all(not each.error for each in memory.delete_many(gone))
        hold(memory, list(ids.values()), "v")
