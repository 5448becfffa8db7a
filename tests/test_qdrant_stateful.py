"""Random histories on Qdrant and memory:// at once; where words count, what is found is alike and not its order."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from qdrant_server import Server
from test_stateful import Backends
from twins import at

from openmem import Memory

MOST = 100


class Qdrant(Backends):
    """Scores of vectors are rounded to six places; those of words count the average length as fixed."""

    tolerance = 2e-6

    def search_for(
        self, user: str, words: list[str], limit: int, least: float | None, as_of: int | None, **fields: Any
    ) -> None:
        if fields["mode"] == "vector":
            super().search_for(user, words, limit, least, as_of, **fields)
            return
        query, fields = " ".join(words), {"as_of": self.day(as_of), **fields}

        def found(memory: Memory, ids: list[str], backend: int) -> list[int]:
            every = memory.search(query, user, limit=MOST, **fields)
            assert memory.search(query, user, limit=limit, **fields) == every[:limit]
            some = [result for result in every if least is None or result.score >= least]
            assert memory.search(query, user, limit=limit, min_score=least, **fields) == some[:limit]
            order = [(result.score, result.memory.created_at, result.memory.id) for result in every]
            assert order == sorted(order, reverse=True)
            return sorted(self.places[backend][result.memory.id] for result in every)

        self.both(found)


@contextmanager
def _folder(scheme: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        yield f"{scheme}:///{Path(folder) / 'store'}"


@contextmanager
def _server() -> Iterator[str]:
    server = Server()
    with at("qdrant.test", server):
        yield "qdrant://qdrant.test:6333/mem"
    server.client.close()


STORES: dict[str, tuple[Callable[[], Any], int]] = {
    "edge": (lambda: _folder("qdrant+edge"), 40),
    "local": (lambda: _folder("qdrant+local"), 8),
    "server": (_server, 8),
}


@pytest.mark.parametrize("engine", STORES)
def test_any_history_is_answered_as_by_the_reference(engine: str) -> None:
    store, examples = STORES[engine]
    run_state_machine_as_test(
        type(engine, (Qdrant,), {"store": staticmethod(store)}),
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
