"""A thousand calls cancelled at any moment leave nothing behind: no task, no lock, no change in part."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from openmem import AsyncMemory, NotFoundError, OMPError

CANCELLATIONS = 1_000
Attempt = Callable[[], Coroutine[Any, Any, Any]]


async def _attempts(memory: AsyncMemory) -> list[Attempt]:
    verbs = (await memory.capabilities()).verbs
    known = [await memory.add(f"note {n}", "u", external_id=f"k{n}") for n in range(20)]
    pick, chance = random.Random(3).choice, random.Random(4).random
    return [
        lambda: memory.add("green tea", "u"),
        lambda: memory.add("black tea", "u", external_id=pick(known).external_id),
        lambda: memory.add("mint tea", "u", supersedes=[pick(known).id]),
        lambda: memory.update(pick(known).id, content="white tea", user_id="u"),
        lambda: memory.add_many([{"content": f"tea {n}"} for n in range(8)], user_id="u"),
        lambda: memory.delete_many([pick(known).id], user_id="u"),
        lambda: memory.get(pick(known).id, user_id="u"),
        lambda: memory.list("u", limit=50),
        lambda: memory.search("tea", "u"),
        lambda: memory.history(pick(known).id, user_id="u"),
        lambda: memory.audit("u") if "audit" in verbs else memory.context("tea", "u"),
        lambda: memory.stats("u") if chance() < 0.1 else memory.related(pick(known).id, user_id="u"),
    ]


async def _cancel(attempt: Attempt, steps: int) -> None:
    task = asyncio.ensure_future(attempt())
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with suppress(asyncio.CancelledError, OMPError):
        await task


async def _whole(memory: AsyncMemory) -> None:
    """Hold what is stored against itself: every record that is listed is read, found by its words, and linked whole."""
    states: Any = ["superseded", "expired", "upcoming", "archived"]
    records, cursor = {}, None
    while True:
        page = await memory.list("u", limit=500, cursor=cursor, include=states)
        records.update({each.id: each for each in page.items})
        cursor = page.next_cursor
        if cursor is None:
            break
    for each in random.Random(5).sample(sorted(records), 40):
        record = records[each]
        assert await memory.get(each, user_id="u") == record
        hits = await memory.search(record.content, "u", filter={"id": each}, include=states)
        assert [hit.memory.id for hit in hits] == [each]
    for record in records.values():
        for each in record.supersedes or ():
            assert records[each].superseded_by == record.id
        if record.superseded_by:
            assert record.id in (records[record.superseded_by].supersedes or ())


def test_cancelled_calls_leave_nothing_behind(store: str) -> None:
    threads = set(threading.enumerate())  # those of other tests among them, which may end meanwhile

    async def work() -> None:
        memory = AsyncMemory(store, embedder="test:32", timeout=60)
        attempts, chance = await _attempts(memory), random.Random(1)
        for number in range(CANCELLATIONS):
            together = chance.randint(1, 4)
            await asyncio.gather(*(_cancel(chance.choice(attempts), chance.randint(0, 60)) for _ in range(together)))
            if number % 100 == 0:
                assert (await asyncio.wait_for(memory.add("alive", "v"), 60)).content == "alive"
        await _whole(memory)
        with pytest.raises(NotFoundError):
            await memory.get("mem_nobody", user_id="u")
        await asyncio.wait_for(memory.close(), 60)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(work())
    assert len(set(threading.enumerate()) - threads) <= 1  # the loop that sync clients share
