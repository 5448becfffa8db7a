"""What a type checker must refuse: each line that is wrong names the code of mypy's complaint, and no other has one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import openmem.conformance
from openmem import Adapter, AsyncMemory, Embedder, Memory, MemoryInput, MemoryRecord, UserMemory, types
from openmem.adapters.kit.base import NativeAdapter
from openmem.adapters.memory import MemoryAdapter


class Half:
    """No embedder: it cannot be closed, and embeds one text."""

    model = "half"
    dimension = 2
    inline = True

    async def embed(self, text: str) -> Sequence[float]:
        return [1.0, 0.0]


class Wrong(Adapter):
    """An adapter whose verbs take and give something else."""

    name = 7  # wrong: assignment

    async def get(self, request: types.ListRequest) -> MemoryRecord:  # wrong: override
        raise NotImplementedError

    async def delete(self, request: types.DeleteRequest) -> MemoryRecord:  # wrong: override
        raise NotImplementedError

    def search(self, request: types.SearchRequest) -> types.SearchResponse:  # wrong: override
        raise NotImplementedError


def verbs(memory: Memory, alice: UserMemory) -> None:
    openmem.Memori()  # wrong: attr-defined
    memory.add("no user")  # wrong: call-arg
    memory.add("a tag that is no list", "alice", tags=5)  # wrong: arg-type
    memory.add("a number by its text", "alice", importance="high")  # wrong: arg-type
    memory.add("no such way", "alice", on_conflict="merge")  # wrong: arg-type
    alice.add("bound to a user", "alice")  # wrong: call-arg
    alice.search("tea", scpoe="food")  # wrong: call-arg
    alice.search("tea", limit="5")  # wrong: arg-type
    alice.search("tea", mode="fuzzy")  # wrong: arg-type
    alice.search("tea", filter=[("kind", "fact")])  # wrong: arg-type
    alice.search("tea", include=["deleted"])  # wrong: list-item
    alice.list(since="2026-01-01")  # wrong: arg-type
    alice.context("tea", budget=200)  # wrong: call-arg
    alice.context("tea").texts()  # wrong: attr-defined
    alice.update("id", content=None)  # wrong: arg-type
    alice.update("id", if_version="1")  # wrong: arg-type
    alice.serach("tea")  # wrong: attr-defined
    until: datetime = alice.get("id").valid_to  # wrong: assignment
    found: list[MemoryRecord] = alice.search("tea")  # wrong: assignment
    memory.delete(until.isoformat(), if_version=found)  # wrong: arg-type


async def clients(memory: AsyncMemory) -> None:
    hits = memory.search("tea", "alice")
    hits[0]  # wrong: index
    Memory(5)  # wrong: arg-type
    Memory("memory://", timeout="5")  # wrong: arg-type
    Memory("memory://", embedder=Half())  # wrong: arg-type
    embedder: Embedder = Half()  # wrong: assignment
    AsyncMemory.from_config(profile=embedder)  # wrong: arg-type
    with memory:  # wrong: attr-defined
        pass
    MemoryInput(content=None, user_id="alice")  # wrong: arg-type
    memory.for_user(7)  # wrong: arg-type


async def suite(adapter: MemoryAdapter) -> NativeAdapter:
    adapter.rules.nothing()  # wrong: attr-defined
    await openmem.conformance.run("memory://", seed="1")  # wrong: arg-type
    report = await openmem.conformance.run(5)  # wrong: arg-type
    report.results[0].level = 3  # wrong: attr-defined
    return report  # wrong: return-value
