"""The fixtures of all tests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import settings

from support.engines import store  # noqa: F401  a fixture
from support.mem0_platform import mem, platform  # noqa: F401  fixtures
from support.servers import database, postgres, postgres_url, servers  # noqa: F401  fixtures

settings.register_profile("openmem", deadline=None)  # how long an example takes proves nothing
settings.load_profile("openmem")


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
