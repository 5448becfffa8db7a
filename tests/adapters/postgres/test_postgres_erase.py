"""Nothing of what was erased is in a table of Postgres once VACUUM has run, and an erase is whole or nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
from psycopg import sql

from openmem import AsyncMemory, ConflictError, Memory
from openmem.protocol import ranking

MARKS = ("quokka", "wombat", "Zürichsee", "日本語")


def dump(url: str) -> str:
    """Read every table of every schema but the server's own, as text."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM")
        found = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        rows: list[str] = []
        for schema, table in found.fetchall():
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
            rows += [f"{table}: {row}" for (row,) in connection.execute(query).fetchall()]
        return "\n".join(rows)


def write(user: Any, marks: tuple[str, ...]) -> None:
    ids: list[str] = []
    for number, mark in enumerate(marks * 6):
        fields: dict[str, Any] = {"tags": [f"{mark}tag"], "kind": f"{mark}kind", "scope": f"{mark}/scope"}
        supersedes = ids[-1:] if number % 5 == 4 else None
        record = user.add(f"{mark} {number}", external_id=f"{mark}-{number}", supersedes=supersedes, **fields)
        ids.append(record.id)
        user.update(record.id, content=f"{mark}ish text {number}", metadata={f"{mark}key": f"{mark}value"})
        user.search(f"{mark} text")
    user.delete(ids[0])


def test_nothing_of_an_erased_user_is_in_a_table(postgres_url: str) -> None:
    with Memory(postgres_url, embedder="test:16") as memory:
        gone, stays = memory.for_user("gone-quokka"), memory.for_user("stays")
        write(gone, MARKS)
        write(stays, ("harbour", "lantern"))
        before = dump(postgres_url)
        assert all(mark in before for mark in MARKS)
        vectors = _vectors(postgres_url, "gone-quokka")
        assert len(vectors) == gone.stats().total
        assert gone.erase(all=True, audit=True, dry_run=False).count == len(vectors)
        after = dump(postgres_url)
        words = {term for mark in MARKS for term in ranking.terms(f"{mark}") if len(term) > 2}
        assert [each for each in (*MARKS, *words) if each.lower() in after.lower()] == []
        own = set(_vectors(postgres_url, "stays"))
        assert [each for each in vectors if each not in own and each in after] == []
        assert stays.stats().total == 11
        assert "harbour" in after
        gone.add("anew")
        assert gone.stats().total == 1


def _vectors(url: str, user_id: str) -> list[str]:
    with psycopg.connect(url) as connection:
        query = "SELECT embedding::text FROM openmem.memories WHERE user_id = %s"
        return [each for (each,) in connection.execute(query, [user_id]).fetchall()]


def test_an_erase_that_fails_has_erased_nothing(postgres_url: str) -> None:
    with Memory(postgres_url, embedder="none", retries=0) as memory:
        memory.add_many([{"content": f"fact {number}"} for number in range(800)], user_id="u")
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            last = memory.list("u", limit=1).items[0].id
            connection.execute(
                """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE serialization_failure; END $$"""
            )
            connection.execute(
                f"""CREATE TRIGGER refuse BEFORE DELETE ON openmem.memories FOR EACH ROW
                WHEN (old.id = '{last}') EXECUTE FUNCTION refuse()"""
            )
            with pytest.raises(ConflictError) as caught:
                memory.erase("u", all=True, audit=True, dry_run=False)
            assert caught.value.written == "nothing"
            assert memory.stats("u").total == 800
            connection.execute("DROP TRIGGER refuse ON openmem.memories")
        assert memory.erase("u", all=True, dry_run=False).count == 800


def test_what_is_added_and_changed_meanwhile_is_whole(postgres_url: str) -> None:
    async def race() -> None:
        async with (
            AsyncMemory(postgres_url, embedder="none") as memory,
            AsyncMemory(postgres_url, embedder="none") as other,
        ):
            for _ in range(5):
                await memory.add_many([{"content": f"fact {number}"} for number in range(100)], user_id="u")
                adds = [other.add(f"later {number}", "u") for number in range(20)]
                erased, *added = await asyncio.gather(memory.erase("u", all=True, audit=True, dry_run=False), *adds)
                left = {each.id for each in (await memory.list("u", limit=500)).items}
                assert left <= {each.id for each in added}
                assert erased.count == 120 - len(left)
                assert (await memory.stats("u")).total == len(left)
                found = await memory.search("later", "u", mode="keyword", limit=100)
                assert {each.memory.id for each in found} == left
                await memory.erase("u", all=True, dry_run=False)

    asyncio.run(race())
