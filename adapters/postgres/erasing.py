"""Erasing in Postgres: all that is selected in one transaction, worked out some hundreds at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from openmem._generated.models import EraseRequest
from openmem.protocol import selection

from ..kit.audit import Entry
from ..kit.erasing import changes_of
from ..kit.remote import worked_out
from ..kit.staging import Staging
from .filters import Bindings, selected

if TYPE_CHECKING:
    from .adapter import PostgresAdapter


async def erase(adapter: PostgresAdapter, request: EraseRequest, reads: Sequence[Entry]) -> int:
    """Erase what is selected and store the entries of reads; return how many memories there were."""
    values = Bindings()
    condition = selected(selection.in_every_state(request), adapter.clock(), values)
    users = {request.user_id, *(user_id for user_id, _ in reads)}
    count = 0
    async with adapter.transaction(users) as transaction:
        ids = await transaction.lock(condition, values)
        staging = Staging()
        staging.log_reads(reads)
        for start in range(0, len(ids), adapter.batch):
            changes, rule = changes_of(adapter, ids[start : start + adapter.batch], request)
            results = await worked_out(transaction, changes, rule, staging, set())
            count += sum(1 for each in results if each.id is not None)
            await transaction.write(staging)
            staging = Staging()
        if staging.entries:  # nothing is selected
            await transaction.write(staging)
        if request.audit:
            await transaction.forget(request.user_id, adapter.clock())
    return count
