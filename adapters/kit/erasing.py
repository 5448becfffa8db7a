"""Erasing behind a wire: what is selected is found before any is deleted; what was updated is looked at again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from openmem._generated import models
from openmem.errors import UnsupportedCapabilityError
from openmem.protocol import selection
from openmem.protocol.records import Edition, edition
from openmem.runtime.batches import in_chunks
from openmem.runtime.calls import noted
from openmem.runtime.erasing import count_erased, part_written

if TYPE_CHECKING:
    from .remote import RemoteAdapter

Erases = Callable[[models.DeleteRequest, Any], models.BatchResult]
"""The rule by which one is erased."""
Change = Callable[[Sequence[models.DeleteRequest], Erases], Awaitable[list[models.BatchResult]]]
"""What writes changes, all of them in one transaction."""


async def erase(adapter: RemoteAdapter, request: models.EraseRequest, change: Change) -> int:
    """Erase what is selected, some hundreds to a transaction, or only count it; return how many there were.

    Where it ends half-way, the error says how many memories are erased.
    """
    count, found = 0, dict[str, Edition]()
    if request.dry_run:
        async for memories in adapter.selected(request):
            count += len(memories)
        await adapter.log_read(request.user_id, adapter.rules.entry("erase", scope=request.scope))
        return count
    async for memories in adapter.selected(request):
        found.update((memory.id, edition(memory)) for memory in memories)
    ids = list(found)
    for start in range(0, len(ids), adapter.batch):
        chunk = ids[start : start + adapter.batch]
        answers = await in_chunks([chunk], lambda some: change(*_changes(adapter, some, request, found)))
        count += count_erased(answers, count)
    if request.audit:
        with part_written(count):
            await adapter.flush()
            await adapter.forget(request.user_id)
    return count


def deletions(request: models.EraseRequest, ids: Iterable[str]) -> list[models.DeleteRequest]:
    """Say which changes erase memories."""
    return [models.DeleteRequest.model_construct(id=each, user_id=request.user_id) for each in ids]


def _changes(
    adapter: RemoteAdapter, ids: Iterable[str], request: models.EraseRequest, found: Mapping[str, Edition]
) -> tuple[list[models.DeleteRequest], Erases]:
    """Say which changes erase memories, and by which rule."""
    selected = selection.predicate(selection.in_every_state(request), adapter.clock())

    def rule(change: models.DeleteRequest, staging: Any) -> models.BatchResult:
        staging.erased.add(change.id)
        return adapter.rules.erase_item(change, found[change.id or ""], selected, staging)

    return deletions(request, ids), rule


async def listed(
    adapter: RemoteAdapter, request: models.EraseRequest
) -> AsyncIterator[Collection[models.MemoryRecord]]:
    """List what an erase selects, a page at a time."""
    wanted = selection.in_every_state(request)
    while True:
        with noted():
            page = await adapter.list(wanted)
        yield page.items
        if page.next_cursor is None:
            return
        wanted = wanted.model_copy(update={"cursor": page.next_cursor})


def check_log(adapter: RemoteAdapter, request: models.EraseRequest, *, forgets: bool) -> None:
    """Refuse to erase the audit log of a provider that has one and does not forget."""
    if request.audit and not forgets and "audit" in adapter.native_verbs():
        raise UnsupportedCapabilityError(f"{adapter.name} keeps its audit log.", remedy="Leave audit out.")
