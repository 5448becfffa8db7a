"""postgres:// reading: where nothing may be written, from a replica alone, in few statements; and what errors say."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from openmem import AsyncMemory, ConfigurationError, InvalidRequestError, Memory, OMPError, ProviderUnavailableError
from openmem.adapters.postgres import connections as postgres_connections
from openmem.adapters.postgres import search as postgres_search
from openmem.adapters.postgres import store as postgres_store
from openmem.adapters.postgres.connections import Connections
from support.servers import PostgresCluster
from support.stores import everything, open_store, refused


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the reading statements that are run, with their values."""
    run: list[tuple[str, Mapping[str, Any]]] = []
    rows = Connections.rows

    async def noted(self: Connections, sql: str, values: Mapping[str, Any], **how: Any) -> Any:
        run.append((sql, values))
        return await rows(self, sql, values, **how)

    monkeypatch.setattr(Connections, "rows", noted)
    return run


# --- where nothing may be written -------------------------------------------------------------------------------


def reads(memory: Memory, memory_id: str) -> None:
    """Read in every way."""
    assert memory.get(memory_id, user_id="u").content == "green tea"
    assert len(memory.list("u").items) == 1
    assert len(memory.search("tea", "u")) == 1
    assert memory.stats("u").total == 1
    assert len(memory.history(memory_id, user_id="u")) == 1
    assert memory.related(memory_id, user_id="u") == []
    assert {entry.action for entry in memory.audit("u", limit=1000)} >= {"add", "get", "list", "search"}


@pytest.fixture
def reader(postgres: PostgresCluster, database: str, postgres_url: str) -> Iterator[str]:
    """The URL of a store with one memory, as a role that may only select."""
    with open_store(postgres_url) as memory:
        memory.add("green tea", "u")
    name = f"reader_{database}"
    postgres.run(f"CREATE ROLE {name} LOGIN")
    postgres.run(f"GRANT USAGE ON SCHEMA openmem TO {name}", database=database)
    postgres.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA openmem TO {name}", database=database)
    yield postgres.url(database, name)
    postgres.run(f"DROP OWNED BY {name} CASCADE", database=database)
    postgres.run(f"DROP ROLE {name}")


def test_a_role_that_may_only_select_reads(reader: str, caplog: pytest.LogCaptureFixture) -> None:
    with open_store(reader, retries=0) as memory:
        kept = memory.list("u").items[0]
        for _ in range(100):
            reads(memory, kept.id)
        for write in (
            lambda: memory.add("x", "u"),
            lambda: memory.update(kept.id, content="x"),
            lambda: memory.delete(kept.id),
        ):
            with pytest.raises(ConfigurationError, match="lacks a right") as caught:
                write()
            assert caught.value.written == "nothing"
        reads(memory, kept.id)
    assert "reads are not stored: the role lacks a right" in caplog.text


def test_a_store_that_must_be_changed_first_is_refused_to_who_may_not(
    postgres: PostgresCluster, database: str, reader: str
) -> None:
    assert "other" in refused(reader, embedder="test:64").message or refused(reader, embedder="test:64").remedy
    postgres.run("UPDATE openmem.meta SET value = 'older' WHERE name = 'analysis'", database=database)
    assert "lacks a right" in refused(reader).message


@pytest.fixture(scope="module")
def replicated(servers: Path) -> Iterator[tuple[PostgresCluster, PostgresCluster]]:
    """A server and its replica."""
    primary = PostgresCluster(servers / "leader", ["fsync = off"])
    replica = primary.follow(servers / "follower")
    yield primary, replica
    replica.close()
    primary.close()


def followed(pair: tuple[PostgresCluster, PostgresCluster]) -> tuple[str, str, str]:
    """Make a store of one memory, and wait until the replica has it; return both URLs and the memory's id."""
    primary, replica = pair
    name = primary.create()
    with open_store(primary.url(name)) as memory:
        kept = memory.add("green tea", "u").id
        reads(memory, kept)
    [(written,)] = primary.run("SELECT pg_current_wal_lsn()::text")
    with psycopg.connect(replica.url("postgres"), autocommit=True) as session:
        while session.execute("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", [written]).fetchone() != (True,):
            pass
    return primary.url(name), replica.url(name), kept


