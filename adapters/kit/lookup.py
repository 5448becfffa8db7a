"""What a get_many asks for, and what is answered of what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from openmem._generated.models import BatchResult, GetManyRequest, MemoryRecord
from openmem.protocol.records import detached

from .changes import unknown


def names(request: GetManyRequest) -> Sequence[str]:
    """List the ids or the external_ids that are asked for, each once."""
    return list(dict.fromkeys(request.ids if request.ids is not None else request.external_ids or ()))


def owned_of(request: GetManyRequest, found: Iterable[MemoryRecord]) -> dict[str, MemoryRecord]:
    """Order what was found by the names that are asked for; what is another user's is not found."""
    mine = [each for each in found if request.user_id in (None, each.user_id)]
    if request.ids is not None:
        return {memory.id: memory for memory in mine}
    return {memory.external_id: memory for memory in mine if memory.external_id is not None}


def outcomes(
    request: GetManyRequest, found: dict[str, MemoryRecord], hand_out: Callable[[MemoryRecord], MemoryRecord]
) -> list[BatchResult]:
    """Answer each name in its place; what is named again is a copy, so that no two answers share what they hold."""
    results, told = [], set[str]()
    for name in request.ids if request.ids is not None else request.external_ids or ():
        memory = found.get(name)
        if memory is None:
            results.append(BatchResult(id=name if request.ids is not None else None, error=unknown(name).detail()))
            continue
        results.append(BatchResult(id=memory.id, memory=detached(memory) if name in told else hand_out(memory)))
        told.add(name)
    return results
