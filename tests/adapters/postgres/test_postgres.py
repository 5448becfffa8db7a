"""postgres:// as a store: opening, other embeddings, roles and rights, its options, the doctor, closing."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import operator
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from openmem import (
    AsyncMemory,
    ConfigurationError,
    InvalidRequestError,
    Memory,
    NotFoundError,
    ProviderError,
    UnauthorizedError,
)
from openmem.adapters.postgres import PostgresAdapter
from openmem.embedding import RefusedTextsError
from openmem.embedding.testing import WordEmbedder
from openmem.types import EmbeddingInfo, SearchResult
from support.clocks import START, Clock
from support.servers import PostgresCluster
from support.stores import everything, open_store, refused

SPAWN = multiprocessing.get_context("spawn")


def sql_of(error: ConfigurationError) -> str:
    """Return the statement that a remedy says to run."""
    return error.remedy.partition(": ")[2]


# --- opening ----------------------------------------------------------------------------------------------------


def test_everything_survives_reopening(postgres_url: str) -> None:
    clock = Clock()

    def seen(memory: Memory) -> list[Any]:
        records = everything(memory, "u")
        found = [memory.search("tea in the garden", "u", mode=mode) for mode in ("vector", "keyword", "hybrid")]
        chains = [memory.history(record.id) for record in records]
        return [records, found, chains, memory.stats("u"), len(memory.audit("u", limit=1000))]

    with open_store(postgres_url, clock=clock) as memory:
        first = memory.add(
            "prefers green tea",
            "u",
            scope="a/b",
            tags=["x"],
            source={"app": "chat", "x-part": [1, None]},
            confidence=0.5,
            valid_from=START - timedelta(days=1, microseconds=1),
            metadata={"deep": {"er": [1.5, None, "é"]}},
            kind="fact",
            importance=0.25,
            external_id="k",
            pinned=True,
            **{"x-own": {"a": 1}},
        )
        clock.tick()
        memory.add("prefers black tea in the garden", "u", supersedes=[first.id])
        gone = memory.add("tea no more", "u")
        clock.tick()
        memory.update(first.id, metadata={"deep": {"more": True}})
        memory.delete(gone.id)
        before = seen(memory)
    with open_store(postgres_url, clock=clock) as memory:
        after = seen(memory)
    assert after[:-1] == before[:-1]
    assert after[-1] > before[-1], "the audit log kept what was read before"
    assert [len(found) for found in before[1]] == [1, 1, 1]


def _meet(barrier: Any) -> None:
    barrier.wait(120)


def _open_and_add(url: str, number: int) -> int:
    with open_store(url) as memory:
        memory.add(f"fact {number}", "u")
    return number


def test_many_processes_open_an_empty_database_at_once(postgres_url: str) -> None:
    with SPAWN.Pool(12, _meet, (SPAWN.Barrier(12),)) as pool:
        assert pool.starmap(_open_and_add, [(postgres_url, n) for n in range(12)], chunksize=1) == list(range(12))
    with open_store(postgres_url) as memory:
        assert len(memory.list("u").items) == 12


def test_many_clients_open_an_empty_database_at_once(postgres_url: str) -> None:
    async def scenario() -> None:
        clients = [AsyncMemory(postgres_url, embedder="test:32") for _ in range(12)]
        await asyncio.gather(*(client.add("a fact", "u") for client in clients))
        assert len((await clients[0].list("u")).items) == 12
        for client in clients:
            await client.close()

    asyncio.run(scenario())


def test_another_schema_is_another_store(postgres_url: str) -> None:
    schemas = ("openmem", "other", "Other", "select")
    for schema in schemas:
        with open_store(postgres_url, db_schema=schema) as memory:
            memory.add(f"in openmem.memories of {schema}", "u", external_id="k")
    for schema in schemas:
        with open_store(postgres_url, db_schema=schema) as memory:
            assert [record.content for record in memory.list("u").items] == [f"in openmem.memories of {schema}"]
            assert len(memory.search("openmem.memories", "u")) == 1
            memory.delete(memory.list("u").items[0].id)


@pytest.mark.parametrize("schema", ["", "a-b", 'a"b', "a b", "1a", "x" * 64, "é"])
def test_names_that_would_need_care_are_no_schema(schema: str) -> None:
    with pytest.raises(ConfigurationError, match="db_schema"):
        Memory("postgres://localhost/x", db_schema=schema)


def test_a_newer_schema_is_refused(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    with open_store(postgres_url) as memory:
        memory.list("u")
    postgres.run("UPDATE openmem.meta SET value = '99' WHERE name = 'version'", database=database)
    error = refused(postgres_url)
    assert "schema 99" in error.message
    assert "Upgrade" in error.remedy


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_a_database_that_does_not_keep_unicode_is_refused(postgres: PostgresCluster, encoding: str) -> None:
    name = postgres.create(f"ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    error = refused(postgres.url(name))
    assert "Unicode" in error.message
    assert postgres.run("SELECT 1 FROM pg_namespace WHERE nspname = 'openmem'", database=name) == []


def test_a_schema_of_another_program_is_left_alone(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    postgres.run("CREATE SCHEMA openmem", database=database)
    postgres.run("CREATE TABLE openmem.users (theirs int)", database=database)
    with open_store(postgres_url) as memory, pytest.raises(Exception, match="users") as caught:
        memory.add("a fact", "u")
    assert isinstance(caught.value, ConfigurationError)
    assert postgres.run("SELECT * FROM openmem.users", database=database) == []
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'openmem'::regnamespace"
    assert postgres.run(tables, database=database) == [("users",)]


def test_a_changed_text_analysis_is_reindexed_on_opening(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    with open_store(postgres_url, embedder="none") as memory:
        ids = [memory.add(f"seven swans {'and a heron ' * n}", f"user {n % 2}").id for n in range(5)]
        expected = [(hit.memory.id, hit.score) for hit in memory.search("swan heron", "user 0")]
    postgres.run("DELETE FROM openmem.postings", database=database)
    postgres.run("UPDATE openmem.users SET memories = 77", database=database)
    postgres.run("UPDATE openmem.meta SET value = 'older' WHERE name = 'analysis'", database=database)
    with open_store(postgres_url, embedder="none") as memory:
        assert [(hit.memory.id, hit.score) for hit in memory.search("swan heron", "user 0")] == expected
        assert {hit.memory.id for hit in memory.search("swan", "user 1")} == {ids[1], ids[3]}
        memory.delete(ids[1])
        assert {hit.memory.id for hit in memory.search("swan", "user 1")} == {ids[3]}


SECOND = (
    "ALTER TABLE openmem.users ADD length bigint NOT NULL DEFAULT 7",
    "ALTER TABLE openmem.postings DROP weight, ADD count int NOT NULL DEFAULT 1, ADD length int NOT NULL DEFAULT 1",
    "UPDATE openmem.postings SET term = reverse(term)",
    "UPDATE openmem.meta SET value = 'english-1' WHERE name = 'analysis'",
    "UPDATE openmem.meta SET value = '2' WHERE name = 'version'",
)
"""Makes of a store one of the second schema: counts and lengths in place of weights, of another text analysis."""
FIRST = (
    """UPDATE openmem.users u SET memories = t.memories, length = t.length, stripe = -1
        FROM (SELECT sum(memories) AS memories, sum(length) AS length FROM openmem.users) t
        WHERE ctid = (SELECT min(ctid) FROM openmem.users)""",
    "DELETE FROM openmem.users WHERE stripe >= 0",
    "ALTER TABLE openmem.users DROP stripe, ADD PRIMARY KEY (user_id)",
    "UPDATE openmem.meta SET value = '1' WHERE name = 'version'",
)
"""Makes of a store of the second schema one of the first."""


@pytest.mark.parametrize("earlier", [SECOND, SECOND + FIRST], ids=["second", "first"])
def test_a_store_of_an_earlier_schema_is_brought_up_to_date(
    postgres: PostgresCluster, database: str, postgres_url: str, earlier: Sequence[str]
) -> None:
    with open_store(postgres_url, embedder="none") as memory:
        memory.add_many([{"content": f"seven swans {'and a heron ' * n}", "user_id": "ann"} for n in range(40)])
        expected = [(hit.memory.id, hit.score) for hit in memory.search("swan heron", "ann")]
    for sql in earlier:
        postgres.run(sql, database=database)
    with open_store(postgres_url, embedder="none") as memory:
        assert [(hit.memory.id, hit.score) for hit in memory.search("swan heron", "ann")] == expected
        memory.delete(memory.add("a swan", "ann").id)
        assert [(hit.memory.id, hit.score) for hit in memory.search("swan heron", "ann")] == expected


# --- embeddings -------------------------------------------------------------------------------------------------


def reembed(url: str, dimension: int, embed: Any = None, **options: Any) -> int:
    embedder = WordEmbedder(dimension=dimension)
    info = EmbeddingInfo(model=embedder.model, dimension=dimension)
    fields = psycopg.conninfo.conninfo_to_dict(url)
    adapter = PostgresAdapter(PostgresAdapter.settings_type(**fields, **options), embedding=info)

    async def again() -> int:
        try:
            return await adapter.reembed(embed or embedder.embed)
        finally:
            await adapter.close()

    return asyncio.run(again())


def assert_cosines(found: Sequence[SearchResult], query: str, dimension: int) -> None:
    """Work out the scores of a vector search from the contents of what it found."""
    contents = [hit.memory.content for hit in found]
    first, *others = asyncio.run(WordEmbedder(dimension=dimension).embed([query, *contents]))
    assert [sum(map(operator.mul, first, other)) for other in others] == pytest.approx(
        [hit.score for hit in found], abs=2e-3
    )
    assert found[0].score > 0.99


def test_another_embedding_is_refused_naming_reembed(postgres_url: str) -> None:
    with open_store(postgres_url) as memory:
        memory.add("a fact", "u")
    for embedder in ("none", "test:64"):
        assert "openmem reembed" in refused(postgres_url, embedder=embedder).remedy


def test_an_empty_store_takes_the_embedding_it_is_opened_with(postgres_url: str) -> None:
    for embedder in ("none", "test:32", "none"):
        with open_store(postgres_url, embedder=embedder) as memory:
            memory.list("u")
    with open_store(postgres_url, embedder="test:64") as memory:
        memory.add("a fact", "u")
        assert memory.search("fact", "u", mode="vector")


@pytest.mark.parametrize("before", ["none", "test:16"])
@pytest.mark.parametrize("precision", ["single", "half"])
def test_reembed_replaces_every_vector(
    postgres: PostgresCluster, database: str, postgres_url: str, before: str, precision: str
) -> None:
    with open_store(postgres_url, embedder=before) as memory:
        items = [{"content": f"fact number {n}", "user_id": f"user {n % 2}"} for n in range(1500)]
        ids = [result.id for result in memory.add_many(items)]
    assert reembed(postgres_url, 64, precision=precision) == 1500
    with open_store(postgres_url, embedder="test:64", precision=precision) as memory:
        assert memory.get(str(ids[7])).embedding_model == "test-words-64"
        found = memory.search("fact number 7", "user 1", mode="vector", limit=100)
        assert_cosines(found, "fact number 7", 64)
    nothing = "SELECT count(*) FROM openmem.memories WHERE embedding IS NULL"
    assert postgres.run(nothing, database=database) == [(0,)]
    assert "openmem reembed" in refused(postgres_url, embedder=before).remedy


def test_precision_is_held_to_like_the_embedding(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    with open_store(postgres_url, precision="half") as memory:
        memory.add("a fact", "u")
        assert memory.search("fact", "u", mode="vector")[0].score == pytest.approx(2**-0.5, abs=1e-3)
    kind = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attname = 'embedding'"
    kind += " AND attrelid = 'openmem.memories'::regclass"
    assert postgres.run(kind, database=database) == [("halfvec(32)",)]
    error = refused(postgres_url, precision="single")
    assert "half" in error.message
    assert "openmem reembed" in error.remedy
    with open_store(postgres_url, precision="half") as memory:
        assert len(memory.search("fact", "u", mode="vector")) == 1


def test_vectors_beyond_what_an_index_holds_need_another_choice(postgres_url: str) -> None:
    assert "precision=half" in refused(postgres_url, embedder="test:2001", index="hnsw").remedy
    assert "index=auto" in refused(postgres_url, embedder="test:4001", index="hnsw", precision="half").remedy
    with open_store(postgres_url, embedder="test:4001") as memory:
        memory.add("a fact", "u")
        assert len(memory.search("fact", "u", mode="vector")) == 1


def test_an_index_is_made_when_it_is_wanted(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    index = "SELECT count(*) FROM pg_indexes WHERE indexdef LIKE '%USING hnsw%'"
    for wanted, expected in (("none", 0), ("hnsw", 1), ("none", 1)):
        with open_store(postgres_url, index=wanted) as memory:
            memory.add(f"fact {wanted}", "u")
            assert memory.search(f"fact {wanted}", "u", limit=1)[0].memory.content == f"fact {wanted}"
        assert postgres.run(index, database=database) == [(expected,)]


# --- roles and rights -------------------------------------------------------------------------------------------


@pytest.fixture
def role(postgres: PostgresCluster, database: str) -> Iterator[str]:
    """A role without any rights beyond logging in."""
    name = f"role_{database}"
    postgres.run(f"CREATE ROLE {name} LOGIN")
    yield name
    postgres.run(f"DROP OWNED BY {name} CASCADE", database=database)
    postgres.run(f"ALTER DATABASE {database} OWNER TO postgres")
    postgres.run(f"DROP ROLE {name}")


def test_a_plain_role_is_told_what_to_run_and_then_works(postgres: PostgresCluster, database: str, role: str) -> None:
    url = postgres.url(database, role)
    error = refused(url)
    assert role in error.message
    postgres.run(sql_of(error), database=database)
    error = refused(url)
    assert "extension vector" in error.message
    assert "superuser" in error.remedy
    postgres.run(sql_of(error), database=database)
    with open_store(url) as memory:
        memory.add("a fact", "u")
        assert len(memory.search("facts", "u")) == 1


def test_the_owner_of_the_database_lacks_the_extension_only(
    postgres: PostgresCluster, database: str, role: str
) -> None:
    postgres.run(f"ALTER DATABASE {database} OWNER TO {role}")
    url = postgres.url(database, role)
    assert sql_of(refused(url)) == "CREATE EXTENSION vector;"
    with open_store(url, embedder="none") as memory:
        memory.add("a fact", "u")
        assert len(memory.search("facts", "u")) == 1
    assert postgres.run("SELECT 1 FROM pg_extension WHERE extname = 'vector'", database=database) == []


def test_an_extension_out_of_sight_is_named(postgres: PostgresCluster, database: str, role: str) -> None:
    postgres.run(f"ALTER DATABASE {database} OWNER TO {role}")
    postgres.run("CREATE SCHEMA extensions", database=database)
    postgres.run("CREATE EXTENSION vector SCHEMA extensions", database=database)
    url = postgres.url(database, role)
    error = refused(url)
    assert "search path" in error.message
    postgres.run(sql_of(error), database=database)
    postgres.run(f"GRANT USAGE ON SCHEMA extensions TO {role}", database=database)
    with open_store(url) as memory:
        memory.add("a fact", "u")
        assert len(memory.search("facts", "u")) == 1


def test_an_old_pgvector_is_refused(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    postgres.run("CREATE EXTENSION vector", database=database)
    postgres.run("UPDATE pg_extension SET extversion = '0.7.4' WHERE extname = 'vector'", database=database)
    error = refused(postgres_url)
    assert "0.7.4 is too old" in error.message
    assert "0.8" in error.remedy


def test_a_reader_of_someone_elses_store_is_told_what_it_lacks(
    postgres: PostgresCluster, database: str, postgres_url: str, role: str
) -> None:
    with open_store(postgres_url) as memory:
        memory.add("a fact", "u")
    postgres.run(f"GRANT USAGE ON SCHEMA openmem TO {role}", database=database)
    error = refused(postgres.url(database, role))
    assert "lacks a right" in error.message


# --- options ----------------------------------------------------------------------------------------------------


def test_a_divided_store_works_and_stays_divided(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    with open_store(postgres_url, partitions=4) as memory:
        ids = [memory.add(f"fact {n}", f"user {n}", external_id="k").id for n in range(20)]
        memory.add_many([{"content": f"more {n}", "user_id": f"user {n % 20}"} for n in range(200)])
        for n, memory_id in enumerate(ids):
            assert memory.add(f"fact {n}", f"user {n}", external_id="k").id == memory_id
            assert memory.get(memory_id).user_id == f"user {n}"
            assert len(memory.search(f"fact {n}", f"user {n}", limit=20)) == 11
        assert memory.update(ids[3], content="changed").version == 3
        memory.delete(ids[4])
        with pytest.raises(NotFoundError):
            memory.get(ids[4])
    sizes = postgres.run("SELECT count(*) FROM openmem.memories GROUP BY tableoid", database=database)
    assert len(sizes) == 4
    assert sum(size for (size,) in sizes) == 219
    assert "4 partitions, not 8" in refused(postgres_url, partitions=8).message
    with open_store(postgres_url) as memory:
        assert len(everything(memory, "user 0")) == 11


def test_an_undivided_store_cannot_be_divided(postgres_url: str) -> None:
    with open_store(postgres_url) as memory:
        memory.list("u")
    assert "0 partitions, not 4" in refused(postgres_url, partitions=4).message


@pytest.mark.parametrize("pgbouncer", [True, False])
def test_behind_pgbouncer_sessions_keep_nothing(
    postgres: PostgresCluster, database: str, postgres_url: str, pgbouncer: bool
) -> None:
    """What a pooler hands to the next client must not depend on the one before."""
    settings = "SELECT name FROM pg_settings WHERE source IN ('client', 'session') AND name <> 'application_name'"

    async def scenario() -> list[Any]:
        adapter = PostgresAdapter(
            PostgresAdapter.settings_type(
                **psycopg.conninfo.conninfo_to_dict(postgres_url), pgbouncer=pgbouncer, pool_size=1
            ),
            embedding=EmbeddingInfo(model="m", dimension=2),
        )
        async with AsyncMemory(adapter) as memory:
            for n in range(12):
                await memory.add(f"fact {n}", "u", vector=[1, n], external_id=f"{n % 3}")
                await memory.search("fact", "u", vector=[1, 0])
                await memory.list("u", filter={"external_id": "1"})
            assert adapter.connections is not None
            # The session itself is looked at: another one cannot see what it prepared.
            async with adapter.connections.primary.session() as connection:
                prepared = await (await connection.execute("SELECT count(*) FROM pg_prepared_statements")).fetchone()
                cursor = await connection.execute(settings)  # type: ignore[arg-type]
                return [prepared, {name for (name,) in await cursor.fetchall()}]

    (prepared,), sent = asyncio.run(scenario())
    if pgbouncer:
        assert (prepared, sent - {"client_encoding"}) == (0, set())
    else:
        assert prepared > 0
        assert {"statement_timeout", "jit"} <= sent


def test_the_statement_timeout_is_a_typed_error(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    from openmem import ProviderUnavailableError

    with open_store(postgres_url, statement_timeout=0.1, retries=0) as memory:
        kept = memory.add("a fact", "u")
        with psycopg.connect(postgres_url) as other:
            other.execute("SELECT FROM openmem.memories FOR UPDATE")
            with pytest.raises(ProviderUnavailableError) as caught:
                memory.update(kept.id, content="changed")
        assert "statement_timeout" in caught.value.message
        assert memory.get(kept.id).content == "a fact"
        assert memory.update(kept.id, content="changed").version == 2


# --- row-level security -----------------------------------------------------------------------------------------


@pytest.fixture
def secured(postgres: PostgresCluster, database: str, role: str) -> str:
    """The URL of a database with the extension, as a role that row-level security binds."""
    postgres.run(f"ALTER DATABASE {database} OWNER TO {role}")
    postgres.run("CREATE EXTENSION vector", database=database)
    return postgres.url(database, role)


def test_the_database_itself_refuses_rows_of_another_user(secured: str) -> None:
    with open_store(secured, rls=True) as memory:
        ids = {user: memory.add(f"a fact of {user}", user, external_id="k").id for user in ("ann", "bob", '"', "a,b")}
        memory.search("fact", "ann")
        assert len(memory.audit("ann")) == 2
    with psycopg.connect(secured, autocommit=True) as session:
        for table in ("memories", "postings", "users", "audit"):
            assert session.execute(f"SELECT user_id FROM openmem.{table}").fetchall() == []
            with session.transaction():
                session.execute("""SELECT set_config('omp.users', '["ann"]', true)""")
                seen = {user for (user,) in session.execute(f"SELECT user_id FROM openmem.{table}").fetchall()}
                assert seen == {"ann"}
        assert session.execute("SELECT count(*) FROM openmem.memories").fetchone() == (0,), "the setting ended"
        assert session.execute("UPDATE openmem.memories SET archived = true").rowcount == 0
        assert session.execute("DELETE FROM openmem.memories").rowcount == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege), session.transaction():
            session.execute("""SELECT set_config('omp.users', '["ann"]', true)""")
            session.execute("INSERT INTO openmem.users (user_id, memories) VALUES ('bob2', 1)")
    with open_store(secured, rls=True) as memory:
        for user, memory_id in ids.items():
            assert memory.get(memory_id, user_id=user).content == f"a fact of {user}"


def test_every_verb_works_under_row_level_security(secured: str) -> None:
    with open_store(secured, rls=True) as memory:
        first = memory.add("green tea", "ann", scope="a/b", external_id="k")
        assert memory.add("black tea", "ann", external_id="k").id == first.id
        items = [{"content": f"tea {n}", "user_id": ("ann", "bob")[n % 2]} for n in range(100)]
        assert all(result.error is None for result in memory.add_many(items))
        assert len(memory.list("bob", limit=100).items) == 50
        assert len(memory.search("tea", "ann", limit=100)) == 51
        second = memory.add("oolong", "ann", supersedes=[first.id])
        assert [record.id for record in memory.history(first.id, user_id="ann")] == [first.id, second.id]
        assert memory.update(second.id, user_id="ann", content="white tea").version == 2
        assert memory.related(second.id, user_id="ann", limit=3)
        assert memory.stats("ann").total == 52
        assert [(each.user_id, each.count) for each in memory.users().items] == [("ann", 52), ("bob", 50)]
        assert [(each.scope, each.count) for each in memory.scopes("ann", include=["superseded"]).items] == [("a/b", 1)]
        assert memory.scopes("bob").items == []
        assert memory.health().status == "ok"
        assert "tea" in memory.context("tea", "ann").text
        assert {entry.action for entry in memory.audit("ann", limit=1000)} >= {"add", "add_many", "update", "stats"}
        gone = memory.delete_many([first.id, second.id, "none"], user_id="ann")
        assert [result.error is None for result in gone] == [True, True, False]
        with pytest.raises(NotFoundError):
            memory.get(memory.list("bob").items[0].id, user_id="ann")


def test_by_id_verbs_name_their_user_under_row_level_security(secured: str) -> None:
    with open_store(secured, rls=True) as memory:
        kept = memory.add("a fact", "ann").id
        calls = [
            lambda: memory.get(kept),
            lambda: memory.update(kept, content="changed"),
            lambda: memory.delete(kept),
            lambda: memory.history(kept),
            lambda: memory.related(kept),
        ]
        for call in calls:
            with pytest.raises(InvalidRequestError, match="names its user"):
                call()
        [result] = memory.delete_many([kept])
        assert result.error is not None
        assert "names its user" in result.error.message
        assert memory.get(kept, user_id="ann").version == 1
        with pytest.raises(NotFoundError):
            memory.get(kept, user_id="bob")


def test_row_level_security_stays_on(postgres_url: str, postgres: PostgresCluster, database: str, secured: str) -> None:
    with open_store(secured) as memory:
        memory.add("from before", "ann")
    with open_store(secured, rls=True) as memory:
        assert len(memory.list("ann").items) == 1
    assert "rls=true" in refused(secured).remedy
    assert "rls=true" in refused(postgres_url).remedy
    error = refused(postgres_url, rls=True)
    assert "does not bind this role" in error.message
    assert "SUPERUSER" in error.remedy
    assert reembed(secured, 64, rls=True) == 1
    with open_store(secured, rls=True, embedder="test:64") as memory:
        assert len(memory.search("before", "ann", mode="vector")) == 1


@pytest.mark.parametrize("rls", [False, True])
def test_vectors_under_way_are_their_users_alone(secured: str, rls: bool) -> None:
    """Row-level security may come to be in force while they are made, and binds whoever reads them then."""
    embedder = WordEmbedder(dimension=64)
    with open_store(secured, rls=rls) as memory:
        kept = memory.add("green tea", "ann").id
        long = memory.add("a long story", "bob").id

    async def refuse(texts: Sequence[str]) -> Any:
        taken = [text for text in texts if "long" not in text]
        refused = {texts.index("a long story"): InvalidRequestError("too long.")}
        raise RefusedTextsError("m", await embedder.embed(taken), refused)

    with pytest.raises(ProviderError, match=long):
        reembed(secured, 64, refuse, rls=rls)
    with psycopg.connect(secured) as session:
        assert session.execute("SELECT id FROM openmem.renewed").fetchall() == []
        for user, seen in (("bob", []), ("ann", [(kept,)])):
            session.execute("SELECT set_config('omp.users', %s, true)", [json.dumps([user])])
            assert session.execute("SELECT id FROM openmem.renewed").fetchall() == seen
    assert reembed(secured, 64, rls=rls) == 2
    with open_store(secured, rls=rls, embedder="test:64") as memory:
        for user, memory_id in (("ann", kept), ("bob", long)):
            assert [hit.memory.id for hit in memory.search("green story", user, mode="vector")] == [memory_id]


@pytest.mark.parametrize("partitions", [0, 3])
def test_a_store_with_an_index_of_vectors_is_embedded_anew(
    postgres: PostgresCluster, database: str, postgres_url: str, partitions: int
) -> None:
    items = [{"content": f"fact number {n}", "user_id": f"user {n % 4}"} for n in range(40)]
    with open_store(postgres_url, index="hnsw", partitions=partitions) as memory:
        assert all(result.error is None for result in memory.add_many(items))
    valid = """SELECT count(*), bool_and(indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        JOIN pg_am a ON a.oid = c.relam WHERE amname = 'hnsw'"""
    before = postgres.run(valid, database=database)
    assert before == [(1 + partitions, True)]
    assert reembed(postgres_url, 64, index="hnsw", precision="half") == 40
    assert postgres.run(valid, database=database) == before
    with open_store(postgres_url, embedder="test:64", index="hnsw", precision="half") as memory:
        assert_cosines(memory.search("fact number 7", "user 3", mode="vector", limit=50), "fact number 7", 64)


def test_words_are_reindexed_under_row_level_security(postgres: PostgresCluster, database: str, secured: str) -> None:
    with open_store(secured, rls=True) as memory:
        ids = {user: memory.add(f"seven swans of {user}", user).id for user in ("ann", "bob")}
    postgres.run("DELETE FROM openmem.postings", database=database)
    postgres.run("UPDATE openmem.meta SET value = 'older' WHERE name = 'analysis'", database=database)
    with open_store(secured, rls=True) as memory:
        for user, memory_id in ids.items():
            assert [hit.memory.id for hit in memory.search("swan", user, mode="keyword")] == [memory_id]


def test_row_level_security_of_a_divided_store(secured: str) -> None:
    with open_store(secured, rls=True, partitions=3) as memory:
        for n in range(9):
            memory.add("a fact", f"user {n}")
    with psycopg.connect(secured, autocommit=True) as session:
        parts = session.execute(
            "SELECT relid::regclass::text FROM pg_partition_tree('openmem.memories') WHERE isleaf"
        ).fetchall()
        for (part,) in parts:  # a part is a table of its own, and can be asked directly
            assert session.execute(f"SELECT count(*) FROM {part}").fetchone() == (0,), part  # type: ignore[arg-type]


# --- the doctor -------------------------------------------------------------------------------------------------


def examine(url: str, *options: str) -> tuple[int, dict[str, Any], str]:
    """Run the doctor; return its exit code, its last finding and everything it wrote."""
    import io
    import json
    from contextlib import redirect_stderr, redirect_stdout

    from openmem.cli import main

    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = main(["doctor", url, "--option", "embedder=test:32", *options])
    text = out.buffer.getvalue().decode()  # type: ignore[attr-defined]
    return code, json.loads(text)["findings"][-1], text + err.getvalue()


def test_the_doctor_finds_nothing_wrong(postgres_url: str) -> None:
    code, finding, _ = examine(postgres_url)
    assert (code, finding["ok"]) == (0, True)


@pytest.fixture
def locked(postgres: PostgresCluster, database: str) -> Iterator[str]:
    """A URL with a password that the server checks."""
    name = f"locked_{database}"
    postgres.run("SET password_encryption = 'scram-sha-256'")
    postgres.run(f"CREATE ROLE {name} LOGIN SUPERUSER PASSWORD 'hunter2'")
    hba = postgres.folder / "pg_hba.conf"
    rules = hba.read_text()
    hba.write_text(f"local all {name} scram-sha-256\n{rules}")
    postgres.run("SELECT pg_reload_conf()")
    yield f"postgresql://{name}:hunter2@/{database}?host={postgres.folder}"
    hba.write_text(rules)
    postgres.run("SELECT pg_reload_conf()")
    postgres.run(f"DROP OWNED BY {name} CASCADE", database=database)
    postgres.run(f"DROP ROLE {name}")


def test_the_doctor_tells_what_is_wrong(
    postgres: PostgresCluster, database: str, postgres_url: str, locked: str, role: str
) -> None:
    with open_store(postgres_url) as memory:
        memory.add("a fact", "u")
    folder = postgres.folder
    cases = [
        (f"postgresql://postgres@/{database}?host={folder}&port=1", (), "no server answers", "runs and is reachable"),
        (f"postgresql://postgres@127.0.0.1:1/{database}", (), "no server answers at 127.0.0.1:1", "is reachable"),
        (locked.replace("hunter2", "wrong"), (), "refuses the user or the password", "Check user and password"),
        (locked.replace(":hunter2", ""), (), "refuses the user or the password", "Check user and password"),
        (postgres.url(database, "nobody"), (), "refuses the user or the password", "Check user and password"),
        (postgres.url("nowhere"), (), "there is no database nowhere", "-U postgres nowhere"),
        (postgres_url, ("--option", "embedder=test:64"), "test-words-32 (32 dimensions), not", "openmem reembed"),
        (postgres.url(database, role), (), "permission denied", "Grant"),
        (f"{postgres_url}&sslmode=nonsense", (), "parameters do not make a connection", "See the cause"),
    ]
    for url, options, said, remedy in cases:
        code, finding, text = examine(url, *options)
        assert (code, finding["ok"]) == (1, False)
        assert said in finding["detail"], finding
        assert remedy in finding["remedy"], finding
        assert "wrong" not in text
    postgres.run("UPDATE openmem.meta SET value = '99' WHERE name = 'version'", database=database)
    code, finding, _ = examine(postgres_url)
    assert code == 1
    assert "Upgrade" in finding["remedy"]


def test_passwords_are_never_shown(locked: str, postgres: PostgresCluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    told: list[str] = []
    replica = f"{locked}&application_name=hunter2"
    with Memory(locked, embedder="none", replica_url=replica) as memory:
        memory.add("a fact", "u")
        memory.search("fact", "u")
        adapter = memory.adapter
        told += [repr(memory), repr(adapter.settings), str(adapter.settings), repr(vars(adapter))]
    for password in ("hunter22", "hunter2%2Fx", ""):
        url = locked.replace("hunter2", password)
        with Memory(url, embedder="none", retries=0) as memory, pytest.raises(UnauthorizedError) as caught:
            memory.add("a fact", "u")
        error: BaseException | None = caught.value
        while error is not None:
            told.append(f"{error!r} {error} {getattr(error, 'remedy', '')}")
            error = error.__cause__
    code, _, text = examine(locked.replace("hunter2", "hunter22"))
    assert code == 1
    log = (postgres.folder / "log").read_text()
    assert "hunter2" not in "\n".join([*told, text, caplog.text])
    assert "hunter22" not in log


# --- closing ----------------------------------------------------------------------------------------------------


def connections(postgres: PostgresCluster, database: str) -> int:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND application_name = 'openmem'"
    return int(postgres.run(sql, database)[0][0])


def test_closing_leaves_nothing_behind(postgres: PostgresCluster, database: str, postgres_url: str) -> None:
    threads = set(threading.enumerate())  # those of other tests among them, which may end meanwhile

    async def scenario() -> None:
        memory = AsyncMemory(postgres_url, embedder="test:32")
        await asyncio.gather(*(memory.add(f"fact {n}", "u") for n in range(30)))
        await asyncio.gather(*(memory.search("fact", "u") for _ in range(30)))
        assert 1 <= connections(postgres, database) <= 10
        await memory.close()
        await memory.close()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
    assert set(threading.enumerate()) <= threads
    assert connections(postgres, database) == 0
    with open_store(postgres_url) as memory:
        assert len([entry for entry in memory.audit("u", limit=1000) if entry.action == "search"]) == 30


def test_a_store_that_did_not_open_leaves_nothing_behind(
    postgres: PostgresCluster, database: str, postgres_url: str
) -> None:
    with open_store(postgres_url) as memory:
        memory.add("a fact", "u")
    refused(postgres_url, embedder="test:64")
    assert connections(postgres, database) == 0


def test_a_closed_store_answers_no_more(postgres_url: str) -> None:
    from openmem import ClosedError

    memory = open_store(postgres_url)
    memory.add("a fact", "u")
    memory.close()
    with pytest.raises(ClosedError):
        memory.list("u")


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_a_url_names_user_password_host_port_and_database(scheme: str) -> None:
    from openmem.config import resolve

    settings = resolve(f"{scheme}://a%40b:p%2Fw@db.example:6543/my%20db?sslmode=require&pool_size=3").settings
    assert isinstance(settings, PostgresAdapter.settings_type)
    told = settings.arguments()
    expected = {"user": "a@b", "password": "p/w", "host": "db.example", "port": 6543, "dbname": "my db"}
    assert expected.items() <= told.items()
    assert (told["sslmode"], settings.pool_size) == ("require", 3)
    assert "p/w" not in repr(settings)


def test_a_bad_request_opens_no_connection() -> None:
    with Memory("postgres://localhost:1/x", embedder="none") as memory, pytest.raises(InvalidRequestError):
        memory.add(" ", "u")