def test_a_hot_standby_alone_is_read(replicated: tuple[PostgresCluster, PostgresCluster]) -> None:
    _, standby, kept = followed(replicated)
    with open_store(standby) as memory:
        reads(memory, kept)
        with pytest.raises(ConfigurationError, match="only reads") as caught:
            memory.add("x", "u")
        assert caught.value.written == "nothing"


def test_the_replica_answers_while_the_server_is_away(
    replicated: tuple[PostgresCluster, PostgresCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, replica_url, kept = followed(replicated)
    options: dict[str, Any] = {"replica_url": replica_url, "connect_timeout": 1.0, "retries": 0}
    primary, _ = replicated
    with open_store(url, **options) as memory:
        reads(memory, kept)
        primary.kill()
        try:
            for _ in range(100):
                memory.search("tea", "u")
                assert memory.get(kept, user_id="u").content == "green tea"
            with open_store(url, **options) as late:
                assert len(late.search("tea", "u")) == 1
                with pytest.raises(ProviderUnavailableError) as caught:
                    late.add("x", "u")
                assert caught.value.written == "nothing"
                primary.start()
                late.add("black tea", "u")
                assert len(late.list("u").items) == 2
        finally:
            primary.start()
        memory.add("mint tea", "u")  # from here on the replica has to have caught up with it, and so with the other's
        assert len(memory.list("u").items) == 3


def test_a_replica_that_is_down_is_not_waited_for_each_time(
    replicated: tuple[PostgresCluster, PostgresCluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, replica_url, _ = followed(replicated)
    lent: list[float | None] = []
    session = postgres_connections.Server.session

    def noted(self: Any, patience: float | None = None) -> Any:
        lent.append(patience)
        return session(self, patience)

    with open_store(url, replica_url=replica_url) as memory:
        memory.list("u")
        replicated[1].kill()
        try:
            monkeypatch.setattr(postgres_connections.Server, "session", noted)
            for _ in range(50):
                assert len(memory.list("u").items) == 1
        finally:
            replicated[1].start()
    assert lent.count(postgres_connections.REPLICA_PATIENCE) <= 2


# --- opening ----------------------------------------------------------------------------------------------------


def test_words_are_reindexed_in_pieces_that_are_taken_up_again(
    postgres: PostgresCluster, database: str, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_store(postgres_url, embedder="none") as memory:
        for n in range(7):
            memory.add(f"seven swans {'and a heron ' * n}", f"user {n % 2}")
        expected = [[(hit.memory.id, hit.score) for hit in memory.search("swan heron", f"user {n}")] for n in (0, 1)]
    postgres.run("UPDATE openmem.users SET memories = 77", database=database)
    postgres.run("UPDATE openmem.meta SET value = 'older' WHERE name = 'analysis'", database=database)
    worked: list[Any] = []
    indexed = postgres_store.indexed

    def fails_later(memory: Any) -> Any:
        worked.append(memory.id)
        if len(worked) == 4:
            raise KeyboardInterrupt
        return indexed(memory)

    monkeypatch.setattr(postgres_store, "BATCH", 2)
    monkeypatch.setattr(postgres_store, "indexed", fails_later)

    async def interrupted() -> None:
        memory = AsyncMemory(postgres_url, embedder="none")
        await memory.open()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(interrupted())
    half = postgres.run("SELECT count(DISTINCT key) FROM openmem.postings", database=database)
    assert half == [(2,)], "what was finished stays"
    with open_store(postgres_url, embedder="none") as memory:
        found = [[(hit.memory.id, hit.score) for hit in memory.search("swan heron", f"user {n}")] for n in (0, 1)]
    assert found == expected
    assert len(worked) == 4 + 5, "and is not done again"


# --- few statements ---------------------------------------------------------------------------------------------


def test_a_long_history_is_one_statement_more_than_its_start(postgres_url: str, statements: list[Any]) -> None:
    with open_store(postgres_url, embedder="none") as memory:
        ids = [memory.add("fact 0", "u").id]
        for n in range(1, 41):
            ids.append(memory.add(f"fact {n}", "u", supersedes=[ids[-1]]).id)
        memory.add("another", "u")
        for start in (ids[0], ids[20], ids[40]):
            statements.clear()
            assert [record.id for record in memory.history(start)] == ids
            assert len(statements) == 2


def test_an_external_id_is_found_by_its_index(postgres_url: str, statements: list[Any]) -> None:
    with open_store(postgres_url, embedder="none") as memory:
        memory.add_many([{"content": f"fact {n}", "user_id": "u", "external_id": f"k{n}"} for n in range(3000)])
        statements.clear()
        for filter_ in ({"external_id": "k7"}, {"external_id": {"eq": "k7"}, "metadata.x": {"exists": False}}):
            assert [record.content for record in memory.list("u", filter=filter_).items] == ["fact 7"]
    with psycopg.connect(postgres_url) as session:
        session.execute("SET plan_cache_mode = force_generic_plan")
        for sql, values in statements:
            plan = "\n".join(line for (line,) in session.execute(f"EXPLAIN {sql}", values).fetchall())
            assert "memories_external" in plan, plan


def test_a_list_of_values_is_one_parameter(postgres_url: str, statements: list[Any]) -> None:
    with open_store(postgres_url, embedder="none") as memory:
        memory.add("a fact", "u", metadata={"n": 5, "t": 'five "5"'})
        numbers: list[Any] = list(range(4000))
        statements.clear()
        assert len(memory.list("u", filter={"metadata.n": {"in": numbers}}).items) == 1
        assert len(memory.list("u", filter={"metadata.n": {"nin": numbers}}).items) == 0
        assert len(memory.list("u", filter={"metadata.t": {"in": ["x", 'five "5"', True, 0.5]}}).items) == 1
        assert all(len(values) < 20 for _, values in statements)


def test_a_request_beyond_the_servers_bounds_is_refused_as_such(postgres_url: str) -> None:
    with open_store(postgres_url, embedder="none", retries=0) as memory:
        memory.add("a fact", "u")
        deep = "metadata." + ".".join(["a"] * 30_000)
        try:
            assert memory.list("u", filter={deep: 1}).items == []
        except OMPError as error:
            assert isinstance(error, InvalidRequestError)


# --- ranking below zero -----------------------------------------------------------------------------------------


class Angle:
    """Turns a text of degrees into the vector of that direction."""

    model, dimension, inline = "angle", 2, True

    async def embed(self, texts: Any) -> Any:
        angles = [math.radians(float(text.split()[-1])) for text in texts]
        return [[math.cos(angle), math.sin(angle)] for angle in angles]

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("exact", [5000, 2])
def test_the_nearest_come_first_also_below_zero(postgres_url: str, monkeypatch: pytest.MonkeyPatch, exact: int) -> None:
    monkeypatch.setattr(postgres_search, "EXACT", exact)
    monkeypatch.setattr(postgres_search, "INDEX_COST", 0)
    with Memory(postgres_url, embedder=Angle(), index="hnsw") as memory:
        for degrees in ("95", "120", "150", "180"):
            memory.add(degrees, "u")
        for mode in ("vector", "hybrid"):
            found = memory.search("0", "u", mode=mode, limit=3)  # type: ignore[arg-type]
            assert [(hit.memory.content, hit.score) for hit in found] == [("95", 0.0), ("120", 0.0), ("150", 0.0)]
        start = memory.add("0", "u")
        assert [hit.memory.content for hit in memory.related(start.id, limit=2)] == ["95", "120"]


# --- what was written -------------------------------------------------------------------------------------------


def test_an_error_says_whether_anything_was_written(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    with open_store(postgres_url, retries=0) as memory:
        memory.add("a fact", "u")
        postgres.run(
            """CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$""",
            database=database,
        )
        postgres.run(
            """CREATE CONSTRAINT TRIGGER lose AFTER INSERT ON openmem.memories DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION lose()""",
            database=database,
        )
        with pytest.raises(ProviderUnavailableError) as caught:
            memory.add("lost in commit", "u")
        assert caught.value.written == "perhaps"
        postgres.run("DROP TRIGGER lose ON openmem.memories", database=database)
        postgres.run("ALTER TABLE openmem.memories ADD CHECK (record ->> 'content' <> 'refused')", database=database)
        with pytest.raises(OMPError) as refusal:
            memory.add("refused", "u")
        assert refusal.value.written == "nothing"
        [result] = memory.add_many([{"content": "refused"}], user_id="u")
        assert result.error is not None
        assert result.error.written == "nothing"
        assert [record.content for record in everything(memory, "u")] == ["a fact"]
    with open_store("postgres://nobody@127.0.0.1:1/x", retries=0) as away, pytest.raises(OMPError) as unmade:
        away.add("a fact", "u")
    assert unmade.value.written == "nothing"
