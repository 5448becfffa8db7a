"""Random histories on Qdrant and memory:// at once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from support.programs import Programs
from support.qdrant_server import Server
from support.twins import at


class Qdrant(Programs):
    """Scores are rounded to six places."""

    tolerance = 2e-6


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
