"""What there is in a store in Qdrant: memories selected in no order, their counts and scopes, and users with any."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from datetime import datetime

from openmem._generated.models import (
    ListRequest,
    MemoryRecord,
    ScopePage,
    ScopesRequest,
    Stats,
    StatsRequest,
    UserPage,
    UsersRequest,
)
from openmem.protocol import census, cursors, selection
from openmem.protocol.tally import Tally

from .filters import selecting
from .store import QdrantStore


async def selected(store: QdrantStore, request: ListRequest, now: datetime) -> AsyncIterator[Collection[MemoryRecord]]:
    """Read what is selected, piece by piece and in no order."""
    test = selection.predicate(request, now)
    async for memories in store.pages(selecting(request, now)):
        yield [each for each in memories if each.user_id == request.user_id and test(each)]


async def stats(store: QdrantStore, request: StatsRequest, now: datetime) -> Stats:
    """Count what is selected."""
    tally = Tally(request.user_id, now)
    async for memories in selected(store, selection.in_every_state(request), now):
        tally.count(memories)
    return tally.stats()


async def scopes(store: QdrantStore, request: ScopesRequest, now: datetime) -> ScopePage:
    """Return one page of scopes."""
    found = list[census.Counted]()
    async for memories in selected(store, selection.scoped(request), now):
        found += census.scopes_of(memories)
    return census.scope_page(found, request)


async def users(store: QdrantStore, request: UsersRequest) -> UserPage:
    """Return one page of users, whom the engine counts all at once by its index of them."""
    after = cursors.name_in(request)
    counted = await store.engine.facet(store.memories, "user_id")  # which may name users of whom nothing is left
    found = sorted((user, count) for user, count in counted if count and (after is None or user > after))
    return census.user_page(found, request.limit)
