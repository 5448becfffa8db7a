"""Vector search of postgres:// among very many memories: whole answers, recall and time beside SQL by hand.

Usage: python benchmarks/postgres.py URL [--memories N]; the database is to be empty. Short facts of Zipf(1.1) users,
vectors their words hashed to 384 dimensions. Four sizes of user, each asked 50 times for the ten nearest, with an HNSW
index: first without statistics (autovacuum is off), then after ANALYZE. Short: answers of fewer rows than there are. By
hand: the same plan through psycopg's own pool, rows as psycopg makes them: every row of the user, or iterative HNSW,
sorted again. Naive: what one writes first, ORDER BY the distance with a WHERE.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import psycopg
import raw_postgres
from data import TOP, Data, Precomputed, best_rows, vocabulary, zipf
from pgvector import Vector
from pgvector.psycopg import register_vector_async
from psycopg_pool import AsyncConnectionPool

from openmem import AsyncMemory

ASKED = 50
SIZES = (20_000, 3_500, 200, 50)

BY_DISTANCE = f"""SELECT record, -(embedding <#> %(vector)s) AS score FROM openmem.memories
    WHERE {raw_postgres.CURRENT} ORDER BY embedding <#> %(vector)s LIMIT"""
INDEX = f"SELECT * FROM ({BY_DISTANCE} 20) n ORDER BY score DESC LIMIT 10"
SETTINGS = """SELECT set_config('hnsw.iterative_scan', 'relaxed_order', true),
    set_config('hnsw.ef_search', '100', true), set_config('hnsw.max_scan_tuples', '100000', true),
    set_config('enable_sort', 'off', true)"""


def make_data(memories: int) -> Data:
    """Make facts whose vectors are their hashed words, and users of which the first has about a fifth of them."""
    random = np.random.default_rng(7)
    words = vocabulary()
    axes = random.integers(0, 384, len(words))
    chosen = random.choice(len(words), (memories, 11), p=zipf(len(words), 1.0))
    vectors = np.zeros((memories, 384), np.float32)
    np.add.at(vectors, (np.arange(memories)[:, None], axes[chosen]), 1)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    texts = [f"{' '.join(words[row])} {number}" for number, row in enumerate(chosen)]
    users = [f"user {number}" for number in random.choice(500, memories, p=zipf(500, 1.1))]
    return Data(texts, users, vectors, random.integers(0, memories, ASKED).tolist())


class Bench:
    """A loaded store, and what it should answer."""

    def __init__(self, url: str, data: Data) -> None:
        self.url, self.data = url, data
        self.rows: dict[str, list[int]] = {}
        for number, user in enumerate(data.users):
            self.rows.setdefault(user, []).append(number)

    def users(self) -> list[str]:
        """Choose the users whose numbers of memories are nearest to SIZES."""
        return [min(self.rows, key=lambda user: abs(len(self.rows[user]) - size)) for size in SIZES]

    def nearest(self, user: str, number: int) -> set[str]:
        """Name the texts of the user's ten memories nearest to a memory's vector."""
        rows = self.rows[user]
        scores = self.data.vectors[rows] @ self.data.vectors[number]
        least = scores[best_rows(scores)[-1]] - 1e-6  # of what ties with the tenth each is right
        return {self.data.texts[rows[row]] for row in np.flatnonzero(scores >= least)}

    async def load(self) -> float:
        """Store everything, then make the index; return memories a second, without the index."""
        memory = AsyncMemory(self.url, embedder=Precomputed(self.data), index="none", timeout=600)
        await memory.list("nobody")
        with psycopg.connect(self.url, autocommit=True) as connection:
            for table in ("memories", "postings", "users"):
                connection.execute(f"ALTER TABLE openmem.{table} SET (autovacuum_enabled = false)")
        started = time.perf_counter()
        for start in range(0, len(self.data.texts), 1000):
            numbers = range(start, min(start + 1000, len(self.data.texts)))
            items = [{"content": self.data.texts[n], "user_id": self.data.users[n]} for n in numbers]
            failed = [result for result in await memory.add_many(items) if result.error]
            assert not failed, failed[0]
        speed = len(self.data.texts) / (time.perf_counter() - started)
        await memory.close()
        return speed

    async def report(self, title: str) -> None:
        """Ask each user and print a row of each."""
        print(f"{title:<22} {'rows':>6} {'short':>6} {'recall':>7} {'p50 ms':>7} {'by hand':>8} {'ratio':>6}   naive")
        memory = AsyncMemory(self.url, embedder=Precomputed(self.data), index="hnsw", timeout=600)
        pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]](
            self.url, kwargs={"autocommit": True}, configure=register_vector_async, open=False
        )
        await pool.open()
        for user in self.users():
            await self._row(memory, pool, user)
        await pool.close()
        await memory.close()

    async def _row(
        self, memory: AsyncMemory, pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]], user: str
    ) -> None:
        data, size = self.data, len(self.rows[user])

        async def ours(number: int) -> list[str]:
            found = await memory.search(data.texts[number], user, mode="vector", limit=TOP)
            return [result.memory.content for result in found]

        def values(number: int) -> dict[str, Any]:
            return {"user": user, "vector": Vector(data.vectors[number]), "now": datetime.now(UTC)}

        async def by_hand(number: int) -> list[Any]:
            async with pool.connection() as raw:
                if size <= 5000:
                    return await (await raw.execute(raw_postgres.NEAREST, values(number))).fetchall()
                async with raw.pipeline(), raw.transaction():
                    await raw.execute(SETTINGS)
                    cursor = await raw.execute(INDEX, values(number))
                return await cursor.fetchall()

        async def naive(number: int) -> list[Any]:
            async with pool.connection() as raw:
                return await (await raw.execute(f"{BY_DISTANCE} 10", values(number))).fetchall()

        short, recall = 0, 0.0
        for number in data.asked:
            found = await ours(number)
            short += len(found) < min(TOP, size)
            recall += len(self.nearest(user, number).intersection(found)) / min(TOP, size) / len(data.asked)
        few = [len(await naive(number)) < min(TOP, size) for number in data.asked]
        mine, hand = await medians_ms(data.asked, ours, by_hand)
        print(f"{user:<22} {size:>6} {short:>6} {recall:>7.3f} {mine:>7.2f} {hand:>8.2f} {mine / hand:>6.2f}", end="")
        print(f"   {sum(few)} of {len(few)} short")


async def medians_ms(numbers: list[int], *works: Callable[[int], Awaitable[object]]) -> list[float]:
    """Return the median milliseconds of each work, the works taking turns: the first of two warms the cache."""
    times: dict[int, list[float]] = {place: [] for place in range(len(works))}
    for turn in range(9):
        for number in numbers:
            for place in sorted(times, reverse=turn % 2 == 1):
                started = time.perf_counter()
                await works[place](number)
                times[place] += [time.perf_counter() - started] if turn else []
    return [statistics.median(taken) * 1000 for taken in times.values()]


async def main() -> None:
    """Load, and report without statistics and with them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--memories", type=int, default=100_000)
    arguments = parser.parse_args()
    bench = Bench(arguments.url, make_data(arguments.memories))
    print(f"{arguments.memories} memories x 384 dimensions, add_many {await bench.load():.0f}/s")
    await bench.report("no statistics")
    with psycopg.connect(arguments.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    await bench.report("fresh statistics")


if __name__ == "__main__":
    asyncio.run(main())
