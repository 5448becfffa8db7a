"""What the default index=auto of postgres:// costs and gives, beside index=hnsw, and what its build does to others.

Usage: python benchmarks/postgres_index.py URL [--memories N]; the database is to be empty; 384 dimensions. First
add_many and search of one user's memories by each setting, in schemas of their own: random vectors, which are the
dearest to index. Then a user grows through 5,000 memories, their vectors being hashed words, while eight others add,
and searches go on beside: answers with fewer rows than there are, wrong ones (of another user, or out of order), recall
before there is an index and with it, the longest add, and how long the index took. Last the same with an idle
transaction of somebody else open, which the index waits for.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import psycopg
from data import TOP, Data, Precomputed, make_data, median_async
from postgres import make_data as make_words

from openmem import AsyncMemory

OTHERS, STEP = 8, 100
VALID = """SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relname = 'memories_embedding' AND c.relnamespace = %s::regnamespace AND i.indisvalid"""


async def setting(url: str, data: Data, index: str) -> tuple[float, float]:
    """Store the data of one user by a setting; return memories a second and milliseconds of a search."""
    async with AsyncMemory(url, embedder=Precomputed(data), db_schema=f"s_{index}", index=index, timeout=600) as memory:
        await memory.open()
        started = time.perf_counter()
        for start in range(0, len(data.texts), 1000):
            items = [{"content": text} for text in data.texts[start : start + 1000]]
            assert not [result for result in await memory.add_many(items, user_id="u") if result.error]
        speed = len(data.texts) / (time.perf_counter() - started)
        for _ in range(600):  # until the index of `auto` is there: what is measured then is the search that stays
            with psycopg.connect(url) as connection:
                if index == "none" or connection.execute(VALID, [f"s_{index}"]).fetchone() == (1,):
                    break
            await memory.search(data.texts[0], "u", mode="vector", limit=TOP)
            await asyncio.sleep(0.2)

        async def search(number: int) -> Any:
            return await memory.search(data.texts[number], "u", mode="vector", limit=TOP)

        return speed, await median_async(search, data.asked[:200])


class Growth:
    """A user who grows through the bound of exact search, beside others who write."""

    def __init__(self, url: str, data: Data, schema: str) -> None:
        self.url, self.data, self.schema = url, data, schema
        self.memory = AsyncMemory(url, embedder=Precomputed(data), db_schema=schema, timeout=60)
        self.adds: list[float] = []
        self.searches: list[float] = []
        self.short = self.wrong = self.asked = self.stored = 0
        self.recall: dict[bool, list[float]] = {False: [], True: []}
        self.came: float | None = None
        self.over = False
        self.number = {text: number for number, text in enumerate(data.texts)}

    async def run(self, most: float) -> float | None:
        """Let all work until the index is there and some time after, or `most` seconds; return when it came."""
        await self.memory.open()
        others = [asyncio.ensure_future(self._write(f"other {number}", number)) for number in range(OTHERS)]
        work = [*others, asyncio.ensure_future(self._grow()), asyncio.ensure_future(self._search())]
        started = time.perf_counter()
        while time.perf_counter() - started < min(most, 3 + (most if self.came is None else self.came)):
            if self.came is None and await asyncio.to_thread(self._valid):
                self.came = time.perf_counter() - started
            await asyncio.sleep(0.1)
        self.over = True
        await asyncio.gather(*work)
        await self.memory.close()
        return self.came

    def _valid(self) -> bool:
        with psycopg.connect(self.url) as connection:
            return connection.execute(VALID, [self.schema]).fetchone() == (1,)

    async def _write(self, user: str, number: int) -> None:
        while not self.over:
            number = (number + OTHERS) % len(self.data.texts)
            started = time.perf_counter()
            await self.memory.add(self.data.texts[number], user)
            self.adds.append(time.perf_counter() - started)

    async def _grow(self) -> None:
        for start in range(0, len(self.data.texts), STEP):
            if self.over:
                return
            items = [{"content": text} for text in self.data.texts[start : start + STEP]]
            assert not [result for result in await self.memory.add_many(items, user_id="grows") if result.error]
            self.stored = start + len(items)
            await asyncio.sleep(0.02)

    async def _search(self) -> None:
        while not self.over:
            number, before = int(self.asked * 37 % len(self.data.texts)), self.stored
            started = time.perf_counter()
            found = await self.memory.search(self.data.texts[number], "grows", mode="vector", limit=TOP)
            self.searches.append(time.perf_counter() - started)
            self.asked += 1
            self._judge(number, before, found, await asyncio.to_thread(self._valid))

    def _judge(self, number: int, least: int, found: Sequence[Any], indexed: bool) -> None:
        """Compare with the exact answer: rows stored before are there, those stored meanwhile may be."""
        self.short += len(found) < min(TOP, least)
        scores = [hit.score for hit in found]
        stray = [hit for hit in found if hit.memory.user_id != "grows"]
        self.wrong += bool(stray) or scores != sorted(scores, reverse=True)
        if least >= TOP:  # whatever is at least as near as the tenth nearest of what was there is right
            tenth = np.partition(self.data.vectors[:least] @ self.data.vectors[number], -TOP)[-TOP]
            near = [self.data.vectors[self.number[hit.memory.content]] @ self.data.vectors[number] for hit in found]
            self.recall[indexed].append(sum(score >= tenth - 1e-6 for score in near) / TOP)


async def growth(url: str, data: Data, schema: str, most: float) -> None:
    """Run one growth and print what it showed."""
    run = Growth(url, data, schema)
    came = await run.run(most)
    when = f"after {came:.1f} s" if came is not None else "not in this time"
    print(f"  the index came {when}; {run.stored} memories of the user, {len(run.adds)} adds of {OTHERS} others")
    exact, near = run.recall[False], run.recall[True]
    p50 = statistics.median(run.searches) * 1000
    print(f"  {run.asked} searches: {run.short} short, {run.wrong} wrong, p50 {p50:.1f} ms")
    print(f"  recall of {len(exact)} before the index {np.mean(exact):.4f}, of {len(near)} with it {np.mean(near):.4f}")
    print(f"  adds: p50 {statistics.median(run.adds) * 1000:.1f} ms, longest {max(run.adds) * 1000:.0f} ms", flush=True)


async def main() -> None:
    """Measure all of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--memories", type=int, default=10_000)
    arguments = parser.parse_args()
    data = make_data(arguments.memories, 384)
    told = {index: await setting(arguments.url, data, index) for index in ("auto", "hnsw", "none")}
    print(f"{arguments.memories} memories of one user x 384 dimensions")
    for index, (speed, search) in told.items():
        ratio = speed / told["hnsw"][0]
        print(f"  index={index:<5} add_many {speed:>6.0f}/s, {ratio:>5.1f} x hnsw, search {search:.2f} ms")
    data = make_words(arguments.memories)
    print("a user grows while others write:", flush=True)
    await growth(arguments.url, data, "grows", 60)
    print("the same beside an idle transaction, which is open for 20 s:", flush=True)
    with psycopg.connect(arguments.url) as idle:
        idle.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        idle.execute("SELECT count(*) FROM pg_class")
        ending = asyncio.get_running_loop().call_later(20, idle.rollback)
        await growth(arguments.url, data, "waits", 90)
        ending.cancel()


if __name__ == "__main__":
    asyncio.run(main())
