"""The generic forms of erasing: erase over list and delete, and the deletion of a chain over history and delete."""

from __future__ import annotations

from contextlib import nullcontext, suppress
from typing import Any

from openmem._generated import models
from openmem.errors import NotFoundError, UnsupportedCapabilityError
from openmem.protocol import records
from openmem.protocol.clock import Clock
from openmem.protocol.selection import in_every_state
from openmem.runtime.batches import one_by_one
from openmem.runtime.calls import noted
from openmem.runtime.erasing import count_erased, part_written

from . import Handler

UNREACHED = ("What the provider keeps beside its records: indexes, logs, replicas and backups.",)


def lists_every_state(features: models.CapabilityFeatures) -> bool:
    """Tell whether list can be asked for records of every state that the provider has."""
    return bool(features.temporal or not (features.supports_supersession or features.supports_archive))


async def erase(
    request: models.EraseRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.EraseResponse:
    """Delete page by page what list answers."""
    if request.audit and "audit" in capabilities.verbs:
        raise UnsupportedCapabilityError(f"{capabilities.provider} keeps its audit log.", remedy="Leave audit out.")

    async def delete(memory_id: str) -> models.BatchResult:
        await handler(models.DeleteRequest(id=memory_id, user_id=request.user_id))
        return models.BatchResult(id=memory_id)

    limits, count = capabilities.limits, 0
    listed = in_every_state(request, min((limits and limits.max_list_results) or 50, 500))
    if not capabilities.features.temporal:
        listed.include = None
    while True:
        # A dry run has the audit entry of its first page, else each memory that is deleted has one.
        with (
            nullcontext() if request.dry_run and not listed.cursor else noted(),
            part_written(0 if request.dry_run else count),
        ):
            page = await handler(listed)
        if request.dry_run:
            count += len(page.items)
        else:
            count += count_erased(await one_by_one([memory.id for memory in page.items], delete), count)
        if page.next_cursor is None:
            return models.EraseResponse(count=count, dry_run=request.dry_run, unreached=[*UNREACHED])
        listed = listed.model_copy(update={"cursor": page.next_cursor})


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
