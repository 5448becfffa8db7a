"""Stores of earlier versions as tests/fixtures keeps them, laid out where they may be changed."""

from __future__ import annotations

import json
import lzma
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fixtures.make_store import QUERIES, USERS, found, told
from qdrant_client import QdrantClient

from openmem import Memory
from support.qdrant_server import Server
from support.servers import PostgresCluster
from support.stores import open_store
from support.twins import at

FIXTURES = Path(__file__).parents[1] / "fixtures"
STORES = sorted(each.stem for each in FIXTURES.glob("*.json"))
WORDS: Any = ("keyword", "hybrid")


class Kept:
    """Lays stores out in a test's folder, or in its database."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._ask = request.getfixturevalue
        self.folder: Path = self._ask("tmp_path")

    def url(self, name: str) -> str:
        """Lay a store out; return its URL."""
        if name.startswith("postgres"):
            return self._postgres(name)
        place = self.folder / name
        if name.startswith("sqlite"):
            place.write_bytes(lzma.decompress((FIXTURES / f"{name}.sqlite.xz").read_bytes()))
            return f"sqlite:///{place}"
        with tarfile.open(FIXTURES / f"{name}.tar.xz") as archive:
            archive.extractall(place, filter="data")
        engine = "+".join(name.split("-")[:2]) if name.startswith("qdrant") else "mem0"
        return f"{engine}:///{place}"

    def _postgres(self, name: str) -> str:
        cluster: PostgresCluster = self._ask("postgres")
        database: str = self._ask("database")
        owner = f"{database}_owner"
        cluster.run("CREATE EXTENSION vector", database=database)
        cluster.run(f"DROP ROLE IF EXISTS {owner}; CREATE ROLE {owner} LOGIN")
        cluster.run(f"GRANT CREATE ON DATABASE {database} TO {owner}")
        url = cluster.url(database, owner)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute((FIXTURES / f"{name}.sql").read_bytes())
        return f"{url}&rls=true&partitions=2" if name.endswith("divided") else url


@contextmanager
def on_a_server(folder: Path) -> Iterator[tuple[str, Server]]:
    """Have a server hold what a folder of local mode does."""
    twin = Server()
    twin.client.close()
    twin.client = QdrantClient(path=str(folder))
    twin.indexes = {each.name: {} for each in twin.client.get_collections().collections}
    with at("qdrant.test", twin):
        yield "qdrant://qdrant.test:6333/openmem", twin
    twin.client.close()


def hold(url: str, name: str, reference: dict[str, Any]) -> None:
    """Hold a store to what it told when it was made, and to finding by words what a new store does."""
    with open_store(url) as memory:
        assert told(memory) == _expected(name)
        if memory.capabilities().features.keyword_search:
            assert words(memory) == reference


def words(memory: Memory) -> dict[str, Any]:
    """Say what a store finds by words."""
    asked = [(query, user, mode) for query in QUERIES for user in USERS for mode in WORDS]
    return {" ".join(each): found(memory, *each) for each in asked}


def _expected(name: str) -> dict[str, Any]:
    then: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    for each in then.values():
        for hits in each["nearest"].values():
            hits[:] = [[text, pytest.approx(score, abs=2e-6)] for text, score in hits]
    return then
