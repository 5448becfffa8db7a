"""postgres:// under deletes and adds of several processes, forks, cancelled calls: nothing foreign, short or lost."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from openmem import AsyncMemory, Memory, OMPError
from openmem.adapters.postgres import search as postgres_search
from support.churn import churn, seed

PROCESSES, THREADS, SEARCHES = 4, 4, 1250
CANCELLATIONS, FORKS = 1000, 60
SPAWN = multiprocessing.get_context("spawn")


def open_store(url: str, **options: Any) -> Memory:
    return Memory(url, **{"embedder": "test:16", "timeout": 120, **options})


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(300):
        while True:
            if condition():
                return
            await asyncio.sleep(0.05)


def _churn_and_search(url: str, process: int) -> list[str]:
    """Search by every client of a process; every other process by the index of vectors."""
    if process % 2:
        postgres_search.EXACT, postgres_search.INDEX_COST = 5, 0
    with open_store(url) as memory:
        return churn([memory] * THREADS, SEARCHES, f"p{process}")


def test_20_000_searches_under_churn_show_nothing_foreign(postgres_url: str) -> None:
    with open_store(postgres_url, index="hnsw") as memory:
        seed(memory)
    with SPAWN.Pool(PROCESSES) as pool:
        wrong = pool.starmap(_churn_and_search, [(postgres_url, process) for process in range(PROCESSES)])
    assert wrong == [[]] * PROCESSES


def test_a_user_grows_through_the_bound_beside_others(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the index, while it is made and with it, an answer has all its rows, and they are the user's."""
    monkeypatch.setattr(postgres_search, "COUNTED_FOR", 0.0)

    async def scenario() -> None:
        async with AsyncMemory(postgres_url, embedder="test:64", timeout=120) as memory:
            over = False

            async def write(number: int) -> None:
                while not over:
                    await memory.add(f"note {random.random()}", f"other {number}")

            async def search() -> None:
                while not over:
                    before = stored
                    found = await memory.search("note 7", "grows", mode="vector", limit=20)
                    assert len(found) >= min(20, before)
                    assert {hit.memory.user_id for hit in found} <= {"grows"}

            stored = 0
            beside = [asyncio.ensure_future(write(n)) for n in range(8)] + [asyncio.ensure_future(search())]
            for start in range(0, 7000, 100):
                items = [{"content": f"note {n} of {n % 31}"} for n in range(start, start + 100)]
                await memory.add_many(items, user_id="grows")
                stored = start + 100
            adapter: Any = memory.adapter
            await until(lambda: adapter.index.exists or adapter.index.look(["grows"], adapter.needs_index))
            over = True
            await asyncio.gather(*beside)

    asyncio.run(scenario())


def test_1_000_cancellations_leave_the_pool_whole(postgres_url: str) -> None:
    async def scenario() -> None:
        async with AsyncMemory(postgres_url, embedder="test:16", pool_size=5) as memory:
            kept = await memory.add("a fact", "u")
            calls: list[Callable[[], Awaitable[Any]]] = [
                lambda: memory.get(kept.id),
                lambda: memory.search("fact", "u"),
                lambda: memory.update(kept.id, pinned=True),
                lambda: memory.add_many([{"content": f"fact {n}", "user_id": "v"} for n in range(60)]),
                lambda: memory.history(kept.id),
                lambda: memory.audit("u"),
            ]

            async def cancelled(number: int) -> None:
                task = asyncio.ensure_future(random.choice(calls)())
                for _ in range(number % 90):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

            for start in range(0, CANCELLATIONS, 10):
                await asyncio.gather(*(cancelled(n) for n in range(start, start + 10)))
            adapter: Any = memory.adapter
            pool = adapter.connections.primary.pool
            await until(lambda: pool.get_stats()["pool_available"] == pool.get_stats()["pool_size"])
            assert 1 <= pool.get_stats()["pool_size"] <= 5
            assert len(await asyncio.gather(*(memory.get(kept.id) for _ in range(50)))) == 50

    asyncio.run(scenario())


def test_60_forks_while_threads_work(postgres_url: str) -> None:
    with open_store(postgres_url) as memory:
        memory.add("seed tea", "u")
        over = threading.Event()

        def work(number: int) -> None:
            while not over.is_set():
                memory.add("tea", f"user {number}")
                memory.search("tea", f"user {number}")

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for number in range(FORKS):
                child = os.fork()
                if child == 0:
                    answered = False
                    try:
                        added = memory.add(f"of child {number}", "u")
                        answered = memory.get(added.id) == added and len(memory.search("seed", "u")) > 0
                    except OMPError:
                        pass
                    finally:
                        os._exit(0 if answered else 1)
                _, status = os.waitpid(child, 0)
                assert os.waitstatus_to_exitcode(status) == 0
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert memory.stats("u").total == FORKS + 1
