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
from .paging import pages

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

    found, count = list[dict[str, int | None]](), 0
    with nullcontext() if request.dry_run else noted():  # unless dry, each memory that is deleted has an audit entry
        async for memories in pages(in_every_state(request), handler, capabilities):
            found.append({memory.id: memory.version for memory in memories})
    for versions in found:
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
