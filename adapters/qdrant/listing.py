"""A page of memories in Qdrant: by the index of created_at, or the one memory that has the external_id asked for."""

from __future__ import annotations

from datetime import datetime

from openmem._generated.models import ListRequest, MemoryPage, MemoryRecord
from openmem.protocol import cursors, selection
from openmem.protocol.clock import micros

from .engine import Row
from .filters import selecting
from .points import memory_of
from .store import QdrantStore
from .walk import ordered


async def listed(store: QdrantStore, request: ListRequest, now: datetime) -> MemoryPage:
    """Read one page."""
    selected, after = selection.predicate(request, now), cursors.decode(request)
    external_id, oldest = selection.pinned(request), request.order == "oldest"
    if external_id is not None:
        found = await store.claimed(request.user_id, [external_id])
        return cursors.page_of(request, filter(selected, found))
    walk = ordered(
        store.engine,
        store.memories,
        selecting(request, now),
        "created_at",
        micros(after[0]) if after else None,
        request.limit + 3,
        ("record", "created_at"),
        ascending=oldest,
    )
    found = []
    async for rows in walk:
        group = sorted(map(_positioned, rows), key=lambda pair: pair[0], reverse=not oldest)
        found += [each for place, each in group if cursors.follows(place, after, request.order) and selected(each)]
        if len(found) > request.limit:
            break
    return cursors.page(found[: request.limit + 1], request.limit)


def _positioned(row: Row) -> tuple[cursors.Position, MemoryRecord]:
    memory = memory_of(row.payload)
    return cursors.position(memory), memory
