"""Memories that mem0's hosted platform has taken and not yet stored: what this process knows of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from openmem._generated.models import MemoryRecord
from openmem.errors import ConflictError, NotFoundError, ProviderError, RateLimitedError
from openmem.protocol import records

from ..kit.changes import owned
from .envelope import EXTENSION
from .platform import Event, Platform

MOST = 10_000
"""Queued memories remembered, each some kilobytes; mem0 itself knows them by their events only."""
FIRST_LOOK, LONGEST_LOOK = 0.1, 2.0
"""Seconds between looks at an event."""
KIND = "conversation"
"""The kind of a memory that stands for a conversation while facts are extracted from it."""


class Queued(NamedTuple):
    """A queued memory, and the event that tells how far it has come; extraction: it stands for a conversation."""

    memory: MemoryRecord
    event_id: str
    extraction: bool


class Ingestion:
    """Adds through the platform, and follows those that it queues."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._queued: dict[str, Queued] = {}

    async def add(self, memory: MemoryRecord) -> MemoryRecord:
        """Store a memory; its status says whether it is there or queued."""
        event = await self._platform.add(memory)
        if event.pending:
            return self._queue(memory, event, extraction=False)
        if event.failed:
            raise ProviderError("mem0 failed to store the memory.", remedy="Add it again.", written="nothing")
        if not event.made:
            remedy = "Update that one, or say it otherwise."
            message = "mem0 took the memory for one that it has, and stored nothing."
            raise ProviderError(message, remedy=remedy, written="nothing")
        return memory

    async def extract(
        self, messages: Sequence[Mapping[str, Any]], whole: MemoryRecord, wait: float
    ) -> Sequence[MemoryRecord]:
        """Extract facts; where that takes longer than `wait` seconds, one queued memory stands for the conversation."""
        event = await self._platform.extract(messages, whole)
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + wait, FIRST_LOOK
        try:
            while event.pending and loop.time() + pause <= deadline:
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_LOOK)
                event = await self._platform.event(event.id)
            facts = [row.memory for row in await self._platform.read(event.made, whole.user_id)]
        except (ProviderError, RateLimitedError):  # they are made, or will be, and can be asked for later
            return [self._queue(whole.model_copy(update={"kind": KIND}), event, extraction=True)]
        if event.pending:
            return [self._queue(whole.model_copy(update={"kind": KIND}), event, extraction=True)]
        if event.failed:
            raise ProviderError(
                "mem0 failed to extract facts.", remedy="Send the conversation again.", written="nothing"
            )
        return facts

    async def progress(self, memory_id: str, user_id: str | None) -> MemoryRecord | None:
        """Read a memory that was queued when it was last seen; None where none was.

        A conversation that is done names its facts; without a record mem0 took a memory for one that it has: it failed.
        """
        queued = self._queued.get(memory_id)
        if queued is None:
            return None
        memory = owned(queued.memory, memory_id, user_id)
        try:
            event = await self._platform.event(queued.event_id)
        except NotFoundError:  # mem0 forgets its events
            self._queued.pop(memory_id, None)
            return None
        if event.pending:
            return records.detached(memory)
        if queued.extraction and not event.failed:
            return memory.model_copy(update={"status": "done", EXTENSION: {"memories": list(event.made)}})
        if event.failed or not event.made:
            return memory.model_copy(update={"status": "failed"})
        self._queued.pop(memory_id, None)
        rows = await self._platform.read(event.made[:1], memory.user_id)
        return owned(rows[0].memory if rows else None, memory_id, user_id)

    async def settle(self, memory_id: str, user_id: str | None) -> None:
        """Refuse with a conflict what is to be done to a memory that is still queued."""
        memory = await self.progress(memory_id, user_id)
        if memory is not None and memory.status == "queued":
            raise ConflictError(f"memory {memory_id} is still queued.", remedy="Call wait_for_ingest first.")

    def count(self, user_id: str) -> int:
        """Count a user's memories that were queued when they were last seen."""
        return sum(1 for each in self._queued.values() if each.memory.user_id == user_id)

    def _queue(self, memory: MemoryRecord, event: Event, *, extraction: bool) -> MemoryRecord:
        """Remember that a memory is queued; the oldest is forgotten where there are too many."""
        queued = memory.model_copy(update={"status": "queued"})
        self._queued[memory.id] = Queued(queued, event.id, extraction)
        while len(self._queued) > MOST:
            del self._queued[next(iter(self._queued))]
        return records.detached(queued)
