"""A store of a later schema is refused, with the remedy, by every backend that has schemas, and left as it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import qdrant_edge as edge
from qdrant_client import QdrantClient

from openmem import ConfigurationError
from openmem.adapters.postgres.schema import MIGRATIONS
from openmem.adapters.qdrant.points import FACTS, SCHEMA
from openmem.adapters.sqlite.schema import STEPS
from support.kept import Kept, on_a_server
from support.servers import PostgresCluster
from support.stores import open_store

Later = Callable[[Path], Callable[[], Any]]
"""Gives a store the next schema; returns what reads all that is stored."""


@pytest.fixture
def kept(request: pytest.FixtureRequest) -> Kept:
    return Kept(request)


def refuse(url: str) -> None:
    for verb in ("list", "stats"):
        with (
            open_store(url) as memory,
            pytest.raises(ConfigurationError, match=r"knows up to.*Upgrade openmem-sdk"),
        ):
            getattr(memory, verb)("ada")
    with open_store(url) as memory, pytest.raises(ConfigurationError, match="Upgrade openmem-sdk"):
        memory.add("too late", "ada")


def later_sqlite(place: Path) -> Callable[[], Any]:
    with closing(sqlite3.connect(place)) as connection:
        connection.execute(f"PRAGMA user_version={len(STEPS) + 1}")
    return place.read_bytes


def later_local(place: Path) -> Callable[[], Any]:
    def points() -> Any:
        with closing(QdrantClient(path=str(place))) as client:
            names = [each.name for each in client.get_collections().collections]
            return [
                (name, client.get_collection(name).config, client.scroll(name, limit=1000, with_vectors=True))
                for name in names
            ]

    with closing(QdrantClient(path=str(place))) as client:
        client.set_payload("openmem_sidecar", {"schema": SCHEMA + 1}, [FACTS])
    return points


def later_edge(place: Path) -> Callable[[], Any]:
    def points() -> Any:
        stored = []
        for config in sorted(place.glob("*/edge_config.json")):
            with closing(edge.EdgeShard.load(str(config.parent))) as shard:
                found, _ = shard.scroll(edge.ScrollRequest(limit=1000, with_payload=True, with_vector=True))
            rows = sorted((str(each.id), each.payload, repr(sorted(each.vector.items()))) for each in found)
            stored.append((config.read_bytes(), rows))
        return stored

    with closing(edge.EdgeShard.load(str(place / "openmem_sidecar"))) as shard:
        shard.update(edge.UpdateOperation.set_payload([FACTS], {"schema": SCHEMA + 1}))
        shard.flush()
    return points


@pytest.mark.parametrize(
    ("name", "later"),
    [("sqlite-4", later_sqlite), ("qdrant-local-5", later_local), ("qdrant-edge-5", later_edge)],
)
def test_it_is_refused_and_left_as_it_is(name: str, later: Later, kept: Kept) -> None:
    url = kept.url(name)
    stored = later(kept.folder / name)
    before = stored()
    refuse(url)
    assert stored() == before


def test_on_a_server_it_is_refused_and_left_as_it_is(kept: Kept) -> None:
    kept.url("qdrant-local-5")
    later_local(kept.folder / "qdrant-local-5")
    with on_a_server(kept.folder / "qdrant-local-5") as (url, twin):
        refuse(url)
    assert twin.asked.keys() <= {"get", "get_exists", "post_points"}, "it is only read"


def test_in_postgres_it_is_refused_and_left_as_it_is(kept: Kept, database: str, postgres: PostgresCluster) -> None:
    url = kept.url("postgres-2")
    later = f"UPDATE openmem.meta SET value = '{len(MIGRATIONS) + 1}' WHERE name = 'version'"
    postgres.run(later, database=database)
    before = stored_in(postgres, database)
    refuse(url)
    assert stored_in(postgres, database) == before


def stored_in(postgres: PostgresCluster, database: str) -> Any:
    """Read every table of a store, and how it is made."""
    columns = """SELECT attrelid::regclass::text, attname, atttypid::regtype::text
        FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
        WHERE relnamespace = 'openmem'::regnamespace ORDER BY 1, attnum"""
    tables = postgres.run("SELECT tablename FROM pg_tables WHERE schemaname = 'openmem' ORDER BY 1", database=database)
    rows = [postgres.run(f"SELECT t::text FROM openmem.{name} t ORDER BY 1", database=database) for (name,) in tables]
    return postgres.run(columns, database=database), rows
