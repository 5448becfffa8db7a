"""How long each verb of AsyncMemory keeps the event loop from going on, beside a loop with nothing to do.

Usage: python benchmarks/loop.py [--memories N] [--dimension D] [--engines memory sqlite]. One user has all the
memories. Every verb runs alone while a ticker sleeps 5 ms at a time; the worst of its delays, in five runs, is what the
loop was held. What this process's threads meanwhile waited for a processor is another's doing: it is in the column
beside, where the system tells (Linux), and the last line leaves it out. Vectors are made beforehand.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from data import Data, Precomputed, make_data

from openmem import AsyncMemory

TICK = 0.005
"""Seconds that the ticker sleeps."""
ROUNDS = 5
BATCH, LOADED = 2_000, 10_000
USER = "user"
NOBODY = {"metadata.missing": 1}
"""A filter that selects nothing."""


class Ticker:
    """Sleeps again and again, and keeps how much later than asked it woke, and the waits for a processor meanwhile."""

    def __init__(self) -> None:
        self.late = self.waited = self.held = 0.0

    async def tick(self) -> None:
        """Tick until cancelled."""
        while True:
            waited, started = waiting(), time.perf_counter()
            await asyncio.sleep(TICK)
            late, waited = time.perf_counter() - started - TICK, waiting() - waited
            self.held = max(self.held, late - waited)
            if late > self.late:
                self.late, self.waited = late, waited


def waiting() -> float:
    """Return the seconds for which the threads of this process have waited for a processor; 0 where unknown."""
    total = 0
    for told in Path("/proc/self/task").glob("*/schedstat"):
        with suppress(OSError):  # the thread has ended
            total += int(told.read_text().split()[1])
    return total / 1e9


async def run(work: Callable[[], Awaitable[object]]) -> tuple[float, Ticker]:
    """Return the seconds that work took, and what ticked meanwhile."""
    ticker = Ticker()
    ticking = asyncio.ensure_future(ticker.tick())
    await asyncio.sleep(2 * TICK)
    started = time.perf_counter()
    await work()
    took = time.perf_counter() - started
    await asyncio.sleep(2 * TICK)
    ticking.cancel()
    return took, ticker


async def line(name: str, work: Callable[[], Awaitable[object]]) -> float:
    """Print what work takes and holds; return the milliseconds held, waits for a processor left out."""
    runs = [await run(work) for _ in range(ROUNDS)]
    worst = max((ticker for _, ticker in runs), key=lambda ticker: ticker.late)
    took, held = min(took for took, _ in runs), max(ticker.held for _, ticker in runs)
    print(f"{name:<42} {took * 1000:>10.1f} {worst.late * 1000:>8.1f} {worst.waited * 1000:>8.1f}", flush=True)
    return held * 1000


async def load(memory: AsyncMemory, data: Data, count: int) -> list[str]:
    """Store the first memories, all of one user; return their ids."""
    ids: list[str] = []
    for start in range(0, count, LOADED):
        items = [{"content": text} for text in data.texts[start : min(start + LOADED, count)]]
        ids += [result.id or "" for result in await memory.add_many(items, user_id=USER)]
    return ids


def verbs(memory: AsyncMemory, data: Data, ids: list[str], spare: Iterator[str]) -> dict[str, Callable[[], Any]]:
    """Name every verb, and forms of them that may take long."""
    query, known, old = data.texts[len(data.texts) // 3], ids[len(ids) // 2], iter(ids)
    own = memory.for_user(USER)
    return {
        "add": lambda: own.add(next(spare)),
        "add, superseding": lambda: own.add(next(spare), supersedes=[next(old)]),
        "get": lambda: own.get(known),
        "update": lambda: own.update(known, content=next(spare)),
        "delete": lambda: own.delete(next(old)),
        "list": lambda: own.list(limit=500),
        "list, filter selects nothing": lambda: own.list(filter=NOBODY),
        "list by external_id": lambda: own.list(filter={"external_id": "none"}),
        "search vector": lambda: own.search(query, mode="vector"),
        "search keyword": lambda: own.search(query, mode="keyword"),
        "search hybrid": lambda: own.search(query, mode="hybrid", limit=100),
        "search, filter selects nothing": lambda: own.search(query, filter=NOBODY),
        "context": lambda: own.context(query, token_budget=4000),
        "related": lambda: own.related(known),
        "history": lambda: own.history(known),
        "stats": lambda: own.stats(),
        "audit": lambda: own.audit(limit=1000),
        f"add_many of {BATCH:,}": lambda: own.add_many([{"content": next(spare)} for _ in range(BATCH)]),
        f"delete_many of {BATCH:,}": lambda: own.delete_many([next(old) for _ in range(BATCH)]),
    }


@contextmanager
def places() -> Iterator[dict[str, str]]:
    """Yield a URL of an empty store of each engine."""
    with tempfile.TemporaryDirectory() as folder:
        yield {"memory": "memory://", "sqlite": f"sqlite:///{Path(folder) / 'loop.db'}"}


async def measure(url: str, data: Data, count: int) -> float:
    """Print what each verb of a backend holds; return the worst above the idle run."""
    async with AsyncMemory(url, embedder=Precomputed(data)) as memory:
        ids = await load(memory, data, count)
        gc.collect()
        gc.freeze()  # the data and the memories stay: a collection that looks through them is Python's, not a verb's
        bare = await line(f"{url.partition('://')[0]}://, idle", lambda: asyncio.sleep(1))
        calls = verbs(memory, data, ids, iter(data.texts[count:]))
        worst = max([await line(f"  {name}", call) for name, call in calls.items()])
    gc.unfreeze()
    return worst - bare


def main() -> None:
    """Print a line for each verb of each engine, and the worst of each above the idle loop."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--dimension", type=int, default=256)
    parser.add_argument("--engines", nargs="+", default=["memory", "sqlite"])
    arguments = parser.parse_args()
    data = make_data(arguments.memories + (BATCH + 4) * ROUNDS, arguments.dimension)
    print(f"{arguments.memories} memories x {arguments.dimension} dimensions of one user; milliseconds")
    print(f"{'verb':<42} {'took':>10} {'held':>8} {'waited':>8}")
    with places() as urls:
        for engine in arguments.engines:
            worst = asyncio.run(measure(urls[engine], data, arguments.memories))
            print(f"{engine}:// holds the loop at most {worst:.1f} ms above the idle run")


if __name__ == "__main__":
    main()
