"""The generic form of deleting a chain, over history and delete."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from openmem._generated import models
from openmem.errors import NotFoundError
from openmem.protocol import records
from openmem.protocol.clock import Clock
from openmem.runtime.calls import noted
from openmem.runtime.erasing import part_written

from . import Handler


async def delete(
    request: models.DeleteRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> Any:
    """Delete a memory, or its chain: the oldest first, so that no stale one comes back meanwhile."""
    if not request.chain:
        return await handler(request)
    name = "external_id" if request.id is None else "id"
    key = getattr(request, name)
    with noted():
        chain = (await handler(models.HistoryRequest(**{name: key}, user_id=request.user_id))).items
    start = next(each for each in chain if getattr(each, name) == key)
    records.check_version(start, request.if_version)
    for count, memory in enumerate(chain):
        named = memory.id == start.id
        one = models.DeleteRequest(
            id=memory.id, user_id=memory.user_id, if_version=request.if_version if named else None
        )
        with part_written(count), suppress(*([] if named else [NotFoundError])):  # gone already
            await handler(one)
    return None
