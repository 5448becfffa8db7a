"""The generic forms that emulate supplies, made of other verbs: context, batches, related, stats, scopes, health."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import nullcontext
from typing import Any

from openmem._generated import models
from openmem._generated.bounds import MAX_QUERY_TEXT_LENGTH
from openmem.protocol import census
from openmem.protocol import context as text
from openmem.protocol.clock import Clock
from openmem.protocol.selection import STATES
from openmem.protocol.tally import Tally
from openmem.runtime.batches import one_by_one
from openmem.runtime.calls import noted

from . import Handler

_SAYS = re.compile(r"[^\s\x1c-\x1f]|[\x1c-\x1f]")
"""What is not blank to the protocol: Python alone takes four control characters for white space."""
NOBODY = "openmem-health-nobody"
"""A user without memories, for whom a backend is asked whether it answers."""


async def _context(
    request: models.ContextRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.ContextBlock:
    fields = request.model_dump(exclude={"token_budget"}, exclude_unset=True)
    most = (capabilities.limits and capabilities.limits.max_search_results) or text.MAX_LINES
    search = models.SearchRequest(**fields, limit=min(text.lines_within(request.token_budget), most))
    search.filter = request.filter  # as it was parsed
    response = await handler(search)
    return text.assemble(response.results, request.token_budget)


async def _add_many(
    request: models.AddManyRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.BatchResponse:
    async def add(item: models.AddRequest) -> models.BatchResult:
        memory = await handler(item)
        return models.BatchResult(id=memory.id, memory=memory)

    return await one_by_one(request.items, add)


async def _delete_many(
    request: models.DeleteManyRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.BatchResponse:
    async def delete(memory_id: str) -> models.BatchResult:
        await handler(models.DeleteRequest(id=memory_id, user_id=request.user_id))
        return models.BatchResult(id=memory_id)

    return await one_by_one(request.ids, delete)


async def _related(
    request: models.RelatedRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.SearchResponse:
    memory = await handler(models.GetRequest(id=request.id, user_id=request.user_id))
    query = (memory.content.strip() or memory.content)[:MAX_QUERY_TEXT_LENGTH]
    if not _SAYS.search(query):  # blank, as other programs may store it
        return models.SearchResponse(results=[])
    most = (capabilities.limits and capabilities.limits.max_search_results) or 100
    search = models.SearchRequest(
        query=query,
        user_id=memory.user_id,
        mode="vector" if capabilities.features.vector_search else None,
        scope=request.scope,
        min_score=request.min_score,
        limit=min(request.limit + 1, most, 100),  # the memory itself is among its nearest
    )
    with noted():
        found = (await handler(search)).results
    others = [result for result in found if result.memory.id != memory.id]
    return models.SearchResponse(results=others[: request.limit])


async def _stats(
    request: models.StatsRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.Stats:
    tally = Tally(request.user_id, clock())
    include = list(STATES) if capabilities.features.temporal else None
    async for memories in _pages(handler, capabilities, include=include, **dict(request)):
        tally.count(memories)
    return tally.stats()


async def _scopes(
    request: models.ScopesRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.ScopePage:
    found = list[census.Counted]()
    selected = {"user_id": request.user_id, "scope": request.under, "include": request.include}
    async for memories in _pages(handler, capabilities, **selected):
        found += census.scopes_of(memories)
    return census.scope_page(found, request)


async def _health(
    request: models.HealthRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.Health:
    with noted():
        await handler(models.ListRequest(user_id=NOBODY, limit=1))
    return models.Health(status="ok")


async def _pages(
    handler: Handler, capabilities: models.Capabilities, **selected: Any
) -> AsyncIterator[list[models.MemoryRecord]]:
    limit = min((capabilities.limits and capabilities.limits.max_list_results) or 50, 500)
    cursor = None
    while True:
        with noted() if cursor else nullcontext():
            page = await handler(models.ListRequest.model_construct(**selected, limit=limit, cursor=cursor))
        yield page.items
        if page.next_cursor is None:
            return
        cursor = page.next_cursor


Form = Callable[[Any, Handler, models.Capabilities, Clock], Awaitable[Any]]

FORMS: dict[str, tuple[tuple[str, ...], Form]] = {
    "context": (("search",), _context),
    "add_many": (("add",), _add_many),
    "delete_many": (("delete",), _delete_many),
    "related": (("get", "search"), _related),
    "stats": (("list",), _stats),
    "scopes": (("list",), _scopes),
    "health": (("list",), _health),
}
"""Verb -> the verbs its generic form is made of, and the form."""
