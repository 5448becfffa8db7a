"""Random histories on several backends at once: whatever happens, each answers as memory:// does."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    run_state_machine_as_test,
)

from support.histories import Store
from support.programs import Programs
from support.servers import PostgresCluster


def sqlite(request: pytest.FixtureRequest) -> tuple[Store, float]:
    @contextmanager
    def store() -> Iterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{Path(folder) / 's.db'}?synchronous=normal"

    return store, 0.0


def postgres(request: pytest.FixtureRequest) -> tuple[Store, float]:
    cluster: PostgresCluster = request.getfixturevalue("postgres")
    url = request.getfixturevalue("postgres_url")
    numbers = count()

    @contextmanager
    def store() -> Iterator[str]:
        schema = f"s{next(numbers)}"
        yield f"{url}&db_schema={schema}"
        cluster.run(f"DROP SCHEMA IF EXISTS {schema} CASCADE", database=request.getfixturevalue("database"))

    return store, 1e-6  # what vectors of single precision take from a score


ENGINES = {"sqlite": (sqlite, 60), "postgres": (postgres, 40)}
"""How a backend's stores are made, and how many histories it is driven through."""


@pytest.mark.parametrize("engine", ENGINES)
def test_any_history_is_answered_as_by_the_reference(request: pytest.FixtureRequest, engine: str) -> None:
    make, examples = ENGINES[engine]
    store, tolerance = make(request)
    machine = type(engine, (Programs,), {"store": staticmethod(store), "tolerance": tolerance})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
