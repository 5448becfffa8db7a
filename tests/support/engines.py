"""The fixture `store`: the URL of an empty store of every backend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.qdrant_server import Server
from support.twins import at

KINDS = ("memory", "sqlite", "postgres", "edge", "local", "twin", "mem0")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store."""
    kind: str = request.param
    if kind == "twin":
        with at("qdrant.test", Server()):
            yield "qdrant://qdrant.test:6333/memories"
        return
    if kind == "postgres":
        yield request.getfixturevalue("postgres_url")
        return
    urls = {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path}/store.db",
        "edge": f"qdrant+edge:///{tmp_path}/edge",
        "local": f"qdrant+local:///{tmp_path}/local",
        "mem0": f"mem0:///{tmp_path}/mem0",
    }
    yield urls[kind]
