"""Finds the memory of an external_id by a list, where a provider takes ids alone, and says so."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any, Literal

from pydantic import BaseModel

from openmem._generated import models
from openmem.errors import NotFoundError
from openmem.protocol import filters
from openmem.protocol.clock import Clock
from openmem.protocol.selection import STATES
from openmem.protocol.validation import Addressed
from openmem.runtime.calls import noted

from . import Handler
from .forms import get_many, update_many
from .paging import pages


def lookup(features: models.CapabilityFeatures) -> Literal["native", "client"] | None:
    """Say who finds the memory of an external_id: the provider, or else this layer; None where there are none."""
    return (features.external_id_lookup or "client") if features.supports_external_id else None


def keys(handler: Handler, capabilities: models.Capabilities, clock: Clock) -> Handler:
    """Wrap a handler of ids: what names a memory by its key is handed on by its id, batches item by item."""

    async def by_id(request: Any) -> Any:
        if request.external_id is None:
            return await handler(request)
        memory_id = await _found(request.user_id, request.external_id)
        given = {name: value for name, value in request if name in request.model_fields_set - {"external_id"}}
        return await handler(type(request)(**given | (request.model_extra or {}) | {"id": memory_id}))

    async def _found(user_id: str, key: str) -> str:
        pinned = filters.Parsed({"external_id": key}) if capabilities.features.filters not in (None, "none") else None
        listed = models.ListRequest.model_construct(user_id=user_id, filter=pinned, include=[*STATES])
        with noted():  # the call is logged as what it is, not as a list
            async with aclosing(pages(listed, handler, capabilities)) as found:
                async for memories in found:
                    for memory in memories:
                        if (memory.user_id, memory.external_id) == (user_id, key):
                            return memory.id
        raise NotFoundError(f"there is no memory {key}.")

    async def resolving(request: BaseModel) -> Any:
        if isinstance(request, Addressed):
            return await by_id(request)
        if isinstance(request, models.GetManyRequest) and request.external_ids is not None:
            return await get_many(request, by_id, capabilities, clock)
        if isinstance(request, models.UpdateManyRequest) and any(item.external_id for item in request.items):
            return await update_many(request, by_id, capabilities, clock)
        return await handler(request)

    return resolving
