"""A scan of what is gathered at once: one user's memories as of one moment, handed over bit by bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from openmem._generated.models import MemoryPage, MemoryRecord
from openmem.adapter import CHUNK
from openmem.protocol.records import detached

from .store import Store
from .vectors import Floats, with_vectors


class Gathered(NamedTuple):
    """All memories of a user, oldest first, as they are stored, and their vectors by id."""

    memories: Sequence[MemoryRecord]
    vectors: Mapping[str, Sequence[float] | Floats]

    def chunks(self) -> Iterator[list[MemoryRecord]]:
        """Copy the memories with their vectors, some at a time."""
        for start in range(0, len(self.memories), CHUNK):
            some = [detached(memory) for memory in self.memories[start : start + CHUNK]]
            yield with_vectors(MemoryPage.model_construct(items=some), self.vectors).items


def gathered(user_id: str, store: Store) -> Gathered:
    """Gather one user's memories within a transaction."""
    memories = list(store.oldest_first(user_id, None, None, None))
    return Gathered(memories, store.vectors(user_id, [memory.id for memory in memories]))
