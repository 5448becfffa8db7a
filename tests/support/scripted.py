"""Adapters whose verbs are a test's own functions, and records as an adapter might answer them."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from openmem import Adapter
from openmem._generated import models
from openmem._generated.verbs import VERBS
from openmem.adapters.memory import MemoryAdapter
from support.clocks import START

EMBEDDING = models.EmbeddingInfo(model="test-words-16", dimension=16)


class Scripted(Adapter):
    """An adapter whose verbs are functions of the test's; what reaches it is kept in `reached`."""

    name = "scripted"
    inline = True

    def __init__(self, features: models.CapabilityFeatures | None = None, **verbs: Any) -> None:
        super().__init__()
        self.declared = features or MemoryAdapter(embedding=EMBEDDING).features()
        self.scripts = verbs
        self.reached: list[Any] = []
        self.opened = self.closed = 0

    def features(self) -> models.CapabilityFeatures:
        return self.declared

    def native_verbs(self) -> list[str]:
        return [*self.scripts]

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def handle(self, request: Any) -> Any:
        await self.ready()
        self.reached.append(request)
        verb = next(name for name, verb in VERBS.items() if verb.request is type(request))
        answer = self.scripts[verb](request)
        return await answer if isinstance(answer, Coroutine) else answer


class Remote(Scripted):
    """The same behind the private loop, with retries and a timeout."""

    name = "remote"
    inline = False


def unreachable(request: Any) -> Any:
    raise AssertionError(f"{type(request).__name__} reached the adapter")


def trap(features: models.CapabilityFeatures | None = None) -> Scripted:
    """Return an adapter that has every verb and must not be reached."""
    return Scripted(features, **{verb: unreachable for verb in VERBS if verb != "capabilities"})


def record(memory_id: str = "m1", **fields: Any) -> models.MemoryRecord:
    """Return a memory as an adapter might answer it."""
    return models.MemoryRecord(**{"id": memory_id, "content": "text", "user_id": "u", "created_at": START, **fields})
