"""postgres:// making its index of vectors in the background: when, by whom, and what becomes of one left half made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import psycopg
import pytest

from openmem import AsyncMemory, Memory
from openmem.adapters.postgres import index as postgres_index
from openmem.adapters.postgres import search as postgres_search
from support.servers import PostgresCluster

MANY = 120
VALID = """SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
    WHERE a.amname = 'hnsw' AND i.indisvalid"""


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make a user large with few memories, and everything that waits wait for a moment only."""
    monkeypatch.setattr(postgres_search, "EXACT", 50)
    monkeypatch.setattr(postgres_search, "INDEX_COST", 0)
    monkeypatch.setattr(postgres_search, "COUNTED_FOR", 0.0)
    for name in ("AGAIN", "LOOK_AFTER", "TURN"):
        monkeypatch.setattr(postgres_index, name, 0.01)
    monkeypatch.setattr(postgres_index, "PROGRESS", 0.05)
    yield


@pytest.fixture
def by_index(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the statements that took the index."""
    taken: list[str] = []
    written = postgres_search.Search.by_index

    def noted(search: postgres_search.Search) -> str:
        taken.append(written(search))
        return taken[-1]

    monkeypatch.setattr(postgres_search.Search, "by_index", noted)
    return taken


def facts(count: int, user: str = "u") -> list[dict[str, Any]]:
    return [{"content": f"fact {n} of {n % 9} things", "user_id": user} for n in range(count)]


def open_async(url: str, **options: Any) -> AsyncMemory:
    return AsyncMemory(url, **{"embedder": "test:32", **options})


def built(postgres: PostgresCluster, database: str) -> int:
    return int(postgres.run(VALID, database=database)[0][0])


async def until(condition: Callable[[], Awaitable[Any] | Any]) -> None:
    async with asyncio.timeout(60):
        while True:
            found = condition()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.01)


async def found(memory: AsyncMemory, user: str = "u") -> set[str]:
    return {hit.memory.content for hit in await memory.search("fact 7 of things", user, mode="vector", limit=20)}


def test_an_index_is_made_once_a_user_has_many_and_taken_without_reopening(
    postgres: PostgresCluster, database: str, postgres_url: str, by_index: list[str]
) -> None:
    async def scenario() -> None:
        async with open_async(postgres_url) as writer, open_async(postgres_url) as reader:
            await writer.add_many(facts(40))
            before = await found(reader)
            assert len(before) == 20
            assert built(postgres, database) == 0
            await writer.add_many(facts(MANY)[40:])
            await until(lambda: built(postgres, database) == 1)
            assert len(await found(reader)) == 20
            assert by_index, "the other client takes it too"

    asyncio.run(scenario())


def test_a_store_with_a_large_user_is_indexed_when_it_is_searched(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    async def scenario() -> None:
        async with open_async(postgres_url, index="none") as memory:
            await memory.add_many(facts(MANY))
            exact = await found(memory)
        assert built(postgres, database) == 0
        async with open_async(postgres_url) as memory:
            assert await found(memory) == exact, "until it is there, searches are exact"
            await until(lambda: built(postgres, database) == 1)
        async with open_async(postgres_url, index="none") as memory:
            assert len(await found(memory)) == 20

    asyncio.run(scenario())


def test_an_open_transaction_of_somebody_else_delays_the_index_and_nothing_else(
    postgres: PostgresCluster, database: str, postgres_url: str, by_index: list[str]
) -> None:
    async def scenario(other: psycopg.Connection[Any]) -> None:
        async with open_async(postgres_url) as memory:
            await memory.add_many(facts(MANY))
            other.execute("SELECT count(*) FROM openmem.memories")
            await found(memory)
            waits = "SELECT 1 FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%'"
            await until(lambda: postgres.run(waits, database=database))
            kept = await memory.add("a fact meanwhile", "u")
            await memory.update(kept.id, content="changed meanwhile")
            await memory.delete(kept.id)
            async with open_async(postgres_url, index="hnsw") as late:
                assert await found(late) == await found(memory)
            assert (built(postgres, database), by_index) == (0, [])
            other.rollback()
            await until(lambda: built(postgres, database) == 1)
            await found(memory)
            assert by_index

    with psycopg.connect(postgres_url) as other:
        other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        asyncio.run(scenario(other))


def test_an_index_that_was_left_half_made_is_dropped_and_made_anew(
    postgres: PostgresCluster, database: str, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "openmem")
    halves = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"

    async def interrupted(end: Callable[[AsyncMemory], Awaitable[Any] | Any]) -> None:
        with psycopg.connect(postgres_url) as other:
            other.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            other.execute("SELECT count(*) FROM openmem.memories")
            memory = open_async(postgres_url)
            await found(memory)
            await until(lambda: postgres.run(halves, database=database) == [(1,)])
            ending = end(memory)
            if isinstance(ending, Awaitable):
                await ending
        await memory.close()

    def killed(_: AsyncMemory) -> None:
        sql = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_progress_create_index"
        assert postgres.run(sql, database=database) == [(True,)]

    async def scenario() -> None:
        async with open_async(postgres_url, index="none") as memory:
            await memory.add_many(facts(MANY))
        await interrupted(AsyncMemory.close)
        assert postgres.run(halves, database=database) == [(1,)]
        async with open_async(postgres_url, index="none") as memory:
            await memory.open()
            await until(lambda: postgres.run(halves, database=database) == [(0,)])
            assert built(postgres, database) == 0
        await interrupted(killed)
        async with open_async(postgres_url) as memory:
            assert len(await found(memory)) == 20
            await until(lambda: built(postgres, database) == 1)
        assert postgres.run(halves, database=database) == [(0,)]
        assert "left half made" in caplog.text

    asyncio.run(scenario())


def test_one_process_at_a_time_builds(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    async def scenario() -> None:
        clients = [open_async(postgres_url) for _ in range(6)]
        await clients[0].add_many(facts(MANY))
        await asyncio.gather(*(found(client) for client in clients for _ in range(5)))
        await until(lambda: built(postgres, database) == 1)
        for client in clients:
            await client.close()

    asyncio.run(scenario())
    log = (postgres.folder / "log").read_text()
    assert 'memories_embedding" already exists' not in log
    assert "deadlock" not in log


@pytest.mark.parametrize("divided", [False, True])
def test_every_part_of_a_divided_store_is_indexed(
    postgres: PostgresCluster, database: str, postgres_url: str, by_index: list[str], divided: bool
) -> None:
    options: dict[str, Any] = {"partitions": 3, "db_schema": "Own"} if divided else {"precision": "half"}

    async def scenario() -> None:
        async with open_async(postgres_url, **options) as memory:
            for n in range(4):
                await memory.add_many(facts(MANY, f"user {n}"))
            await found(memory, "user 0")
            await until(lambda: built(postgres, database) == (4 if divided else 1))
            for n in range(4):
                assert len(await found(memory, f"user {n}")) == 20
            assert len(by_index) >= 4
        async with open_async(postgres_url, **{**options, "index": "hnsw"}) as memory:
            assert len(await found(memory, "user 0")) == 20

    asyncio.run(scenario())


def test_what_the_doctor_says_of_the_index(postgres_url: str) -> None:
    async def told(**options: Any) -> str:
        async with open_async(postgres_url, **options) as memory:
            await memory.list("u")
            [(step, ok, detail, _)] = await memory.adapter.diagnose()  # type: ignore[attr-defined]
            assert (step, ok) == ("index", True)
            return str(detail)

    assert "not indexed" in asyncio.run(told())
    assert "exact" in asyncio.run(told(index="none"))
    assert "ten times" in asyncio.run(told(index="hnsw"))


def test_a_sync_client_closes_beside_a_build(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    with Memory(postgres_url, embedder="test:32") as memory:
        memory.add_many(facts(MANY))
        memory.search("fact", "u", mode="vector")
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = 'openmem'"
    with psycopg.connect(postgres.url("postgres"), autocommit=True) as session:
        while session.execute(sql, [database]).fetchone() != (0,):  # a server process ends a moment after its client
            pass


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_pages_by_the_index_fit_together(
    postgres: PostgresCluster,
    database: str,
    postgres_url: str,
    by_index: list[str],
    monkeypatch: pytest.MonkeyPatch,
    mode: Any,
) -> None:
    monkeypatch.setattr(postgres_search, "BY_WORDS", 30)  # fewer than the memories with a word of the query
    words = ("apple", "pear", "plum", "fig", "grape", "lime")
    texts = [" ".join(words[n % 6 :] + words[: n % 5]) + f" {n % 37}" for n in range(400)]

    async def scenario() -> None:
        async with open_async(postgres_url) as memory:
            await memory.add_many(
                [{"content": text, "importance": n % 10 / 10} for n, text in enumerate(texts)], user_id="u"
            )
            await found(memory)
            await until(lambda: built(postgres, database) == 1)
            for selection in ({}, {"filter": {"importance": {"gte": 0.3}}}):
                by_index.clear()
                whole = await memory.search("fig pear 7", "u", mode=mode, limit=60, **selection)
                for size in (7, 20, 60):
                    laid: list[Any] = []
                    for offset in range(0, 60, size):
                        limit = min(size, 60 - offset)
                        laid += await memory.search(
                            "fig pear 7", "u", mode=mode, limit=limit, offset=offset, **selection
                        )
                    assert laid == whole, size
                assert by_index

    asyncio.run(scenario())
