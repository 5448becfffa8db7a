"""What there is in a store in Qdrant: the memories that are selected for counting, and the users that have any."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime

from openmem._generated.models import ListRequest, MemoryRecord, UserPage, UsersRequest
from openmem.protocol import census, cursors, selection

from .filters import selecting
from .store import QdrantStore


async def selected(store: QdrantStore, request: ListRequest, now: datetime) -> AsyncIterator[Iterable[MemoryRecord]]:
    """Read what is selected, piece by piece and in no order."""
    test = selection.predicate(request, now)
    async for memories in store.pages(selecting(request, now)):
        yield (each for each in memories if each.user_id == request.user_id and test(each))


async def users(store: QdrantStore, request: UsersRequest) -> UserPage:
    """Return one page of users, whom the engine counts all at once by its index of them."""
    after = cursors.name_in(request)
    counted = await store.engine.facet(store.memories, "user_id")  # which may name users of whom nothing is left
    found = sorted((user, count) for user, count in counted if count and (after is None or user > after))
    return census.user_page(found, request.limit)
