"""The generic form of erasing, over list and delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext

from openmem._generated import models
from openmem.errors import ConflictError, UnsupportedCapabilityError
from openmem.protocol.clock import Clock
from openmem.protocol.selection import in_every_state, predicate
from openmem.runtime.batches import one_by_one
from openmem.runtime.calls import noted
from openmem.runtime.erasing import count_erased

from . import Handler

UNREACHED = ("What the provider keeps beside its records: indexes, logs, replicas and backups.",)


def lists_every_state(features: models.CapabilityFeatures) -> bool:
    """Tell whether list can be asked for records of every state that the provider has."""
    return bool(features.temporal or not (features.supports_supersession or features.supports_archive))


async def erase(
    request: models.EraseRequest, handler: Handler, capabilities: models.Capabilities, clock: Clock
) -> models.EraseResponse:
    """Delete what list answers, all of it read first: a deletion frees links that others may be selected by."""
    if request.audit and "audit" in capabilities.verbs:
        raise UnsupportedCapabilityError(f"{capabilities.provider} keeps its audit log.", remedy="Leave audit out.")

    limits, pages, count = capabilities.limits, list[dict[str, int | None]](), 0
    listed = in_every_state(request, min((limits and limits.max_list_results) or 50, 500))
    if not capabilities.features.temporal:
        listed.include = None
    while not pages or listed.cursor:
        # A dry run has the audit entry of its first page, else each memory that is deleted has one.
        with nullcontext() if request.dry_run and not pages else noted():
            page = await handler(listed)
        pages.append({memory.id: memory.version for memory in page.items})
        listed = listed.model_copy(update={"cursor": page.next_cursor})
    for versions in pages:
        if request.dry_run:
            count += len(versions)
        else:
            delete = _deleting(request, versions, handler, capabilities, clock)
            count += count_erased(await one_by_one(versions, delete), count)
    return models.EraseResponse(count=count, dry_run=request.dry_run, unreached=[*UNREACHED])


def _deleting(
    request: models.EraseRequest,
    versions: dict[str, int | None],
    handler: Handler,
    capabilities: models.Capabilities,
    clock: Clock,
) -> Callable[[str], Awaitable[models.BatchResult]]:
    """Return what deletes one memory as it was listed; with if_version, one updated since is looked at again."""
    guarded = capabilities.features.supports_if_version
    selected = predicate(in_every_state(request), clock())

    async def delete(memory_id: str) -> models.BatchResult:
        version = versions[memory_id] if guarded else None
        one = models.DeleteRequest(id=memory_id, user_id=request.user_id, if_version=version)
        try:
            await handler(one)
        except ConflictError:
            if version is None:
                raise
            with noted():
                memory = await handler(models.GetRequest(id=memory_id, user_id=request.user_id))
            if not selected(memory):
                return models.BatchResult()
            await handler(one.model_copy(update={"if_version": memory.version}))
        return models.BatchResult(id=memory_id)

    return delete
