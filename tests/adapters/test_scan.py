"""Scans: a user's memories with their vectors, of one moment where that is declared, whoever writes meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openmem import AsyncMemory, UnsupportedCapabilityError
from openmem.adapter import CHUNK, Adapter
from openmem.types import CapabilityFeatures, MemoryRecord

COUNT = 2 * CHUNK + 50
BATCH = 40
SNAPSHOTS = ("memory", "sqlite", "postgres")


def texts(count: int, begin: int = 0) -> list[dict[str, Any]]:
    return [{"content": f"fact {n}", "kind": "fact"} for n in range(begin, begin + count)]


async def filled(url: str, count: int = COUNT) -> AsyncMemory:
    memory = AsyncMemory(url, embedder="test:16")
    assert not (await memory.add_many(texts(count), user_id="u")).failed
    await memory.add("another's", "v")
    return memory


async def scanned(adapter: Adapter, user_id: str = "u") -> list[MemoryRecord]:
    await adapter.ready()
    return [memory async for chunk in adapter.scan(user_id) for memory in chunk]


def test_a_scan_is_whole_in_order_and_leaves_no_trace(store: str) -> None:
    async def scenario() -> None:
        async with await filled(store) as memory:
            now = datetime.now(UTC)
            ended = {"valid_from": now - timedelta(days=2), "valid_to": now - timedelta(days=1)}
            others = [await memory.add("later", "u", valid_from=now + timedelta(days=1))]
            others += [await memory.add("ended", "u", **ended), await memory.add("away", "u", archived=True)]
            old = await memory.add("old", "u")
            new = await memory.add("new", "u", supersedes=[old.id], vector=[3.0, *[0.0] * 14, -4.0])
            assert await logged(memory) == []
            found = await scanned(memory.adapter)
            assert await logged(memory) == []
            every: Any = ["superseded", "expired", "upcoming", "archived"]
            listed = [each async for each in memory.iterate("u", order="oldest", include=every, include_vectors=True)]
            assert found == listed
            assert {each.id for each in found} >= {each.id for each in (*others, old, new)}
            assert len(found) == COUNT + 5
            assert all(each.vector for each in found)
            assert next(each for each in found if each.id == new.id).vector == pytest.approx([0.6, *[0.0] * 14, -0.8])
            assert await scanned(memory.adapter, "nobody") == []

    asyncio.run(scenario())


async def logged(memory: AsyncMemory) -> list[str | None]:
    """List the reads in the audit log, where there is one."""
    if not memory.adapter.features().supports_audit:
        return []
    return [each.action for each in await memory.audit("u", limit=1000) if each.action == "list"]


def test_a_scan_goes_on_beside_changes(request: pytest.FixtureRequest, store: str) -> None:
    snapshot = request.node.callspec.params["store"] in SNAPSHOTS

    async def scenario() -> None:
        async with await filled(store) as memory:
            before = await scanned(memory.adapter)
            assert memory.adapter.snapshots is snapshot
            gone, changed = before[-1], before[-2]
            found: list[MemoryRecord] = []
            async with aclosing(memory.adapter.scan("u")) as chunks:
                async for chunk in chunks:
                    assert len(chunk) <= CHUNK
                    if not found:
                        await memory.delete(gone.id)
                        await memory.update(changed.id, content="changed")
                        await memory.add_many(texts(BATCH, COUNT), user_id="u")
                    found += chunk
            if snapshot:
                assert found == before
            ids = [each.id for each in found]
            assert len(set(ids)) == len(ids)
            assert {each.id for each in before} - {gone.id} <= set(ids)
            after = await scanned(memory.adapter)
            assert len(after) == COUNT - 1 + BATCH
            assert gone.id not in {each.id for each in after}

    asyncio.run(scenario())


def test_a_scan_beside_writers_has_all_of_a_batch_or_none(request: pytest.FixtureRequest, store: str) -> None:
    snapshot = request.node.callspec.params["store"] in SNAPSHOTS

    async def write(memory: AsyncMemory, name: str) -> None:
        for number in range(8):
            items = [{"content": f"of {n}", "kind": f"{name} {number}"} for n in range(BATCH)]
            assert not (await memory.add_many(items, user_id="u")).failed

    async def scenario() -> None:
        async with await filled(store, CHUNK + 1) as memory:
            writers = asyncio.gather(*(write(memory, name) for name in "ab"))
            while True:
                done = writers.done()
                found = await scanned(memory.adapter)
                counts = Counter(each.kind for each in found)
                assert counts.pop("fact") == CHUNK + 1
                assert len({each.id for each in found}) == len(found)
                assert not snapshot or set(counts.values()) <= {BATCH}
                if done:
                    break
                await asyncio.sleep(0)  # the twin of a server answers without letting others in
            await writers
            assert len(found) == CHUNK + 1 + 16 * BATCH

    asyncio.run(scenario())


def test_a_scan_that_is_left_lets_go(store: str) -> None:
    async def scenario() -> None:
        async with await filled(store) as memory:
            for _ in range(12):  # more often than any pool has connections
                async with aclosing(memory.adapter.scan("u")) as chunks:
                    assert await anext(chunks)
            await memory.add("after", "u")
            assert len(await scanned(memory.adapter)) == COUNT + 1

    asyncio.run(scenario())


def test_where_nothing_is_listed_from_the_oldest_on_nothing_is_scanned() -> None:
    class Newest(Adapter):
        name = "newest"

        def features(self) -> CapabilityFeatures:
            return CapabilityFeatures()

    with pytest.raises(UnsupportedCapabilityError, match="oldest"):
        asyncio.run(scanned(Newest()))


def test_without_an_embedder_there_are_no_vectors() -> None:
    async def scenario() -> Sequence[MemoryRecord]:
        async with AsyncMemory("memory://", embedder="none") as memory:
            await memory.add("fact", "u")
            return await scanned(memory.adapter)

    [found] = asyncio.run(scenario())
    assert (found.content, found.vector) == ("fact", None)
