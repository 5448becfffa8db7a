"""A small application over openmem, as a user writes it: type checkers accept it, and it runs."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import openmem.conformance
from openmem import (
    UNSET,
    Adapter,
    AsyncMemory,
    AsyncUserMemory,
    BatchResult,
    ConflictError,
    ContextBlock,
    Embedder,
    Memory,
    MemoryInput,
    MemoryPage,
    MemoryRecord,
    MemorySource,
    NotFoundError,
    OMPError,
    SearchResult,
    Settings,
    UserMemory,
    errors,
    register_adapter,
    types,
)
from openmem.adapters.kit.base import NativeAdapter
from openmem.adapters.memory import MemoryAdapter


class Letters:
    """An embedder of one's own: how often each letter of the alphabet is there."""

    model = "letters"
    dimension = 26
    inline = True

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return [self._unit([float(text.lower().count(chr(97 + n))) for n in range(26)]) for text in texts]

    async def close(self) -> None:
        return None

    @staticmethod
    def _unit(counts: list[float]) -> list[float]:
        length = sum(count * count for count in counts) ** 0.5
        return [count / length for count in counts] if length else counts


class NoticeSettings(Settings):
    """Options of the adapter below."""

    notice: str = "read only"


class Notice(Adapter):
    """An adapter of one's own: one memory that nobody changes."""

    name = "notice"
    inline: ClassVar[bool] = True
    settings_type = NoticeSettings

    async def get(self, request: types.GetRequest) -> MemoryRecord:
        if request.id != "notice":
            raise NotFoundError(f"no memory {request.id}.", provider=self.name)
        assert isinstance(self.settings, NoticeSettings)
        return MemoryRecord(id="notice", content=self.settings.notice, user_id="all", created_at=datetime.now(UTC))


def fill(alice: UserMemory) -> MemoryRecord:
    tea: MemoryRecord = alice.add("Drinks green tea", scope="food/drinks", tags=["habit"], importance=0.5)
    source = MemorySource(app="typed", type="explicit")
    alice.add("Switched to coffee", scope="food/drinks", supersedes=[tea.id], source=source)
    until = datetime.now(UTC) + timedelta(days=1)
    changed = alice.update(tea.id, scope=None, pinned=True, valid_to=until, content=UNSET, if_version=tea.version)
    results: list[BatchResult] = alice.add_many([MemoryInput(content="Has a cat", user_id="alice")])
    return changed if results[0].error is None else tea


def read(alice: UserMemory) -> list[str]:
    recent = {"or": [{"tags": {"contains": "habit"}}, {"importance": {"gte": 0.5}}]}
    found: list[SearchResult] = alice.search("tea", filter=recent, include=["superseded"], mode="keyword", limit=5)
    page: MemoryPage = alice.list(scope="food", tag=None, since=datetime(2020, 1, 1, tzinfo=UTC), limit=10)
    while page.next_cursor:
        page = alice.list(scope="food", cursor=page.next_cursor)
    block: ContextBlock = alice.context("what does she drink?", token_budget=200)
    return [*(hit.memory.content for hit in found if hit.score >= 0), *(each.memory_id for each in block.citations)]


def failing(memory: Memory, record: MemoryRecord) -> list[str]:
    codes: list[str] = []
    try:
        memory.update(record.id, user_id="alice", kind="fact", if_version=99)
    except ConflictError as error:
        codes.append(f"{error.code} {error.status} {error.written}")
    try:
        memory.get("nothing")
    except (NotFoundError, errors.ProviderError) as error:
        problem: OMPError = error
        codes.append(problem.remedy or str(problem.retry_after))
    return codes


async def asynchronously(embedder: Embedder) -> float:
    async with AsyncMemory("memory://", embedder=embedder, timeout=5.0) as memory:
        bob: AsyncUserMemory = memory.for_user("bob")
        await bob.add("Rides a bicycle", metadata={"source": "chat"})
        hits = await bob.search("bicycle", filter={"metadata.source": "chat"})
        assert (await memory.stats("bob")).total == 1
        assert (await memory.capabilities()).features.vector_search
        return hits[0].score


def configured(folder: Path) -> str:
    register_adapter("notice", Notice)
    with Memory("notice://", notice="closed on Sundays") as memory:
        return f"{memory.get('notice').content}; {Memory(url=f'sqlite:///{folder}/a.db', embedder='none')!r}"


def main() -> None:
    with Memory(provider="memory", embedder="test:16", retries=0) as memory:
        record = fill(memory.for_user("alice"))
        print(read(memory.for_user("alice")), failing(memory, record))
    print(asyncio.run(asynchronously(Letters())))
    with tempfile.TemporaryDirectory() as folder:
        print(configured(Path(folder)))
    native: NativeAdapter = MemoryAdapter()
    with Memory(native) as memory:
        memory.add("kept by an adapter made by hand", "carol")
    report: openmem.conformance.Report = asyncio.run(openmem.conformance.run("memory://", only=["OWN"], seed=1))
    print(native.features().filters, report.exit_code, openmem.__version__)


if __name__ == "__main__":
    main()
