"""Erasing in Postgres: all that is selected in one transaction, worked out some hundreds at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from openmem._generated.models import EraseRequest
from openmem.protocol import selection

from ..kit.audit import Entry
from ..kit.erasing import deletions
from ..kit.remote import worked_out
from ..kit.staging import Staging
from .filters import Bindings, selected

if TYPE_CHECKING:
    from .adapter import PostgresAdapter


async def erase(adapter: PostgresAdapter, request: EraseRequest, reads: Sequence[Entry]) -> int:
    """Erase what is selected and store the entries of reads; return how many memories there were.

    Their rows are locked as they were selected, so none is looked at again: the erase itself may free its links.
    """
    values = Bindings()
    condition = selected(selection.in_every_state(request), adapter.clock(), values)
    users = {request.user_id, *(user_id for user_id, _ in reads)}
    async with adapter.transaction(users) as transaction:
        ids = await transaction.lock(condition, values)
        staging = Staging()
        staging.log_reads(reads)
        for start in range(0, len(ids), adapter.batch):
            changes = deletions(request, ids[start : start + adapter.batch])
            await worked_out(transaction, changes, adapter.rules.delete, staging, set())
            await transaction.write(staging)
            staging = Staging()
        if staging.entries:  # nothing is selected
            await transaction.write(staging)
        if request.audit:
            await transaction.forget(request.user_id, adapter.clock())
    return len(ids)
