"""The generic forms that emulate supplies, made of other verbs; those of deletion are in erasing.py and chains.py."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

from openmem._generated import models
from openmem._generated.bounds import MAX_QUERY_TEXT_LENGTH
from openmem.protocol import census
from openmem.protocol import context as text
from openmem.protocol.clock import Clock
from openmem.protocol.selection import in_every_state, scoped
from openmem.protocol.tally import Tally
from openmem.runtime.batches import one_by_one
from openmem.runtime.calls import noted

from . import Handler, erasing
from .paging import pages

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
    return await one_by_one(request.items, _outcomes_of(handler))


async def get_many(
    request: models.GetManyRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.BatchResponse:
    """Read one by one."""
    user_id = request.user_id
    by_id = [models.GetRequest(id=each, user_id=user_id) for each in request.ids or ()]
    by_key = [models.GetRequest(external_id=each, user_id=user_id) for each in request.external_ids or ()]
    return await one_by_one(by_id or by_key, _outcomes_of(handler))


async def update_many(
    request: models.UpdateManyRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.BatchResponse:
    """Change one by one, in order."""
    return await one_by_one(request.items, _outcomes_of(handler))


def _outcomes_of(handler: Handler) -> Callable[[BaseModel], Awaitable[models.BatchResult]]:
    """Return what answers one item of a batch by a memory."""

    async def outcome(item: BaseModel) -> models.BatchResult:
        memory = await handler(item)
        return models.BatchResult(id=memory.id, memory=memory)

    return outcome


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
    named = {"id": request.id, "external_id": request.external_id, "user_id": request.user_id}
    memory = await handler(models.GetRequest(**named))
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
    async for memories in pages(in_every_state(request), handler, capabilities):
        tally.count(memories)
    return tally.stats()


async def _scopes(
    request: models.ScopesRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.ScopePage:
    found = list[census.Counted]()
    async for memories in pages(scoped(request), handler, capabilities):
        found += census.scopes_of(memories)
    return census.scope_page(found, request)


async def _health(
    request: models.HealthRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.Health:
    with noted():
        await handler(models.ListRequest(user_id=NOBODY, limit=1))
    return models.Health(status="ok")


async def paged(
    request: models.SearchRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.SearchResponse:
    """Answer a search with an offset by a longer one, whose beginning is cut off."""
    offset = request.offset
    if not offset:
        return await handler(request)  # type: ignore[no-any-return]
    found = await handler(request.model_copy(update={"offset": 0, "limit": offset + request.limit}))
    return models.SearchResponse(results=found.results[offset:])


Form = Callable[[Any, Handler, models.Capabilities, Clock], Awaitable[Any]]

FORMS: dict[str, tuple[tuple[str, ...], Form]] = {
    "context": (("search",), _context),
    "add_many": (("add",), _add_many),
    "get_many": (("get",), get_many),
    "update_many": (("update",), update_many),
    "delete_many": (("delete",), _delete_many),
    "related": (("get", "search"), _related),
    "stats": (("list",), _stats),
    "erase": (("list", "delete"), erasing.erase),
    "scopes": (("list",), _scopes),
    "health": (("list",), _health),
}
"""Verb -> the verbs its generic form is made of, and the form."""
