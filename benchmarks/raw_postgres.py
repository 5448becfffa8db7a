"""Postgres by hand, as psycopg and pgvector are used without openmem."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from data import NOTHING, TOP, Data, Precomputed, Row, median_async, rate_async
from pgvector import Vector
from pgvector.psycopg import register_vector_async
from psycopg.types.json import Jsonb

from openmem import AsyncMemory
from openmem.protocol import ranking

Connection = psycopg.AsyncConnection[Any]
COLUMNS = "user_id, id, key, created_at, archived, record, embedding"
LOGGED = "user_id, moment, action, memory_id, request_id"
REQUEST = "0123456789abcdef"
TYPES = ["text", "text", "int8", "timestamptz", "bool", "jsonb", "vector"]
CURRENT = """user_id = %(user)s AND NOT archived AND (superseded_at IS NULL OR superseded_at > %(now)s)
    AND (valid_to IS NULL OR valid_to > %(now)s) AND (valid_from IS NULL OR valid_from <= %(now)s)"""
NEAREST = f"""SELECT record, -(embedding <#> %(vector)s) + 0 AS score FROM openmem.memories
    WHERE {CURRENT} ORDER BY score DESC, created_at DESC, id DESC LIMIT {TOP}"""
"""Reads every row of a user; written for openmem's own schema."""


def memory_id(n: int) -> str:
    """Make an id as long as those of openmem."""
    return f"mem_{n:026x}"


def bare(url: str, data: Data) -> Row:
    """COPY into a table of user, content and vector with an index of the user: no words, no log, no identity."""

    async def measure(connection: Connection) -> Row:
        await connection.execute("CREATE SCHEMA bare")
        await connection.execute(f"CREATE TABLE bare.m (user_id text, content text, v vector({data.vectors.shape[1]}))")
        await connection.execute("CREATE INDEX ON bare.m (user_id)")

        async def add(batch: Sequence[int]) -> None:
            sql = "COPY bare.m FROM STDIN (FORMAT BINARY)"
            async with connection.transaction(), connection.cursor().copy(sql) as copy:
                copy.set_types(["text", "text", "vector"])
                for n in batch:
                    await copy.write_row((data.users[n], data.texts[n], Vector(data.vectors[n])))

        return ("bare COPY", await rate_async(data, add), NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)

    return _run(url, measure)


def same_rows(url: str, data: Data, *, beforehand: bool) -> Row:
    """COPY of the rows that openmem writes, into its tables with their indexes; worked out beforehand or as it goes."""
    asyncio.run(_tables(url, data, index="none"))
    prepared = Rows(data, range(len(data.texts))) if beforehand else None

    async def measure(connection: Connection) -> Row:
        async def add(batch: Sequence[int]) -> None:
            rows = prepared or Rows(data, batch)
            async with connection.transaction():
                async with connection.cursor().copy(
                    f"COPY raw.memories ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
                ) as copy:
                    copy.set_types(TYPES)
                    for n in batch:
                        await copy.write_row(rows.memory(n))
                async with connection.cursor().copy("COPY raw.postings FROM STDIN") as copy:
                    await copy.write("".join(rows.postings[n] for n in batch))
                async with connection.cursor().copy(f"COPY raw.audit ({LOGGED}) FROM STDIN") as copy:
                    await copy.write("".join(rows.entry(n) for n in batch))

        speed = await rate_async(data, add)

        nearest = NEAREST.replace("openmem.", "raw.")

        async def search(n: int) -> Any:
            values = {"user": data.users[n], "vector": Vector(data.vectors[n]), "now": datetime.now(UTC)}
            return await (await connection.execute(nearest, values)).fetchall()

        async def get(n: int) -> Any:
            return await (
                await connection.execute("SELECT record FROM raw.memories WHERE id = %s", [memory_id(n)])
            ).fetchall()

        vector = await median_async(search, data.asked)
        name = "COPY, same rows" if beforehand else "COPY, rows made"
        return (name, speed, NOTHING, vector, NOTHING, NOTHING, await median_async(get, data.asked))

    return _run(url, measure)


def pipeline(url: str, data: Data) -> Row:
    """INSERT of the same memories in a pipeline where vectors are indexed; without words and log."""
    asyncio.run(_tables(url, data, index="hnsw"))
    rows = Rows(data, range(len(data.texts)))

    async def measure(connection: Connection) -> Row:
        sql = f"INSERT INTO raw.memories ({COLUMNS}) VALUES ({', '.join(['%s'] * len(TYPES))})"

        async def add(batch: Sequence[int]) -> None:
            async with connection.transaction():
                await connection.cursor().executemany(sql, [rows.memory(n) for n in batch])

        speed = await rate_async(data, add)
        return ("pipeline, HNSW", speed, NOTHING, NOTHING, NOTHING, NOTHING, NOTHING)

    return _run(url, measure)


class Rows:
    """The rows of memories, ready to be written."""

    def __init__(self, data: Data, numbers: Sequence[int]) -> None:
        self._data = data
        self.now = datetime.now(UTC)
        self.postings = {n: self._postings(n, data.texts[n]) for n in numbers}
        self._records = {n: json.dumps(self._record(n)) for n in numbers}
        self._vectors = {n: Vector(data.vectors[n]) for n in numbers}

    def memory(self, n: int) -> tuple[Any, ...]:
        """Return the row of a memory."""
        record = Jsonb(self._records[n], dumps=str)
        return (self._data.users[n], memory_id(n), n, self.now, False, record, self._vectors[n])

    def entry(self, n: int) -> str:
        """Return the line of the audit log."""
        return f"{self._data.users[n]}\t{self.now}\tadd_many\t{memory_id(n)}\t{REQUEST}\n"

    def _record(self, n: int) -> dict[str, Any]:
        moments = dict.fromkeys(("created_at", "updated_at"), self.now.isoformat())
        known = {"embedding_model": "precomputed", "status": "done", "version": 1}
        return {"id": memory_id(n), "content": self._data.texts[n], "user_id": self._data.users[n], **moments, **known}

    def _postings(self, n: int, text: str) -> str:
        weights = ranking.weights(ranking.terms(text))
        return "".join(f"{self._data.users[n]}\t{term}\t{n}\t{weight!r}\n" for term, weight in weights.items())


async def _tables(url: str, data: Data, *, index: str) -> None:
    """Make openmem's tables in the schema `raw`, empty."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("DROP SCHEMA IF EXISTS raw CASCADE")
    async with AsyncMemory(url, embedder=Precomputed(data), db_schema="raw", index=index) as memory:
        await memory.list("nobody")


def _run(url: str, measure: Callable[[Connection], Awaitable[Row]]) -> Row:
    async def connected() -> Row:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
            await register_vector_async(connection)
            return await measure(connection)

    return asyncio.run(connected())
