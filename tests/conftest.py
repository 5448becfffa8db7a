"""What several tests share: a clock that a test moves, adapters that watch what reaches them, and a Python beside."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from mem0_platform import mem, platform  # noqa: F401  fixtures
from openmem.adapters.memory import MemoryAdapter
from servers import database, postgres, postgres_url, servers  # noqa: F401  fixtures

from openmem import Adapter, ConfigurationError, Memory
from openmem._generated import models
from openmem._generated.verbs import VERBS

settings.register_profile("openmem", deadline=None)  # how long an example takes proves nothing
settings.load_profile("openmem")

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
EMBEDDING = models.EmbeddingInfo(model="test-words-16", dimension=16)


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def tick(self, **span: float) -> datetime:
        self.now += timedelta(**span) if span else timedelta(seconds=1)
        return self.now


class Scripted(Adapter):
    """An adapter whose verbs are functions of the test's; what reaches it is kept in `reached`."""

    name = "scripted"
    inline = True

    def __init__(self, features: models.CapabilityFeatures | None = None, **verbs: Any) -> None:
        super().__init__()
        self.declared = features or MemoryAdapter(embedding=EMBEDDING).features()
        self.verbs = verbs
        self.reached: list[Any] = []
        self.opened = self.closed = 0

    def features(self) -> models.CapabilityFeatures:
        return self.declared

    async def capabilities(self, request: models.CapabilitiesRequest) -> models.Capabilities:
        native = await super().capabilities(request)
        return native.model_copy(update={"verbs": [verb for verb in VERBS if verb in self.verbs]})

    async def open(self) -> None:
        self.opened += 1

    async def close(self) -> None:
        self.closed += 1

    async def handle(self, request: Any) -> Any:
        await self._opening.run(self.open)
        self.reached.append(request)
        verb = next(name for name, verb in VERBS.items() if verb.request is type(request))
        answer = self.verbs[verb](request)
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


def record(memory_id: str = "m1", **fields: Any) -> models.Memory:
    """Return a memory as an adapter might answer it."""
    return models.Memory(**{"id": memory_id, "content": "text", "user_id": "u", "created_at": START, **fields})


def everything(memory: Memory, user_id: str) -> list[models.Memory]:
    """Follow the pages to the end, every state included."""
    found, cursor = [], None
    while True:
        states: Any = ["superseded", "expired", "upcoming", "archived"]
        page = memory.list(user_id, limit=500, cursor=cursor, include=states)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


def open_store(url: str, **options: Any) -> Memory:
    """Open a store with a predictable embedder."""
    return Memory(url, **{"embedder": "test:32", **options})


def refused(url: str, **options: Any) -> ConfigurationError:
    """Return why a store does not open."""
    with open_store(url, **options) as memory, pytest.raises(ConfigurationError) as caught:
        memory.list("u")
    return caught.value


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run an async test."""
    return asyncio.run(work())


def python(script: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own, warnings being errors; whatever it prints is in the answer."""
    command = [sys.executable, "-W", "error", "-c", script, *arguments]
    return subprocess.run(command, **{"capture_output": True, "text": True, "timeout": 120, **options})


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What would have been slept."""
    taken: list[float] = []
    sleep = asyncio.sleep

    async def nap(delay: float, result: Any = None) -> Any:
        taken.append(delay)
        return await sleep(0, result)

    monkeypatch.setattr(asyncio, "sleep", nap)
    return taken
