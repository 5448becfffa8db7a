"""What a call made is freed when it ends: nothing of it is left in a cycle for the garbage collector."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from openmem import AsyncMemory, Memory
from openmem.types import SearchRequest

CALLS = 20


@pytest.fixture(params=["memory://", "sqlite:///{}/store.db"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path)


@contextmanager
def freed_as_they_end() -> Iterator[None]:
    """Have no collection while calls are made; fail where more of their requests are left than threads were last at."""
    gc.collect()
    gc.disable()
    try:
        yield
        assert sum(type(each) is SearchRequest for each in gc.get_objects()) < CALLS / 2
    finally:
        gc.enable()


def test_calls_leave_nothing_to_collect(url: str) -> None:
    with Memory(url, embedder="test") as memory:
        memory.add("a fact", "user")
        with freed_as_they_end():
            for _ in range(CALLS):
                memory.search("fact", "user")


def test_awaited_calls_leave_nothing_to_collect(url: str) -> None:
    async def main() -> None:
        async with AsyncMemory(url, embedder="test") as memory:
            await memory.add("a fact", "user")
            with freed_as_they_end():
                for _ in range(CALLS):
                    await memory.search("fact", "user")

    asyncio.run(main())
